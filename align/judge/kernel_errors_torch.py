"""Lets a kernel of torch err as its counterpart in Paddle may, to see how far that reaches.

An error that is the same everywhere adds up in a mean, one that changes its sign from element to
element averages out. So each kernel errs twice: at random, and coherently.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from align.arrays.arguments import bind
from align.arrays.arrays_torch import is_tensor
from align.arrays.trees import map_leaves
from align.judge.kernels import EPS32, Kernel

Signs = Callable[[torch.Tensor], torch.Tensor]
LINEAR = {"linear", "bilinear", "trilinear"}
COHERENT_DRAWS = 4
ORTHOGONAL = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))


class Errors:
    """Errors of kernels; `signs(tensor)` draws +1 and -1 in the shape of a tensor.

    `draw` is which of the `COHERENT_DRAWS` coherent ones these are, None for random errors. The
    signs of one kernel or axis over all draws are orthogonal to those of the next three, so that
    two errors which cancel in one draw add up in another.
    """

    def __init__(self, signs: Signs, draw: int | None = None) -> None:
        self.signs = signs
        self.draw = draw
        self.coherent = draw is not None
        self.count = 0
        self.block = torch.ones(1, dtype=torch.float64)

    @property
    def draws(self) -> int:
        """How many draws show every combination of as many signs as were used."""
        return min(COHERENT_DRAWS, 1 << max(self.count - 1, 0).bit_length())

    def off_by(self, tensor: torch.Tensor, error: float) -> torch.Tensor:
        """Return `tensor` with every element off by `error` of the largest magnitude."""
        if not error or not tensor.numel():
            return tensor.clone()
        step = error * torch.linalg.vector_norm(tensor, float("inf"))
        if not self.coherent:
            return self.signs(tensor).mul_(step).add_(tensor)
        return tensor.sgn().mul_(step * self._one_sign()).add_(tensor)

    def _one_sign(self) -> torch.Tensor:
        """Return the sign that one kernel's coherent error has along one axis."""
        assert self.draw is not None
        column = self.count % COHERENT_DRAWS
        if column == 0:
            self.block = self.signs(torch.ones(1, dtype=torch.float64))
        self.count += 1
        return (self.block * ORTHOGONAL[column][self.draw]).reshape(())

    def call(
        self,
        kernel: Kernel,
        errors: tuple[float, float],
        func: Any,
        args: Any,
        kwargs: Any,
        exact: torch.Tensor,
    ) -> torch.Tensor:
        """Call `func` as the kernel of row `kernel`, off by `errors` (forward, backward).

        `exact` is what it returns as it is.
        """
        bound = bind(func, args, kwargs)
        settings = {} if bound is None else dict(bound.arguments)
        source = args[0] if args else settings["input"]
        if kernel.function == "interpolate" and settings.get("mode") in LINEAR:
            return self._resize(source, exact, settings)
        # Gradients leave the kernel where its tensors are: they are moved there.
        args, kwargs = map_leaves((args, kwargs), lambda leaf: self._off_backward(leaf, errors[1]))
        result: torch.Tensor = _OffBy.apply(func(*args, **kwargs), self, errors[0], 0.0)
        return result

    def _off_backward(self, leaf: Any, error: float) -> Any:
        flows = is_tensor(leaf) and leaf.requires_grad
        return _OffBy.apply(leaf, self, 0.0, error) if flows else leaf

    def _resize(
        self, source: torch.Tensor, exact: torch.Tensor, settings: dict[str, Any]
    ) -> torch.Tensor:
        """Resize [N, C, ...] linearly with coordinates that are off as float32 ratios are.

        Written as one matrix a dimension: the backward pass errs alike by itself. Where `exact` is
        not what matrices give (antialiased), the error alone is theirs.
        """
        corners = bool(settings.get("align_corners"))
        scales = _scales(settings, exact.dim() - 2)
        off, true = [], []
        for axis, scale in zip(range(2, source.dim()), scales, strict=True):
            sizes = source.shape[axis], exact.shape[axis]
            at = _coordinates(*sizes, corners, scale).to(source.dtype)
            signs = self._one_sign() if self.coherent else self.signs(at)
            # The two weights are rounded, too: their sum is not 1.
            sums = (1 + signs * (EPS32 / 2)).reshape(-1, 1)
            off.append(_weights(at + signs * EPS32 * (at.abs() + 1), sizes[0]) * sums)
            true.append(_weights(at, sizes[0]))
        result = _resized(source, off)
        with torch.no_grad():
            channel = exact[:1, :1]
            apart = (_resized(source[:1, :1], true) - channel).abs().max()
        if apart <= EPS32 / 1000 * channel.abs().max():
            return result
        return exact + (result - _resized(source, true))


def _scales(settings: dict[str, Any], dimensions: int) -> Sequence[float | None]:
    """Return the scale factor that the kernel uses in place of the sizes' ratio, a dimension."""
    scale = settings.get("scale_factor")
    if scale is None or settings.get("recompute_scale_factor"):
        return [None] * dimensions
    return list(scale) if isinstance(scale, (list, tuple)) else [float(scale)] * dimensions


def _coordinates(size: int, out: int, corners: bool, scale: float | None) -> torch.Tensor:
    """Return where each of `out` places lies among `size`, as `F.interpolate` has it."""
    places = torch.arange(out, dtype=torch.float64)
    if corners:
        return places * ((size - 1) / (out - 1) if out > 1 else 0.0)
    ratio = size / out if scale is None else 1.0 / scale
    return ((places + 0.5) * ratio - 0.5).clamp(min=0.0)


def _weights(at: torch.Tensor, size: int) -> torch.Tensor:
    """Return the matrix [out, size] of linear interpolation at the coordinates `at` [out]."""
    at = at.clamp(0, size - 1)
    places = torch.arange(size, dtype=at.dtype)
    return (1 - (at[:, None] - places).abs()).clamp(min=0.0)


def _resized(tensor: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return `tensor` [N, C, ...] with each dimension after the first two times its matrix."""
    own = (matrix.to(tensor.dtype) for matrix in weights)  # float32 where that is looked at
    for axis, matrix in enumerate(own, 2 - tensor.dim()):
        if axis == -1:
            tensor = tensor @ matrix.T
        elif axis == -2:
            tensor = matrix @ tensor
        else:
            tensor = torch.movedim(torch.movedim(tensor, axis, -1) @ matrix.T, -1, axis)
    return tensor


class _OffBy(torch.autograd.Function):
    """The identity: values are off by the one error, gradients by the other."""

    @staticmethod
    def forward(
        ctx: Any, tensor: torch.Tensor, errors: Errors, forward_error: float, backward_error: float
    ) -> torch.Tensor:
        ctx.errors, ctx.error = errors, backward_error
        return errors.off_by(tensor, forward_error)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        exact = gradient.detach()
        off = ctx.errors.off_by(exact, ctx.error)
        # Where code differentiates it once more, what it is off by is a constant.
        return gradient + (off - exact) if gradient.requires_grad else off, None, None, None
