"""What a config names, made in PyTorch."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

import torch_ref
from align.nets.asked import asked_by, given_to
from align.rungs.training.optimizers_torch import HeldSchedulers, Rates
from commands.subjects.callables import build, criterion
from commands.subjects.named.config import Own
from commands.subjects.named.own.rates import Rate, SteppedRate
from commands.subjects.named.own.slots_torch import SideOfOwnOptimizer
from commands.subjects.named.parts import MakeOptimizer, Parts
from commands.subjects.optimizers import optimizer_of
from common.errors import UserError
from common.randomness import generator
from torch_ref.average import Average
from torch_ref.freeze import Frozen
from torch_ref.losses import LOSSES
from torch_ref.optim import build_optimizer
from torch_ref.precision import precision_of
from torch_ref.train import TorchInference, TorchSide, choose_device, to_tensors


class TorchParts(Parts):
    """Parts of a config in PyTorch."""

    framework = "torch"

    def net(self) -> nn.Module:
        """Return the reference."""
        own = self.own("model")
        if own is None:
            return torch_ref.build_model(self.row.name, **self.row.overrides)
        net: nn.Module = build(own.spec, own.key, nn.Module, own.arguments)
        return net

    def seeded_net(self, seed: int) -> nn.Module:
        """Return the net, with first weights that `seed` decides."""
        torch.manual_seed(seed)
        return self.net()

    def criterion(self) -> Any:
        """Return the criterion: a Module, or a function of the user's."""
        own = self.own("loss")
        if own is None:
            return LOSSES[self.settings.loss.name](**self.loss_options)
        return criterion(own.spec, own.key, nn.Module, own.arguments)

    def optimizer(self, parameters: list[Any], net: nn.Module, criterion: Any) -> Any:
        """Return an optimizer; one of the user's gets `parameters`, ours look them up."""
        own, settings = self.own("optimizer"), self.settings.optimizer
        if own is not None:
            return optimizer_of(own.function, str(own), parameters, net, criterion)
        module = criterion if isinstance(criterion, nn.Module) else None
        base, options = self.first_rate, settings.options
        return build_optimizer(settings.name, net, module, base_lr=base, **options)

    def side(self, device: str) -> TorchSide:
        """Return net, criterion and optimizer on a device. Raises UserError where there is none."""
        place = choose_device(device)
        seed = int(generator(self.settings.seed, "init").random() * 2**53)
        return self.side_of(self.seeded_net(seed).to(place))

    def side_of(self, net: nn.Module) -> TorchSide:
        """Return a net with criterion and optimizer; UserError where that is none."""
        frozen = self.frozen(net)
        loss = trainable(self.criterion(), net).to(next(net.parameters()).device)
        made, own = self.optimizer(self.parameters(net, loss), net, loss), self.own("optimizer")
        if own is None:
            return self._as_trained(TorchSide(net, loss, made), frozen)
        if not isinstance(made, torch.optim.Optimizer):
            kind = f"{type(made).__module__}.{type(made).__qualname__}"
            raise UserError(f"{own}: returned {kind}, expected a torch.optim.Optimizer")
        for group, ratio in zip(made.param_groups, Rates(made).ratios, strict=True):
            group["lr_multiplier"] = ratio
        return self._as_trained(SideOfOwnOptimizer(net, loss, made), frozen)

    def inference(self, net: Any) -> TorchInference:
        """Return what runs the net in eval mode."""
        return TorchInference(net)

    def _as_trained(self, side: TorchSide, frozen: Frozen) -> TorchSide:
        """Return the side with what the config says of how it is trained."""
        side.frozen, side.ask = frozen.layers, self.ask
        side.precision = precision_of(self.settings.train, side.net)
        side.averaged = self.average()
        return side

    def average(self) -> Callable[[Any], Average] | None:
        """Return what makes the moving average of a net, None where the config has none."""
        ema = self.settings.train.ema
        return partial(Average, **ema.model_dump()) if ema else None

    def frozen(self, net: nn.Module) -> Frozen:
        """Freeze what the config says of the net, until it is thawed."""
        return Frozen(net, **self.settings.freeze.model_dump())

    def parameters(self, net: nn.Module, criterion: Any) -> list[Any]:
        """Return the parameters of the net, then of the criterion."""
        modules = [m for m in (net, criterion) if isinstance(m, nn.Module)]
        return [parameter for module in modules for parameter in module.parameters()]

    def stepped(self, own: Own | None, make: MakeOptimizer, parameters: list[Any]) -> Rate:
        """Return the rates of a scheduler that has an optimizer of its own."""
        optimizer = make(parameters)
        if own is not None:
            schedulers: Sequence[Any] = [own(optimizer)]
            what: Any = own
        else:
            schedulers = HeldSchedulers(optimizer).found
            what = self.own("optimizer")
        for scheduler in schedulers:
            _refuse(scheduler, str(what))
        if not schedulers:
            raise UserError(
                f"{what}: schedule.name is in_optimizer, and its optimizer holds no scheduler: "
                "make one and keep it, `optimizer.scheduler = ...`, or set schedule.torch"
            )

        def advance() -> None:
            with warnings.catch_warnings():  # no update was made by this optimizer, nor is one due
                warnings.simplefilter("ignore")
                for scheduler in schedulers:
                    scheduler.step()

        return SteppedRate(what, lambda: _rate(optimizer, str(what)), advance)

    def to_tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return an array as a tensor."""
        return torch.from_numpy(array)

    def to_tensors(self, batch: Any) -> Any:
        """Return a batch as tensors."""
        return to_tensors(batch)

    def argmax(self, logits: np.ndarray) -> np.ndarray:
        """Return the classes of logits [N, C, H, W]."""
        classes: np.ndarray = torch.from_numpy(logits).argmax(1).numpy()
        return classes


def _refuse(scheduler: Any, what: str) -> None:
    """Raise UserError where a scheduler does not say its rates before the training."""
    if isinstance(scheduler, ReduceLROnPlateau):
        raise UserError(
            f"{what}: ReduceLROnPlateau follows the validations; take schedule.name: plateau"
        )
    if not isinstance(scheduler, LRScheduler):
        kind = f"{type(scheduler).__module__}.{type(scheduler).__qualname__}"
        raise UserError(f"{what}: returned {kind}, expected a torch.optim.lr_scheduler.LRScheduler")


def _rate(optimizer: torch.optim.Optimizer, what: str) -> float:
    """Return the optimizer's rate; UserError where groups do not keep their ratio."""
    groups = [(g["lr"], g.get("initial_lr", g["lr"])) for g in optimizer.param_groups]
    factors = [now / first for now, first in groups if first]
    if factors and max(factors) - min(factors) > 1e-9 * max(map(abs, factors)):
        raise UserError(
            f"{what}: its groups follow schedules of their own ({factors[:3]} times their first "
            "rates), and a config has one: train them by your own loop; align_training takes them"
        )
    base = optimizer.defaults.get("lr") or groups[0][1]
    return float(base) * (factors[0] if factors else 1.0)


class Asking(nn.Module):
    """A criterion of (outputs, label) that is a function, or that asks for the net or its inputs.

    loss: the user's. net: whose inputs are remembered where the loss asks for them.
    """

    given: dict[str, Any]

    def __init__(self, loss: Any, net: nn.Module) -> None:
        super().__init__()
        if isinstance(loss, nn.Module):
            self.loss = loss
        else:
            self.__dict__["loss"] = loss
        self.__dict__["net"], self.__dict__["given"] = net, {"args": (), "kwargs": {}}
        self.asked = asked_by(loss)
        if self.asked:
            net.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, net: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.__dict__["given"] = {"args": args, "kwargs": kwargs}

    def forward(self, outputs: Any, label: torch.Tensor) -> Any:
        """Return what the loss returns."""
        return self.loss(outputs, label, **given_to(self.asked, self.net, **self.given))


def trainable(loss: Any, net: nn.Module) -> nn.Module:
    """Return a criterion as a Module of (outputs, label)."""
    plain = isinstance(loss, nn.Module) and not asked_by(loss)
    return loss if plain else Asking(loss, net)
