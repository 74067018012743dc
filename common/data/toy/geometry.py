"""A pinhole camera above a street, and what polygons need.

World: metres; x to the right, up from the ground, depth ahead of the camera. Image: XY pixels.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]
Polygon = list[Point]


@dataclass(frozen=True)
class Camera:
    """`focal`, `centre` and `horizon` in pixels; `eye` is its height above the ground in metres."""

    width: int
    height: int
    focal: float
    centre: float
    horizon: float
    eye: float

    def project(self, x: float, up: float, depth: float) -> Point:
        """World point to pixel."""
        scale = self.focal / depth
        return self.centre + x * scale, self.horizon + (self.eye - up) * scale


@dataclass(frozen=True)
class Surface:
    """A plane of the world, to give pixels coordinates on it.

    kind "ground": up = 0; "side": x = at; "front": depth = at.
    """

    kind: str
    at: float = 0.0

    def coordinates(
        self, camera: Camera, px: np.ndarray, py: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(u, v, depth) in metres at the pixels; u runs along the plane, v across or up."""
        right, down = px - camera.centre, py - camera.horizon
        if self.kind == "ground":
            depth = camera.focal * camera.eye / np.maximum(down, 0.5)
            return depth, right * depth / camera.focal, depth
        if self.kind == "side":
            ahead = np.maximum(right * np.sign(self.at), 0.5)
            depth = camera.focal * abs(self.at) / ahead
            return depth, camera.eye - down * depth / camera.focal, depth
        depth = np.full_like(px, self.at)
        return right * depth / camera.focal, camera.eye - down * depth / camera.focal, depth


def disc(
    camera: Camera, surface: Surface, u: float, v: float, radius: float, corners: int = 16
) -> Polygon:
    """A circle on a side or front surface, seen by the camera."""
    angles = [2 * math.pi * k / corners for k in range(corners)]
    ring = [(u + radius * math.cos(a), v + radius * math.sin(a)) for a in angles]
    return on(camera, surface, ring)


def rectangle(
    camera: Camera, surface: Surface, u: tuple[float, float], v: tuple[float, float]
) -> Polygon:
    """The rectangle u[0]..u[1], v[0]..v[1] of a surface, seen by the camera."""
    return on(camera, surface, [(u[0], v[0]), (u[0], v[1]), (u[1], v[1]), (u[1], v[0])])


def on(camera: Camera, surface: Surface, points: Iterable[Point]) -> Polygon:
    """Points (u, v) of a surface, seen by the camera."""
    if surface.kind == "ground":
        return [camera.project(v, 0.0, u) for u, v in points]
    if surface.kind == "side":
        return [camera.project(surface.at, v, u) for u, v in points]
    return [camera.project(u, v, surface.at) for u, v in points]


def hull(points: Iterable[Point]) -> Polygon:
    """The convex hull, by the monotone chain."""
    ordered = sorted(set(points))
    chains: list[Polygon] = []
    for sweep in (ordered, ordered[::-1]):
        chain: Polygon = []
        for point in sweep:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1])
    return chains[0] + chains[1]


def clip(polygon: Polygon, width: int, height: int) -> list[tuple[int, int]]:
    """Cut a polygon to the image (Sutherland and Hodgman) and round it to whole pixels.

    Empty if nothing with an area of pixels is left.
    """
    for axis, limit, sign in ((0, 0, 1), (0, width - 1, -1), (1, 0, 1), (1, height - 1, -1)):
        polygon = _cut(polygon, axis, limit, sign)
    rounded = [(round(x), round(y)) for x, y in polygon]
    kept = [
        p for p, before in zip(rounded, rounded[-1:] + rounded[:-1], strict=True) if p != before
    ]
    return kept if len(kept) > 2 else []


def _cut(polygon: Polygon, axis: int, limit: float, sign: int) -> Polygon:
    kept: Polygon = []
    for start, end in zip(polygon[-1:] + polygon[:-1], polygon, strict=True):
        inside = [sign * (point[axis] - limit) >= 0 for point in (start, end)]
        if inside[0] != inside[1]:
            share = (limit - start[axis]) / (end[axis] - start[axis])
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            kept.append((x, y))
        if inside[1]:
            kept.append(end)
    return kept


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
