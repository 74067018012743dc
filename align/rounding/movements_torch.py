"""How far each tensor of a disturbed run is from what was recorded."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from align.arrays.arrays_torch import is_tensor, to_array
from align.arrays.distances import distance, magnitude, total_of_channel
from align.force.frame import Seen
from align.judge.compare import LONG_SUMS, OTHER_SHAPE, UNITS
from align.nets.layers_torch import copied_buffers
from align.record.choices.choice import Choice, are_fills
from align.record.draws import CallKey
from align.record.trace import CallPlace, Dropped, HandedOn, Trace
from align.rounding.allowances import TINY
from common.nets import members

Movements = dict[CallPlace, float]  # largest movement of each tensor

COMPLETE = 1e-9  # farther from a parameter's gradient, other calls may add to it


class NotedMovements:
    """Notes the largest movement of each tensor, in `moves`, while a disturbed run goes on.

    `units`: by how many units in the last place the run moves its tensors.
    """

    def __init__(self, trace: Trace, units: float) -> None:
        self.trace = trace
        self.units = units
        self.moves: Movements = {}
        self.names: dict[int, list[str]] = {}
        self.largest: dict[str, float] = {}  # of a module: its gradients that are dropped
        self.lost: dict[str, float] = {}  # of a path: see `lost_in_sums`

    def note(self, seen: Seen) -> None:
        """Note a tensor at a boundary of the forced run."""
        if isinstance(seen.expected, HandedOn):
            step = float(np.finfo(seen.expected.dtype).eps) * self.units
            self.moves[seen.place] = step * seen.expected.largest
        elif seen.expected is not None and seen.found is not None and is_tensor(seen.found):
            self.note_distance(seen.place, seen.found, seen.expected)

    def note_distance(
        self, place: CallPlace, found: torch.Tensor, expected: np.ndarray | None
    ) -> None:
        """Note how far `found` is from what was recorded at `place`."""
        if expected is None:
            return
        array = to_array(found)
        if array.shape != expected.shape:
            self.moves[place] = OTHER_SHAPE
            return
        if not array.size:
            return
        if found.is_floating_point() or found.is_complex():
            move = distance(expected, array).worst
            if not math.isfinite(move):
                apart = torch.from_numpy(array) - torch.from_numpy(expected)
                move = float(apart.abs().nan_to_num(0.0).max())
        else:
            move = float((array != expected).sum())
        self.moves[place] = move

    def note_choice(self, key: CallKey, number: int, recorded: Choice, own: Choice) -> None:
        """Note how far the scores of a discrete step are from those recorded; not how far fills."""
        moves = []
        for one, other in zip(recorded.operands, own.operands, strict=True):
            scores = ~are_fills(one)
            if scores.any():
                moves.append(distance(one[scores], other[scores]).worst)
        self.moves[(*key, f"choice:{number}")] = sum(moves) if np.isfinite(moves).all() else 0.0

    def note_buffers(self, modules: Mapping[str, nn.Module]) -> None:
        """Note the buffers that `modules`, by path, came to hold."""
        for name, array in copied_buffers(modules).items():
            kept = self.trace.buffers[name]
            apart = np.abs(array - kept) if array.dtype.kind in "fc" else array != kept
            self.moves["", 0, f"buffer:{name}"] = float(apart.max(initial=0.0))
        for path, module in modules.items() if self.units else ():
            for name, move in self._of_statistics(path, module).items():
                place = ("", 0, f"buffer:{path}.{name}".replace(":.", ":"))
                self.moves[place] = max(move, self.moves.get(place, 0.0))

    def _of_statistics(self, path: str, module: nn.Module) -> dict[str, float]:
        """Return how far rounding moves running statistics of a few channels, by buffer.

        Of few values none may happen to move in one run. This is what random signs come to in the
        mean of many runs, and what the sum loses: a mean of what cancels says nothing of it.
        """
        mean = getattr(module, "running_mean", None)
        if not isinstance(module, _NormBase) or mean is None or mean.numel() > TINY:
            return {}
        share = 1.0 if module.momentum is None else module.momentum
        found = {"running_mean": 0.0, "running_var": 0.0}
        for call in self.trace.calls if module.training else ():
            x = call.inputs[0] if call.path == path and len(call.inputs) else None
            if not isinstance(x, np.ndarray) or x.ndim < 2 or x.shape[1] != mean.numel():
                continue
            values = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1).astype(np.float64)
            count = values.shape[1]
            off = values - values.mean(1, keepdims=True)
            lost = LONG_SUMS / UNITS * count * np.abs(values).mean(1)
            moved = np.sqrt((values**2).mean(1) / count)
            spread = 2 * np.sqrt((off**2 * values**2).mean(1) * count) / max(count - 1, 1)
            step = float(np.finfo(x.dtype).eps) * self.units * share
            found["running_mean"] += step * float((moved + lost).max(initial=0.0))
            found["running_var"] += step * float(spread.max(initial=0.0))
        return found

    def note_between(
        self, net: nn.Module, moved: Mapping[int, torch.Tensor], exact: Mapping[int, torch.Tensor]
    ) -> None:
        """Note how far gradients, by the parameter's identity, are from what they are exactly."""
        for key, gradient in moved.items():
            for name in self._names(net).get(key, ()) if key in exact else ():
                self.note_distance(("", 0, f"grad:{name}"), gradient, to_array(exact[key]))

    def note_gradients(self, net: nn.Module, gradients: Mapping[int, torch.Tensor]) -> None:
        """Note the gradients of all parameters, given by the parameter's identity."""
        for name, parameter in members.named_parameters(net, remove_duplicate=False):
            gradient = gradients.get(id(parameter))
            if gradient is not None:
                place = ("", 0, f"grad:{name}")
                self.note_distance(place, gradient, self.trace.gradients.get(name))
                if place in self.moves:
                    self.moves[place] += self.lost_in_sums(name, parameter)
        if self.units:
            self._note_tiny()

    def note_complete(
        self, net: nn.Module, module: nn.Module, gradients: dict[int, torch.Tensor]
    ) -> None:
        """Note the gradients of parameters that nothing but one call of `module` has.

        They are dropped from `gradients`.
        """
        for parameter in module._parameters.values():
            gradient = gradients.get(id(parameter))
            if parameter is None or parameter.grad is None or gradient is None:
                continue
            found = distance(to_array(parameter.grad), to_array(gradient))
            if found.worst <= COMPLETE * found.largest:
                del gradients[id(parameter)]
                for name in self._names(net)[id(parameter)]:
                    lost = self.lost_in_sums(name, parameter)
                    self.moves["", 0, f"grad:{name}"] = found.worst + lost

    def note_dropped(self, name: str, gradient: torch.Tensor) -> None:
        """Note the size of a parameter's gradient that is judged and will not be kept."""
        module = name.rpartition(".")[0]
        self.largest[module] = max(magnitude(to_array(gradient)), self.largest.get(module, 0.0))

    def _names(self, net: nn.Module) -> dict[int, list[str]]:
        """Return every name of each parameter, by its identity."""
        if not self.names:
            for name, parameter in members.named_parameters(net, remove_duplicate=False):
                self.names.setdefault(id(parameter), []).append(name)
        return self.names

    def _note_tiny(self) -> None:
        """Let the gradient of a few values move as far as a unit of its module's largest.

        It may be a sum that cancels (a bias in front of a softmax), and of a few values none may
        happen to move.
        """
        held = {name: g for name, g in self.trace.gradients.items() if g is not None and g.size}
        largest = self.largest
        for name, gradient in held.items():
            module = name.rpartition(".")[0]
            largest[module] = max(magnitude(gradient), largest.get(module, 0.0))
        for name, gradient in held.items():
            step = float(np.finfo(gradient.dtype).eps) * self.units
            move = step * largest[name.rpartition(".")[0]]
            if gradient.size <= TINY and math.isfinite(move):
                place = ("", 0, f"grad:{name}")
                self.moves[place] = max(move, self.moves.get(place, 0.0))

    def lost_in_sums(self, name: str, parameter: torch.Tensor) -> float:
        """Return what the gradient of a bias loses as a sum over pixels, whatever it comes to.

        That of a bias in front of BatchNorm is 0: its own size says nothing about its rounding,
        that of the cotangents which it sums does.
        """
        if parameter.dim() != 1:
            return 0.0
        path = name.rpartition(".")[0]  # once for good: its cotangents may be dropped after
        if path not in self.lost:
            sizes = [
                call.values_per_channel * _total(cotangent)
                for call in self.trace.calls
                if call.path == path
                for cotangent in call.grad_outputs
                if cotangent is not None and not isinstance(cotangent, Dropped)
            ]
            unit = float(np.finfo(np.float64).eps) * self.units
            self.lost[path] = LONG_SUMS / UNITS * unit * max(sizes, default=0.0)
        return self.lost[path]


def _total(cotangent: np.ndarray | HandedOn) -> float:
    return cotangent.total if isinstance(cotangent, HandedOn) else total_of_channel(cotangent)
