"""The port in a training step: it is given the reference's state, then updated."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from align.arrays.arrays_paddle import to_array, to_tensor
from align.nets.calls import attributes_remembered
from align.nets.whole import NET
from align.pairing.tensors import Tensor
from align.rungs.training import optimizers_paddle
from align.rungs.training.clipping_paddle import watched_clips
from align.rungs.training.held_average import HeldAverage
from align.rungs.training.step_start import (
    AverageFactory,
    OptimizerFactory,
    StepStart,
    unless_changed,
)
from common.nets import members
from common.places import refuse_signature


class PortSide:
    """The port, `prepared`, with its optimizer; `tensors` are those that have a partner."""

    def __init__(
        self, net: paddle.nn.Layer, tensors: Sequence[Tensor], make_optimizer: OptimizerFactory
    ) -> None:
        self.net, self.tensors = net, tensors
        self.held = dict(net.state_dict())
        # What layers count in attributes begins anew with every step, as it does in the reference.
        self.forget = attributes_remembered(members.modules(net), buffers=False)
        what = "the port's optimizer (--paddle-optimizer, paddle_optimizer)"
        refuse_signature(make_optimizer, what, ("parameters",))
        self._make_optimizer = make_optimizer
        self.optimizer = self.new_optimizer()
        self.scheduler = optimizers_paddle.HeldScheduler(self.optimizer)

    def new_optimizer(self) -> Any:
        """Return an optimizer of all trainable parameters."""
        made = self._make_optimizer([p for p in self.net.parameters() if not p.stop_gradient])
        optimizers_paddle.usable(made)
        self.clips = watched_clips(made)
        return made

    def set_tensors(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Give the tensors of these keys these values."""
        self._look_again()
        for key, array in arrays.items():
            self.held[key].set_value(to_tensor(np.asarray(array, order="C")))

    def begin_at(self, start: StepStart) -> None:
        """Take the reference's weights, buffers and slots."""
        self.forget()
        self.set_tensors(start.weights)
        slots = {self.held[key].name: own for key, own in start.slots.items()}
        optimizers_paddle.set_slots(self.optimizer, slots)

    def update(
        self, gradients: Mapping[str, np.ndarray], factors: Mapping[str, float]
    ) -> dict[str, np.ndarray]:
        """Run the optimizer on the reference's gradients; return those that it used, by key.

        `factors` are those by which the reference's optimizer multiplied them.
        """
        self._look_again()
        once = {id(self.held[key]): (self.held[key], array) for key, array in gradients.items()}
        optimizers_paddle.add_gradients(
            [pair for pair in once.values() if not pair[0].stop_gradient]
        )
        for clip in self.clips:
            clip.theirs = {self.held[key].name: factor for key, factor in factors.items()}
        self.optimizer.step()
        used = {key: self._used(self.held[key], array) for key, array in gradients.items()}
        self.optimizer.clear_grad()
        return {key: array for key, array in used.items() if array is not None}

    def _used(self, parameter: paddle.Tensor, given: np.ndarray) -> np.ndarray | None:
        """Return the gradient that the optimizer has used, None where it does not show."""
        for clip in self.clips:
            if parameter.name in clip.clipped:
                return unless_changed(clip.clipped.pop(parameter.name), given)
        if parameter.grad is None:
            return None
        found = unless_changed(to_array(parameter.grad), given)
        return found if found is given else np.array(found)

    def average(self, make: AverageFactory) -> HeldAverage:
        """Return the average of the net alone, without its loss, begun now."""
        return HeldAverage(make, "port", self.net.net, to_array)

    def averages(self, average: HeldAverage) -> dict[str, np.ndarray]:
        """Return the averages by key, as copies."""
        names = {name: id(value) for name, value in self.net.net.state_dict().items()}
        return {f"{NET}{name}": array for name, array in average.arrays(names).items()}

    def clipped_as_torch(self) -> list[tuple[float, float]]:
        """Return (norm, factor) of each clipping that was given torch's epsilon."""
        return [entry for clip in self.clips for entry in clip.as_torch]

    def _look_again(self) -> None:
        """Hold the tensors of now: forward may have assigned buffers anew."""
        self.held = dict(self.net.state_dict())

    def values(self, key: str) -> np.ndarray:
        """Return a copy of a tensor's values."""
        return optimizers_paddle.values(self.held[key])

    def slots(self) -> dict[str, dict[str, np.ndarray]]:
        """Return {key: {slot in torch's words: values}}; the values are the optimizer's own."""
        found = optimizers_paddle.slots(self.optimizer)
        return {
            tensor.key: {
                name: to_array(slot)
                for name, slot in found.get(self.held[tensor.key].name, {}).items()
            }
            for tensor in self.tensors
        }

    @property
    def plain(self) -> bool:
        """Whether the optimizer is a class of the port's own, whose slots are not known."""
        return optimizers_paddle.is_plain(self.optimizer)

    @property
    def kind(self) -> str:
        """The class of Paddle that the optimizer is, "" for one of the port's own."""
        return optimizers_paddle.kind_of(self.optimizer)

    @property
    def stock(self) -> bool:
        """Whether the optimizer is of that class itself, nobody's own."""
        return type(self.optimizer).__name__ == self.kind

    def decay_l1(self, key: str) -> float:
        """Return the coefficient of a parameter's absolute decay, 0 where it has none."""
        return optimizers_paddle.decay_l1(self.optimizer, self.held[key])

    @property
    def can_set_rate(self) -> bool:
        """Whether the optimizer's rate can be set."""
        return optimizers_paddle.can_set_rate(self.optimizer)

    @property
    def rate(self) -> float:
        """The rate of the next step."""
        return optimizers_paddle.rate(self.optimizer)

    def set_rate(self, rate: float) -> None:
        """Set the rate of the next step, where it can be."""
        if self.can_set_rate:
            optimizers_paddle.set_rate(self.optimizer, rate)

    def multiplier(self, key: str) -> float:
        """Return what the rate is multiplied by for a parameter."""
        return optimizers_paddle.multiplier(self.held[key])

    def rates(self) -> dict[str, float]:
        """Return the rate of every parameter that the optimizer holds, by key."""
        rate, held = self.rate, optimizers_paddle.held(self.optimizer)
        if self.plain:
            held = {id(tensor) for tensor in self.held.values() if not tensor.stop_gradient}
        keys = [tensor.key for tensor in self.tensors if id(self.held[tensor.key]) in held]
        return {key: rate * self.multiplier(key) for key in keys}

    def settings(self) -> dict[str, Any]:
        """Return the optimizer's settings, in torch's words, as far as they are known."""
        return optimizers_paddle.settings(self.optimizer)

    def float32_settings(self) -> frozenset[str]:
        """Return the settings that the optimizer rounds to float32, by their names in torch."""
        return optimizers_paddle.float32_settings(self.optimizer)
