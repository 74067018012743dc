"""torch as a forced run uses it, with noise on all that the code of a call gets."""
# ruff: noqa: D102 - what its methods return stands in `align.force.framework.Framework`

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arrays_torch import alias, is_tensor, scalar_of, to_array
from align.arrays.trees import leaves
from align.force.framework import Cotangents
from align.rounding.noise_torch import Noise
from align.rounding.own_results_torch import move_own_results
from common.nets import members

WRITTEN = 16.0  # multiples of one part in so many are numbers that stand in code


class DisturbedFramework:
    """The reference's own framework; arrays of the recording arrive moved by `noise`.

    `backward`: gradients are asked for. `targets` are the floating values of a label: no value of
    these is moved, for it may end its domain (a probability of 1, a box without a width).
    """

    def __init__(self, noise: Noise, backward: bool) -> None:
        self.noise = noise
        self.apart = Noise(noise.units, 1)  # draws that leave those of `noise` as they are
        self.backward = backward
        self.targets: torch.Tensor | None = None
        self.originals: dict[int, int] = {}  # identities of moved copies and what they stand for

    def know_targets(self, label: Any) -> None:
        """Take down the values of a label, a tree of tensors."""
        floating = [leaf for leaf in leaves(label) if is_tensor(leaf) and leaf.is_floating_point()]
        if floating:
            self.targets = torch.cat([leaf.detach().ravel() for leaf in floating]).unique()

    @contextmanager
    def moved_tensors(
        self, modules: Mapping[str, nn.Module], before: Mapping[str, np.ndarray]
    ) -> Iterator[None]:
        """Let `modules`, by path, hold moved copies of their parameters and buffers, for a while.

        `before`: buffers by name as they were before the recorded run; they stand for those held.
        """
        own = [(path, each, each._parameters, each._buffers) for path, each in modules.items()]
        copies: dict[int, Any] = {}
        try:
            for path, each, parameters, buffers in own:
                each._parameters = self._moved(parameters, copies)
                each._buffers = self._moved({**buffers, **_earlier(path, buffers, before)}, {})
            yield
        finally:
            for _, each, parameters, buffers in own:
                each._parameters, each._buffers = parameters, buffers
            self.originals.clear()

    def _moved(self, tensors: Mapping[str, Any], copies: dict[int, Any]) -> dict[str, Any]:
        """Return moved copies of parameters or buffers; `copies` are those already made."""
        moved: dict[str, Any] = {}
        for name, tensor in tensors.items():
            if tensor is None or id(tensor) in copies:
                moved[name] = None if tensor is None else copies[id(tensor)]
                continue
            copy = self.noise.jitter(tensor.detach())
            copy = copy.clone() if copy.data_ptr() == tensor.data_ptr() else copy
            if isinstance(tensor, nn.Parameter):
                copy = nn.Parameter(copy, requires_grad=tensor.requires_grad)
            self.originals[id(copy)] = id(tensor)
            moved[name] = copies[id(tensor)] = copy
        return moved

    def is_tensor(self, value: Any) -> bool:
        return is_tensor(value)

    def leaf(
        self, array: np.ndarray, like: torch.Tensor | None, constant: bool = False
    ) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        tensor = tensor if like is None else tensor.to(like.dtype)
        floating = (tensor.is_floating_point() or tensor.is_complex()) and not constant
        return tensor.requires_grad_() if self.backward and floating else tensor

    def whole_number(self, tensor: torch.Tensor) -> int | None:
        """Return None: the reference's own tensors and numbers are what they are."""

    def takes_gradient(self, tensor: torch.Tensor) -> bool:
        return tensor.requires_grad

    def values(self, gradient: torch.Tensor) -> np.ndarray:
        return to_array(gradient)

    def handed(self, leaf: torch.Tensor, written: bool) -> torch.Tensor:
        if self.noise.units and leaf.requires_grad:
            handed: torch.Tensor = _Jitter.apply(leaf, self.noise)
            return handed
        if self.noise.units and (leaf.is_floating_point() or leaf.is_complex()):
            moved = self.noise.jitter(leaf)
            # Beside a loss it may be a target, whose values code compares with numbers.
            if leaf.is_complex() or not (self.backward or self.targets is not None):
                return moved
            kept = _is_written_number(leaf)
            if self.targets is not None:
                kept |= torch.isin(leaf, self.targets.to(leaf.dtype))
            return torch.where(kept, leaf, moved)
        return leaf.clone() if written else leaf

    def version(self, tensor: torch.Tensor) -> int:
        return tensor._version

    def alias(self, tensor: torch.Tensor) -> torch.Tensor:
        return alias(tensor) if tensor.requires_grad else tensor

    def cotangent(self, array: np.ndarray, leaf: torch.Tensor) -> torch.Tensor | None:
        if not leaf.requires_grad:
            return None
        return self.noise.jitter(torch.from_numpy(array).to(leaf.dtype))

    def vjp(self, sources: Sequence[Cotangents], wrt: Sequence[torch.Tensor]) -> list[Any | None]:
        outputs = [(tensor, array) for tensor, array in sources if tensor.requires_grad]
        wanted = [tensor for tensor in wrt if tensor.requires_grad]
        if not outputs or not wanted:
            return [None] * len(wrt)
        seeds = [self.noise.jitter(torch.from_numpy(a).to(tensor.dtype)) for tensor, a in outputs]
        tensors = [tensor for tensor, _ in outputs]
        if self.noise.units:
            move_own_results(tensors, self.apart)
        start = scalar_of(tensors, seeds)
        found = iter(torch.autograd.grad(start, wanted, allow_unused=True))
        return [next(found) if tensor.requires_grad else None for tensor in wrt]

    def parameters(self, module: nn.Module) -> Mapping[int, Any]:
        return {self.originals.get(id(p), id(p)): p for p in members.parameters(module)}


def _is_written_number(tensor: torch.Tensor) -> torch.Tensor:
    """Tell of each value whether it is one that people write: a class, 0.5, the end of a domain."""
    scaled = tensor * WRITTEN
    return scaled == scaled.round()


def _earlier(
    path: str, names: Iterable[str], before: Mapping[str, np.ndarray]
) -> dict[str, torch.Tensor]:
    """Return those of `before`, named by whole path, that are buffers of the module at `path`."""
    whole = {name: f"{path}.{name}".lstrip(".") for name in names}
    return {name: torch.from_numpy(before[full]) for name, full in whole.items() if full in before}


class _Jitter(torch.autograd.Function):
    """The identity: values move by one unit, gradients pass."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, noise: Noise) -> torch.Tensor:
        moved = noise.jitter(tensor)
        real = not tensor.is_complex()
        if real and tensor.numel() and tensor.max() == 1:  # a probability: no loss takes more
            moved = moved.clamp_(max=1.0)
        return moved

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient, None
