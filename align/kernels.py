"""Kernels of Paddle that compute partly in float32 whatever the input: THE TABLE.

Each row names the torch function whose counterpart it is, when it applies, and how far the kernel
may be off, as a fraction of the largest magnitude of its result. Which row applies to a layer or
a stretch of glue follows from the torch functions that were called in it, never from a name. Each
row has a test that shows the kernel's error below the row and above a tenth of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

EPS32 = 2.0**-23


@dataclass(frozen=True)
class Kernel:
    """One row. `error(input size, output size, settings)` is 0 where the kernel is exact."""

    function: str
    why: str
    error: Callable[[Sequence[int], Sequence[int], dict[str, object]], float]


def _resize_error(size: Sequence[int], out: Sequence[int], settings: dict[str, object]) -> float:
    """Paddle holds the ratio of a resize in float32: a coordinate is off by eps32 * size.

    Exact where every ratio is a power of two (align_corners=False), at any size.
    """
    if settings.get("mode") not in {"linear", "bilinear", "bicubic", "trilinear"}:
        return 0.0
    corners = bool(settings.get("align_corners"))
    if all(_is_exact_ratio(a, b, corners) for a, b in zip(size, out, strict=True)):
        return 0.0
    return EPS32 * (2.0 + 1.5 * max(size))


def _is_exact_ratio(size: int, out: int, align_corners: bool) -> bool:
    if size == out:
        return True
    if align_corners:
        size, out = size - 1, out - 1
    if size <= 0 or out <= 0:
        return True
    whole, rest = divmod(max(size, out), min(size, out))
    return rest == 0 and whole & (whole - 1) == 0


def _constant(error: float) -> Callable[[Sequence[int], Sequence[int], dict[str, object]], float]:
    return lambda size, out, settings: error


KERNELS: tuple[Kernel, ...] = (
    Kernel("interpolate", "the ratio of a resize is held in float32", _resize_error),
    Kernel("hardsigmoid", "the slope 1/6 is held in float32", _constant(4e-7)),
    Kernel("selu", "scale and alpha are held in float32", _constant(2e-7)),
)
