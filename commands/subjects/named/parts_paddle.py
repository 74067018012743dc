"""What a config names, made in Paddle."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau

import paddle_impl
from align.nets.asked import asked_by, given_to
from align.rungs.training.optimizers_paddle import HeldScheduler
from commands.subjects.callables import build, criterion
from commands.subjects.named.config import Own
from commands.subjects.named.own.rates import Rate, SteppedRate
from commands.subjects.named.own.slots_paddle import SideOfOwnOptimizer
from commands.subjects.named.parts import MakeOptimizer, Parts
from commands.subjects.optimizers import optimizer_of
from common.errors import UserError
from common.randomness import generator
from paddle_impl.average import Average
from paddle_impl.freeze import Frozen
from paddle_impl.losses import LOSSES
from paddle_impl.optim import build_optimizer
from paddle_impl.precision import precision_of
from paddle_impl.train import PaddleInference, PaddleSide, choose_device, to_tensors


class PaddleParts(Parts):
    """Parts of a config in Paddle."""

    framework = "paddle"

    def net(self) -> nn.Layer:
        """Return the port."""
        own = self.own("model")
        if own is None:
            return paddle_impl.build_model(self.row.name, **self.row.overrides)
        return build(own.spec, own.key, nn.Layer, own.arguments)

    def seeded_net(self, seed: int) -> nn.Layer:
        """Return the net, with first weights that `seed` decides."""
        paddle.seed(seed)
        return self.net()

    def criterion(self) -> Any:
        """Return the criterion: a Layer, or a function of the user's."""
        own = self.own("loss")
        if own is None:
            return LOSSES[self.settings.loss.name](**self.loss_options)
        return criterion(own.spec, own.key, nn.Layer, own.arguments)

    def optimizer(self, parameters: list[Any], net: nn.Layer, criterion: Any) -> Any:
        """Return an optimizer; one of the user's gets `parameters`, ours look them up."""
        own, settings = self.own("optimizer"), self.settings.optimizer
        if own is not None:
            return optimizer_of(own.function, str(own), parameters, net, criterion)
        module = criterion if isinstance(criterion, nn.Layer) else None
        base, options = self.first_rate, settings.options
        return build_optimizer(settings.name, net, module, base_lr=base, **options)

    def side(self, device: str) -> PaddleSide:
        """Return net, criterion and optimizer on a device. Raises UserError where there is none."""
        choose_device(device)
        seed = int(generator(self.settings.seed, "init").random() * 2**53)
        return self.side_of(self.seeded_net(seed))

    def side_of(self, net: nn.Layer) -> PaddleSide:
        """Return a net with criterion and optimizer; UserError where that is none."""
        frozen = self.frozen(net)
        loss = trainable(self.criterion(), net)
        made, own = self.optimizer(self.parameters(net, loss), net, loss), self.own("optimizer")
        if own is None:
            return self._as_trained(PaddleSide(net, loss, made), frozen)
        if not isinstance(made, paddle.optimizer.Optimizer):
            kind = f"{type(made).__module__}.{type(made).__qualname__}"
            raise UserError(f"{own}: returned {kind}, expected a paddle.optimizer.Optimizer")
        return self._as_trained(SideOfOwnOptimizer(net, loss, made), frozen)

    def inference(self, net: Any) -> PaddleInference:
        """Return what runs the net in eval mode."""
        return PaddleInference(net)

    def _as_trained(self, side: PaddleSide, frozen: Frozen) -> PaddleSide:
        """Return the side with what the config says of how it is trained."""
        side.frozen, side.ask = frozen.layers, self.ask
        side.precision = precision_of(self.settings.train, side.net, side.optimizer)
        side.averaged = self.average()
        return side

    def average(self) -> Callable[[Any], Average] | None:
        """Return what makes the moving average of a net, None where the config has none."""
        ema = self.settings.train.ema
        return partial(Average, **ema.model_dump()) if ema else None

    def frozen(self, net: nn.Layer) -> Frozen:
        """Freeze what the config says of the net, until it is thawed."""
        return Frozen(net, **self.settings.freeze.model_dump())

    def parameters(self, net: nn.Layer, criterion: Any) -> list[Any]:
        """Return the trainable parameters of the net, then of the criterion."""
        layers = [layer for layer in (net, criterion) if isinstance(layer, nn.Layer)]
        return [p for layer in layers for p in layer.parameters() if not p.stop_gradient]

    def stepped(self, own: Own | None, make: MakeOptimizer, parameters: list[Any]) -> Rate:
        """Return the rates of a scheduler that nothing else steps."""
        if own is not None:
            scheduler, what = own(), own
        else:
            what = self.own("optimizer")  # type: ignore[assignment]  # in_optimizer: it is own
            scheduler = HeldScheduler(make(parameters)).found
        if scheduler is None:
            raise UserError(
                f"{what}: schedule.name is in_optimizer, and its optimizer holds no scheduler: "
                "give one as its learning_rate, or set schedule.paddle"
            )
        if isinstance(scheduler, ReduceOnPlateau):
            raise UserError(
                f"{what}: ReduceOnPlateau follows the validations; take schedule.name: plateau"
            )
        if not isinstance(scheduler, LRScheduler):
            kind = f"{type(scheduler).__module__}.{type(scheduler).__qualname__}"
            raise UserError(f"{what}: returned {kind}, expected a paddle.optimizer.lr.LRScheduler")
        return SteppedRate(what, lambda: scheduler.last_lr, scheduler.step)

    def to_tensor(self, array: np.ndarray) -> paddle.Tensor:
        """Return an array as a tensor."""
        return paddle.to_tensor(array)

    def to_tensors(self, batch: Any) -> Any:
        """Return a batch as tensors."""
        return to_tensors(batch)

    def argmax(self, logits: np.ndarray) -> np.ndarray:
        """Return the classes of logits [N, C, H, W]."""
        classes: np.ndarray = paddle.to_tensor(logits).argmax(1).numpy()
        return classes


class Asking(nn.Layer):
    """A criterion of (outputs, label) that is a function, or that asks for the net or its inputs.

    loss: the user's. net: whose inputs are remembered where the loss asks for them.
    """

    def __init__(self, loss: Any, net: nn.Layer) -> None:
        super().__init__()
        if isinstance(loss, nn.Layer):
            self.loss = loss
        else:
            self.__dict__["loss"] = loss
        self.__dict__["net"], self.__dict__["seen"] = net, ()
        self.asked = asked_by(loss)
        if self.asked:
            net.register_forward_pre_hook(self._see)

    def _see(self, net: nn.Layer, args: tuple) -> None:
        self.__dict__["seen"] = args

    def forward(self, outputs: Any, label: paddle.Tensor) -> Any:
        """Return what the loss returns."""
        return self.loss(outputs, label, **given_to(self.asked, self.net, self.seen, {}))


def trainable(loss: Any, net: nn.Layer) -> nn.Layer:
    """Return a criterion as a Layer of (outputs, label)."""
    plain = isinstance(loss, nn.Layer) and not asked_by(loss)
    return loss if plain else Asking(loss, net)
