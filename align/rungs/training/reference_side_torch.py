"""The reference in a training step: its state is what both sides start from."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arrays_torch import to_array
from align.arrays.batch import NetBatch
from align.causes.replayed_torch import replayed_by
from align.nets.whole import NET
from align.pairing.tensors import Tensor
from align.record.trace import Trace
from align.rungs.training import optimizers_torch
from align.rungs.training.held_average import HeldAverage
from align.rungs.training.step_start import (
    AverageFactory,
    OptimizerFactory,
    Slots,
    StepStart,
    unless_changed,
)
from common.nets import members
from common.places import refuse_signature


class ReferenceSide:
    """The reference, `prepared`, with its optimizer.

    `tensors` are the port's that have a partner; all that is returned by key is by the port's.
    """

    def __init__(
        self, net: nn.Module, tensors: Sequence[Tensor], make_optimizer: OptimizerFactory
    ) -> None:
        self.net, self.tensors = net, tensors
        self.parameters = dict(members.named_parameters(net, remove_duplicate=False))
        what = "the reference's optimizer (--torch-optimizer, torch_optimizer)"
        refuse_signature(make_optimizer, what, ("parameters",))
        self.optimizer = optimizers_torch.usable(make_optimizer(list(net.parameters())))
        self._rates = optimizers_torch.Rates(self.optimizer)
        self.schedulers = optimizers_torch.HeldSchedulers(self.optimizer)

    def parameter_of(self, tensor: Tensor) -> Any:
        """Return the parameter that stands for `tensor`; None for a buffer."""
        return self.parameters.get(tensor.reference or "")

    def seed(self, step: int) -> None:
        """Let each step draw another dropout mask."""
        torch.manual_seed(step)

    def replayed(self, batch: NetBatch) -> Any:
        """Return what runs single calls of the reference again on `batch`."""
        return replayed_by(self.net, batch)

    def start(self) -> StepStart:
        """Return copies of all that the next step starts from."""
        weights = {key: np.array(array) for key, array in self.state().items()}
        slots: Slots = {}
        found = self.slots()
        for tensor in self.tensors:
            slots[tensor.key] = {
                name: np.array(tensor.in_layout(array)) for name, array in found[tensor.key].items()
            }
        return StepStart(weights, slots)

    def state(self) -> dict[str, np.ndarray]:
        """Return the tensors by key, in the port's layout: the net's own memory, until it moves."""
        state = self.net.state_dict()
        known = [tensor for tensor in self.tensors if tensor.reference in state]
        arrays = {str(t.reference): to_array(state[str(t.reference)]) for t in known}
        return {tensor.key: tensor.of(arrays) for tensor in known}

    def slots(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return {key: {slot: values, the optimizer's own}}, in the reference's layout."""
        found = optimizers_torch.slots(self.optimizer)
        pairs = [(tensor.key, self.parameter_of(tensor)) for tensor in self.tensors]
        return {key: {} if p is None else found.get(id(p), {}) for key, p in pairs}

    def adopt(self, trace: Trace) -> None:
        """Take the buffers, frozen parameters and gradients that the recorded run left."""
        buffers = dict(members.named_buffers(self.net, remove_duplicate=False))
        with torch.no_grad():
            for name, array in trace.buffers.items():
                buffers[name].copy_(torch.from_numpy(array))
            for name, array in trace.moved.items():
                self.parameters[name].copy_(torch.from_numpy(array))
        for name, parameter in self.parameters.items():
            gradient = trace.gradients.get(name)
            parameter.grad = None if gradient is None else torch.from_numpy(gradient.copy())

    def gradients(self, trace: Trace) -> dict[str, np.ndarray]:
        """Return the recorded gradients by key, in the port's layout."""
        return self._by_key(trace.gradients)

    def _by_key(self, gradients: Mapping[str, Any]) -> dict[str, np.ndarray]:
        known = {t.key: t for t in self.tensors if t.reference in gradients}
        arrays = {key: t.of(gradients) for key, t in known.items()}
        return {key: array for key, array in arrays.items() if array is not None}

    def update(
        self, rounded: Set[str], gradients: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Run the optimizer with the settings `rounded` to float32, as the port's holds them.

        Returns the gradients that it used, by key: an optimizer may clip them. Those that it left
        as they were are the arrays of `gradients`, which it was given.
        """
        with optimizers_torch.rounded_constants(self.optimizer, rounded):
            self.optimizer.step()
        held = {n: p.grad for n, p in self.parameters.items() if p.grad is not None}
        used = self._by_key({name: to_array(gradient) for name, gradient in held.items()})
        self.optimizer.zero_grad(set_to_none=True)
        return {key: unless_changed(array, gradients.get(key)) for key, array in used.items()}

    def average(self, make: AverageFactory) -> HeldAverage:
        """Return the average of the net alone, without its loss, begun now."""
        return HeldAverage(make, "reference", self.net.net, to_array)

    def averages(self, average: HeldAverage) -> dict[str, np.ndarray]:
        """Return the averages by key, in the port's layout, as copies."""
        own: Any = self.net.net
        names = {name: id(value) for name, value in own.state_dict(keep_vars=True).items()}
        found = {f"{NET}{name}": array for name, array in average.arrays(names).items()}
        return {t.key: np.array(t.of(found)) for t in self.tensors if t.reference in found}

    @property
    def rate(self) -> float:
        """The rate of the first group."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def set_rate(self, rate: float) -> None:
        """Set the rate of the next step; groups keep their ratio."""
        self._rates.set(rate)

    def rates(self) -> dict[str, float]:
        """Return the rate of every parameter that the optimizer holds, by key."""
        rates = optimizers_torch.learning_rates(self.optimizer)
        pairs = [(tensor.key, id(self.parameter_of(tensor))) for tensor in self.tensors]
        return {key: rates[own] for key, own in pairs if own in rates}

    def groups(self) -> list[list[str]]:
        """Return the keys of each group of parameters; groups without a partner are left out."""
        keys: dict[int, list[str]] = {}
        for tensor in self.tensors:
            keys.setdefault(id(self.parameter_of(tensor)), []).append(tensor.key)
        found = [
            [key for parameter in group["params"] for key in keys.get(id(parameter), [])]
            for group in self.optimizer.param_groups
        ]
        return [group for group in found if group]

    @property
    def optimizer_class(self) -> type:
        """The first class of torch itself that the optimizer is."""
        return optimizers_torch.base_class(self.optimizer)

    @property
    def stock(self) -> bool:
        """Whether the optimizer is of that class itself, nobody's own."""
        return type(self.optimizer) is self.optimizer_class

    def group_of(self, tensor: Tensor) -> dict[str, Any]:
        """Return the settings of the group that holds a parameter."""
        return optimizers_torch.group_of(self.optimizer, self.parameter_of(tensor))
