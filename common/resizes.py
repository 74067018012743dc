"""Which resizes Paddle computes exactly: it holds coordinates in float32, in float64 nets too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SMOOTH = frozenset({"linear", "bilinear", "bicubic", "trilinear"})


def is_exact(size: Sequence[int], out: Sequence[int], settings: Mapping[str, Any]) -> bool:
    """Tell whether float32 holds every coordinate of a resize from `size` to `out`.

    size, out: without batch and channels. settings: the other arguments of
    `torch.nn.functional.interpolate` by name; one that is absent is at its default.
    """
    if settings.get("mode", "nearest") not in SMOOTH:
        return True
    corners = bool(settings.get("align_corners"))
    scale = settings.get("scale_factor")
    if corners or settings.get("recompute_scale_factor"):
        scale = None
    scales = scale if isinstance(scale, (list, tuple)) else [scale] * len(size)
    return all(
        _is_exact_line(*line, corners=corners) for line in zip(size, out, scales, strict=True)
    )


def _is_exact_line(size: int, out: int, scale: float | None, corners: bool) -> bool:
    """Tell it of one dimension: a coordinate is the place times the step."""
    places = np.arange(out, dtype=np.float64)
    if corners:
        step = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        places += 0.5
        step = size / out if scale is None else 1.0 / scale
    # Paddle 2.6 rounds the scale factor, too, before it divides.
    held = np.float32(step) if scale is None else np.float32(1) / np.float32(scale)
    return bool(np.array_equal(places.astype(np.float32) * held, places * step))
