"""What moves in a toy street: vehicles as boxes in perspective, people and cycles as outlines."""

import math
from typing import NamedTuple

import numpy as np

from common.data.toy.geometry import Camera, Point, Surface, disc, hull, on, rectangle
from common.data.toy.paint import Color, Paint, Thing
from common.data.toy.street import Group
from common.randomness import choice, uniform

GLASS: Color = (0.14, 0.18, 0.24)
TYRE: Color = (0.07, 0.07, 0.08)
SHADOW: Color = (0.13, 0.13, 0.14)
SKIN: Color = (0.85, 0.64, 0.50)


class Box(NamedTuple):
    """A kind of vehicle: metres, colours it comes in, and the pattern of its sides."""

    label: str
    width: float
    height: float
    length: float
    colors: tuple[Color, ...]
    pattern: str
    accent: Color


BOXES = {
    "car": Box(
        "car",
        1.85,
        1.5,
        4.2,
        ((0.75, 0.10, 0.12), (0.12, 0.22, 0.60), (0.80, 0.81, 0.83)),
        "plain",
        GLASS,
    ),
    "truck": Box(
        "truck", 2.5, 3.4, 7.5, ((0.94, 0.52, 0.10), (0.90, 0.42, 0.16)), "bands", (0.95, 0.94, 0.9)
    ),
    "bus": Box("bus", 2.5, 3.1, 11.0, ((0.96, 0.84, 0.15), (0.90, 0.78, 0.20)), "plain", GLASS),
    "train": Box(
        "train",
        2.6,
        3.6,
        26.0,
        ((0.10, 0.62, 0.62), (0.14, 0.55, 0.66)),
        "bands",
        (0.93, 0.95, 0.95),
    ),
}
SHIRTS: tuple[Color, ...] = ((0.78, 0.12, 0.50), (0.55, 0.15, 0.70), (0.90, 0.20, 0.35))
VESTS: tuple[Color, ...] = ((0.75, 0.95, 0.10), (0.60, 0.90, 0.20))
FRAMES: tuple[Color, ...] = ((0.15, 0.75, 0.95), (0.25, 0.60, 0.95))
TANKS: tuple[Color, ...] = ((0.85, 0.06, 0.06), (0.70, 0.10, 0.08))

# Outlines in metres, (to the right, up); seen from the front or from the left. `fmt: skip` leaves
# several points in a line.
PERSON: tuple[Point, ...] = (
    (-0.28, 0.0), (-0.04, 0.0), (0.0, 0.6), (0.04, 0.0), (0.28, 0.0), (0.28, 0.8),
    (0.42, 0.8), (0.42, 1.38), (0.14, 1.5), (0.20, 1.66), (0.13, 1.86), (-0.13, 1.86),
    (-0.20, 1.66), (-0.14, 1.5), (-0.42, 1.38), (-0.42, 0.8), (-0.28, 0.8),
)  # fmt: skip
TROUSERS: tuple[Point, ...] = (
    (-0.28, 0.0), (-0.04, 0.0), (0.0, 0.6), (0.04, 0.0), (0.28, 0.0), (0.28, 0.8), (-0.28, 0.8),
)  # fmt: skip
RIDER: tuple[Point, ...] = (
    (-0.34, 0.95), (-0.14, 1.48), (0.0, 1.58), (-0.02, 1.72), (0.06, 1.92), (0.26, 1.92),
    (0.34, 1.72), (0.24, 1.55), (0.34, 1.38), (0.62, 1.18), (0.56, 1.02), (0.24, 1.12),
    (0.10, 0.98), (0.34, 0.66), (0.26, 0.22), (0.06, 0.22), (0.10, 0.60), (-0.14, 0.78),
)  # fmt: skip
LEG: tuple[Point, ...] = (
    (0.10, 0.98), (0.34, 0.66), (0.26, 0.22), (0.06, 0.22), (0.10, 0.60), (-0.14, 0.78),
)  # fmt: skip


def vehicle(
    camera: Camera, kind: str, x: float, depth: float, rng: np.random.Generator
) -> list[Group]:
    """A vehicle seen from behind: `depth` is its near end, `x` its middle."""
    box = BOXES[kind]
    color = box.colors[choice(rng, len(box.colors))]
    left, right = x - box.width / 2, x + box.width / 2
    inner = left if x > 0 else right
    ends, flank, rear = (depth, depth + box.length), Surface("side", inner), Surface("front", depth)
    ground = rectangle(camera, Surface("ground"), (depth - 0.4, ends[1]), (left - 0.3, right + 0.3))
    things = [Thing("", ground, Paint(SHADOW, Surface("ground")))]
    if kind == "car":
        body = _car_outline(camera, left, right, ends)
    else:
        body = hull(
            camera.project(side, up, end)
            for side in (left, right)
            for up in (0.05, box.height)
            for end in ends
        )
    dark = (color[0] * 0.7, color[1] * 0.7, color[2] * 0.7)
    things.append(Thing(box.label, body, Paint(dark, flank, box.pattern, box.accent)))
    things += _flank(camera, kind, flank, ends, box.height)
    things += _rear(camera, kind, rear, (left, right), box, color)
    return [(depth, things)]


def _car_outline(
    camera: Camera, left: float, right: float, ends: tuple[float, float]
) -> list[Point]:
    corners = [camera.project(x, up, d) for x in (left, right) for up in (0.05, 0.9) for d in ends]
    cabin = (ends[0] + 0.4, ends[1] - 1.3)
    roof = [camera.project(x, 1.5, d) for x in (left + 0.25, right - 0.25) for d in cabin]
    return hull(corners + roof)


def _flank(
    camera: Camera, kind: str, flank: Surface, ends: tuple[float, float], height: float
) -> list[Thing]:
    """Windows and wheels on the side that faces the middle of the road."""
    glass, tyre = Paint(GLASS, flank, blotch=0.1), Paint(TYRE, flank)
    near, far = ends
    panes: list[tuple[float, float]] = []
    if kind == "bus":
        panes = [(d, min(d + 1.4, far)) for d in np.arange(near + 0.3, far - 0.5, 1.7).tolist()]
    elif kind == "train":
        panes = [(d, min(d + 2.0, far)) for d in np.arange(near + 0.5, far - 1, 3.2).tolist()]
    elif kind == "truck":
        panes = [(far - 1.6, far - 0.4)]
    things = [
        Thing("", rectangle(camera, flank, pane, (height * 0.5, height * 0.82)), glass)
        for pane in panes
    ]
    for wheel in () if kind == "train" else (near + 0.9, far - 0.9):
        radius = 0.33 if kind == "car" else 0.5
        things.append(Thing("", disc(camera, flank, wheel, radius + 0.2, radius, 12), tyre))
    return things


def _rear(
    camera: Camera, kind: str, rear: Surface, span: tuple[float, float], box: Box, color: Color
) -> list[Thing]:
    """The end that faces the camera: plate of sheet metal, window, lights, number plate."""
    left, right = span
    top = 0.95 if kind == "car" else box.height
    metal = Paint(color, rear, box.pattern, box.accent, 0.02, 0.05)
    lamp, glass = Paint((0.95, 0.08, 0.08), rear), Paint(GLASS, rear, blotch=0.1)
    low = 0.2 if kind == "car" else 0.25
    things = [
        Thing("", rectangle(camera, rear, span, (0.05, low)), Paint(TYRE, rear)),
        Thing("", rectangle(camera, rear, span, (low, top)), metal),
    ]
    if kind == "car":
        pane = [(left + 0.2, 0.98), (left + 0.4, 1.42), (right - 0.4, 1.42), (right - 0.2, 0.98)]
        things.append(Thing("", on(camera, Surface("front", rear.at + 0.3), pane), glass))
    elif kind != "truck":
        pane = on(
            camera,
            rear,
            [
                (left + 0.3, 1.7),
                (left + 0.3, top - 0.4),
                (right - 0.3, top - 0.4),
                (right - 0.3, 1.7),
            ],
        )
        things.append(Thing("", pane, glass))
    for x in (left + 0.05, right - 0.35):
        things.append(Thing("", rectangle(camera, rear, (x, x + 0.3), (0.6, 0.85)), lamp))
    middle = (left + right) / 2
    plate = rectangle(camera, rear, (middle - 0.3, middle + 0.3), (0.4, 0.6))
    things.append(Thing("license plate", plate, Paint((0.95, 0.95, 0.92), rear)))
    return things


def person(camera: Camera, x: float, depth: float, rng: np.random.Generator) -> list[Group]:
    """Someone on foot, seen from the front; 1.6 to 1.95 m tall."""
    surface, size = Surface("front", depth), uniform(rng, 0.95, 1.1)
    shirt = SHIRTS[choice(rng, len(SHIRTS))]
    trousers: Color = ((0.12, 0.14, 0.28), (0.20, 0.17, 0.15))[choice(rng, 2)]
    things = [
        Thing("person", _stand(camera, surface, PERSON, x, size), Paint(shirt, surface)),
        Thing("", _stand(camera, surface, TROUSERS, x, size), Paint(trousers, surface)),
        Thing("", disc(camera, surface, x, 1.68 * size, 0.17 * size, 10), Paint(SKIN, surface)),
    ]
    return [(depth, things)]


def cycle(
    camera: Camera, kind: str, x: float, depth: float, ridden: bool, rng: np.random.Generator
) -> list[Group]:
    """A bicycle or motorcycle from its side, with or without its rider."""
    surface, facing = Surface("front", depth), 1.0 if rng.random() < 0.5 else -1.0
    heavy = kind == "motorcycle"
    radius, axle = (0.40, 0.72) if heavy else (0.45, 0.62)
    colors = TANKS if heavy else FRAMES
    color = colors[choice(rng, len(colors))]
    outline = _stand(camera, surface, _cycle_outline(radius, axle, heavy), x, facing)
    web = Paint(color if heavy else (0.55, 0.55, 0.60), surface, grain=0.08)
    things = [Thing(kind, outline, web)]
    for middle in (x - axle, x + axle):
        inner = 0.5 if heavy else 0.78
        hub: Color = (0.22, 0.20, 0.20) if heavy else (0.60, 0.60, 0.66)
        things.append(
            Thing("", disc(camera, surface, middle, radius, radius), Paint(TYRE, surface))
        )
        things.append(
            Thing("", disc(camera, surface, middle, radius, radius * inner), Paint(hub, surface))
        )
    bar = [(-axle, radius), (-0.25, 0.85), (0.35, 0.9), (axle, radius), (0.3, 0.75), (0.0, 0.35)]
    things.append(Thing("", _stand(camera, surface, bar, x, facing), Paint(color, surface)))
    if ridden:
        things += _rider(camera, surface, x, facing, rng)
    return [(depth, things)]


def _rider(
    camera: Camera, surface: Surface, x: float, facing: float, rng: np.random.Generator
) -> list[Thing]:
    vest = VESTS[choice(rng, len(VESTS))]
    head = disc(camera, surface, x + 0.16 * facing, 1.78, 0.15, 10)
    return [
        Thing("rider", _stand(camera, surface, RIDER, x, facing), Paint(vest, surface)),
        Thing("", _stand(camera, surface, LEG, x, facing), Paint((0.15, 0.2, 0.15), surface)),
        Thing("", head, Paint((0.95, 0.95, 0.95), surface)),
    ]


def _cycle_outline(radius: float, axle: float, heavy: bool) -> list[Point]:
    """Two lower wheel arcs, joined by handlebar, frame and saddle; facing right."""
    points: list[Point] = []
    for middle in (-axle, axle):
        for degrees in range(90, 451, 30) if middle < 0 else range(180, 451, 30):
            if middle < 0 and degrees > 360:
                break
            angle = math.radians(degrees)
            points.append((middle + radius * math.cos(angle), radius + radius * math.sin(angle)))
    seat = 0.9 if heavy else 0.98
    return [
        *points,
        (0.55, 1.08),
        (0.36, 1.08),
        (0.30, 0.84),
        (-0.15, 0.84),
        (-0.15, seat),
        (-0.5, seat),
        (-0.45, 0.78),
    ]


def _stand(
    camera: Camera,
    surface: Surface,
    outline: tuple[Point, ...] | list[Point],
    x: float,
    size: float,
) -> list[Point]:
    """An outline put on the ground at x; a negative size mirrors it."""
    return on(camera, surface, [(x + u * size, v * abs(size)) for u, v in outline])
