"""How surfaces look: a colour, an accent laid over it by a pattern, noise, and haze."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.data.toy.geometry import Camera, Polygon, Surface

Color = tuple[float, float, float]  # RGB 0..1


class Paint(NamedTuple):
    """`accent` covers `color` as far as `pattern` says; grain and blotch: amplitudes of noise."""

    color: Color
    surface: Surface
    pattern: str = "plain"
    accent: Color = (0.0, 0.0, 0.0)
    grain: float = 0.03
    blotch: float = 0.04


class Thing(NamedTuple):
    """A polygon of the scene, drawn over what came before it.

    label: a Cityscapes label, or one with "group" behind it; "" is painted and not annotated.
    paint: None is annotated and not painted.
    """

    label: str
    polygon: Polygon
    paint: Paint | None


def _plain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.zeros_like(u)


def _windows(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _between(u / 3.0, 0.25, 0.75) * _between(v / 3.2, 0.35, 0.8)


def _blocks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.floor(v / 0.5)
    return np.maximum(_between(v / 0.5, 0, 0.16), _between(u / 1.2 + 0.5 * (row % 2), 0, 0.1))


def _bars(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(_between(u / 0.5, 0, 0.5), 1 - _between(v / 0.8 + 0.2, 0, 0.25))


def _tiles(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(_between(u, 0, 0.1), _between(v / 0.8, 0, 0.08))


def _bands(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _between(v / 1.2, 0.55, 1.0)


def _rails(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(_between(u / 1.0, 0, 0.3), _between(v / 1.5 + 0.5, 0.45, 0.55))


def _fade(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.clip(1 - v / 60.0, 0, 1) ** 2


# Each takes (u, v) in metres on the surface and gives the share of the accent, 0..1.
PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": _plain,
    "windows": _windows,
    "blocks": _blocks,
    "bars": _bars,
    "tiles": _tiles,
    "bands": _bands,
    "rails": _rails,
    "fade": _fade,
}

HAZE: Color = (0.78, 0.82, 0.86)
HAZE_DEPTH = 140.0  # metres after which 63 % of a colour is haze


def lay(
    canvas: np.ndarray, mask: np.ndarray, paint: Paint, camera: Camera, rng: np.random.Generator
) -> None:
    """Paint the masked pixels of `canvas` (float32 [H, W, 3], RGB 0..1) in place; mask [H, W]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    py, px = np.mgrid[top:bottom, left:right].astype(np.float32)
    u, v, depth = paint.surface.coordinates(camera, px, py)
    # Patterns finer than the pixels would flicker: they fade with the depth.
    share = PATTERNS[paint.pattern](u, v) * np.clip(25.0 / depth, 0, 1)
    if paint.surface.kind == "front":
        share = PATTERNS[paint.pattern](u, v)
    color = _mix(np.array(paint.color, np.float32), np.array(paint.accent, np.float32), share)
    light = 1 + paint.blotch * blotches(rng, u.shape) + paint.grain * _noise(rng, u.shape)
    haze = 1 - np.exp(-depth / HAZE_DEPTH) if paint.pattern != "fade" else np.zeros_like(depth)
    color = _mix(color * light[..., None], np.array(HAZE, np.float32), haze)
    inside = mask[top:bottom, left:right]
    canvas[top:bottom, left:right][inside] = color[inside]


def blotches(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Smooth noise of two sizes, about -1..1: float32 [H, W]."""
    total = np.zeros(shape, np.float32)
    for cell, weight in ((5, 0.5), (14, 0.5)):
        coarse = _noise(rng, (shape[0] // cell + 2, shape[1] // cell + 2))
        image = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR)
        total += weight * np.asarray(image)
    return total


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return (rng.random(shape, dtype=np.float32) - np.float32(0.5)) * np.float32(2)


def _between(value: np.ndarray, low: float, high: float) -> np.ndarray:
    part = value - np.floor(value)
    return ((part >= low) & (part < high)).astype(np.float32)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first + (second - first) * share[..., None]
