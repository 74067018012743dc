"""What stands still in a toy street: sky, ground, buildings, walls, trees, poles."""

import math
from typing import NamedTuple

import numpy as np

from common.data.toy.geometry import Camera, Surface, disc, on, rectangle
from common.data.toy.paint import Color, Paint, Thing
from common.randomness import choice, uniform

FAR = 110.0  # metres to the end of the street
NEAR = 2.0

FACADES: tuple[Color, ...] = (
    (0.72, 0.60, 0.45),
    (0.62, 0.36, 0.27),
    (0.58, 0.54, 0.50),
    (0.80, 0.72, 0.58),
    (0.50, 0.42, 0.40),
)
GREENS: tuple[Color, ...] = ((0.12, 0.33, 0.10), (0.18, 0.40, 0.12), (0.10, 0.27, 0.12))
SIGNS: tuple[Color, ...] = ((0.10, 0.22, 0.90), (0.90, 0.06, 0.10))
TRUNK: Color = (0.30, 0.21, 0.13)
STEEL: Color = (0.46, 0.48, 0.50)

# (depth, things that belong together, in drawing order); the deepest group is drawn first. What
# stands along the street would hide what stands before it, so it is put behind all of that.
Group = tuple[float, list[Thing]]
BEHIND_WALLS, BEHIND_ALL = 1000.0, 500.0


class Street(NamedTuple):
    """Half widths in metres from the middle of the road, for each side alike."""

    road: float
    walk: float  # outer edge of the sidewalk
    grass: float  # outer edge of the grass; equal to `walk` without grass
    facade: float


def lay_out(rng: np.random.Generator) -> Street:
    """Draw the widths of a street."""
    road = uniform(rng, 3.5, 4.4)
    walk = road + uniform(rng, 1.9, 2.7)
    grass = walk + (uniform(rng, 3.0, 6.0) if rng.random() < 0.85 else 0.0)
    return Street(road, walk, grass, grass + 0.6)


def ground_and_sky(camera: Camera, street: Street, rng: np.random.Generator) -> list[Thing]:
    """The whole image once over: sky above the horizon, flat classes below."""
    ground = Surface("ground")
    sky = Paint((0.42, 0.60, 0.86), Surface("front", 60.0), "fade", (0.88, 0.92, 0.96), 0.01, 0.07)
    grass = Paint((0.55, 0.60, 0.22), ground, grain=0.12, blotch=0.12)
    walk = Paint((0.70, 0.62, 0.60), ground, "tiles", (0.45, 0.40, 0.40), 0.05, 0.04)
    road = Paint((0.30, 0.30, 0.32), ground, grain=0.06, blotch=0.05)
    w, h, y = camera.width, camera.height, camera.horizon
    things = [
        Thing("sky", [(0, 0), (w, 0), (w, y + 1), (0, y + 1)], sky),
        Thing("terrain", [(0, y), (w, y), (w, h), (0, h)], grass),
    ]
    if street.grass == street.walk:
        things[1] = Thing("sidewalk", things[1].polygon, walk)
    else:
        strip = rectangle(camera, ground, (NEAR, FAR), (-street.walk, street.walk))
        things.append(Thing("sidewalk", strip, walk))
    for half, color in ((street.road + 0.2, (0.80, 0.79, 0.77)), (street.road, road.color)):
        label = "road" if half == street.road else ""
        strip = rectangle(camera, ground, (NEAR, FAR), (-half, half))
        things.append(Thing(label or "sidewalk", strip, road._replace(color=color)))
    return things + _markings(camera, street, rng)


def _markings(camera: Camera, street: Street, rng: np.random.Generator) -> list[Thing]:
    ground, things = Surface("ground"), []
    white = Paint((0.85, 0.85, 0.82), ground)
    start = uniform(rng, 2.0, 6.0)
    for k in range(8):
        dash = (start + 7.0 * k, start + 7.0 * k + 3.0)
        things.append(Thing("", rectangle(camera, ground, dash, (-0.08, 0.08)), white))
    if rng.random() < 0.35:
        side = _side(rng)
        edges = sorted((side * street.road, side * (street.road - 1.9)))
        bay = rectangle(camera, ground, (9.0, 24.0), (edges[0], edges[1]))
        slabs = Paint((0.50, 0.46, 0.44), ground, "tiles", (0.8, 0.8, 0.8))
        things.append(Thing("parking", bay, slabs))
    return things


def background(camera: Camera, rng: np.random.Generator) -> list[Thing]:
    """The end of the street: a row of trees."""
    surface = Surface("front", FAR)
    tops = [(x, uniform(rng, 5.0, 13.0)) for x in range(-120, 121, 6)]
    trees = on(camera, surface, [(-120, -0.5), *tops, (120, -0.5)])
    return [Thing("vegetation", trees, _leaves(rng, surface))]


def houses(camera: Camera, street: Street, side: int, rng: np.random.Generator) -> list[Group]:
    """Buildings along one side, with gaps that trees fill."""
    groups, depth = [], uniform(rng, 2.5, 6.0)
    while depth < FAR - 25:
        end = depth + uniform(rng, 9.0, 18.0)
        surface = Surface("side", side * street.facade)
        if rng.random() < 0.78:
            groups.append((BEHIND_WALLS + end, _house(camera, surface, (depth, end), rng)))
        else:
            hedge = rectangle(camera, surface, (depth, end), (0.0, uniform(rng, 2.0, 4.0)))
            leaves = _leaves(rng, surface)
            groups.append((BEHIND_WALLS + end, [Thing("vegetation", hedge, leaves)]))
        depth = end
    return groups


def _house(
    camera: Camera, surface: Surface, span: tuple[float, float], rng: np.random.Generator
) -> list[Thing]:
    """The face along the street and the gable towards the camera."""
    up = (0.0, uniform(rng, 7.0, 17.0))
    color, glass = _pick(rng, FACADES), (0.20, 0.24, 0.30)
    face = Paint(_shade(color, 0.8 if surface.at < 0 else 1.05), surface, "windows", glass, 0.05)
    gable = Paint(_shade(color, 0.92), Surface("front", span[0]), "windows", glass, 0.05)
    depth_of_house = sorted((surface.at, surface.at * 2.5))
    wall = rectangle(camera, gable.surface, (depth_of_house[0], depth_of_house[1]), up)
    return [
        Thing("building", wall, gable),
        Thing("building", rectangle(camera, surface, span, up), face),
    ]


def barrier(camera: Camera, street: Street, side: int, rng: np.random.Generator) -> list[Group]:
    """A wall or a fence in front of the buildings of one side."""
    surface = Surface("side", side * (street.grass + 0.1))
    start = uniform(rng, 5.0, 10.0)
    span = (start, start + uniform(rng, 10.0, 25.0))
    board = rectangle(camera, surface, span, (0.0, uniform(rng, 2.0, 3.0)))
    if rng.random() < 0.5:
        paint = Paint((0.62, 0.60, 0.72), surface, "blocks", (0.38, 0.37, 0.46), 0.04, 0.06)
        return [(BEHIND_ALL, [Thing("wall", board, paint)])]
    paint = Paint((0.20, 0.11, 0.05), surface, "bars", (0.86, 0.62, 0.22), 0.04, 0.04)
    return [(BEHIND_ALL, [Thing("fence", board, paint)])]


def tree(camera: Camera, x: float, depth: float, rng: np.random.Generator) -> list[Group]:
    """A trunk and a crown; both are vegetation."""
    surface = Surface("front", depth)
    height, radius = uniform(rng, 3.4, 4.6), uniform(rng, 1.3, 2.1)
    trunk = rectangle(camera, surface, (x - 0.16, x + 0.16), (0.0, height))
    ring = []
    for k in range(18):
        angle, reach = 2 * math.pi * k / 18, radius * uniform(rng, 0.8, 1.12)
        ring.append((x + reach * math.cos(angle), height + radius * 0.5 + reach * math.sin(angle)))
    crown = on(camera, surface, ring)
    bark = Paint(TRUNK, surface, grain=0.1)
    things = [Thing("vegetation", trunk, bark), Thing("vegetation", crown, _leaves(rng, surface))]
    return [(depth, things)]


def pole(camera: Camera, x: float, depth: float, rng: np.random.Generator) -> list[Group]:
    """A pole with a traffic light, a traffic sign, or a lamp."""
    surface = Surface("front", depth)
    height = uniform(rng, 3.2, 4.2)
    post = rectangle(camera, surface, (x - 0.2, x + 0.2), (0.0, height + 1.2))
    steel = Paint(STEEL, surface, grain=0.03)
    things = [Thing("pole", post, steel)]
    kind = rng.random()
    if kind < 0.45:
        things += _light(camera, surface, x, height, rng)
    elif kind < 0.9:
        things += _sign(camera, surface, x, height, rng)
    else:
        arm = rectangle(
            camera, surface, (x, x - math.copysign(1.6, x)), (height + 0.8, height + 1.2)
        )
        things.append(Thing("pole", arm, steel))
    return [(depth, things)]


def _light(
    camera: Camera, surface: Surface, x: float, up: float, rng: np.random.Generator
) -> list[Thing]:
    board = rectangle(camera, surface, (x - 0.52, x + 0.52), (up - 1.1, up + 1.1))
    case = rectangle(camera, surface, (x - 0.40, x + 0.40), (up - 0.98, up + 0.98))
    things = [
        Thing("traffic light", board, Paint((0.92, 0.92, 0.90), surface)),
        Thing("", case, Paint((0.05, 0.06, 0.05), surface)),
    ]
    lamps: tuple[Color, ...] = ((1.0, 0.15, 0.1), (1.0, 0.75, 0.1), (0.1, 0.95, 0.45))
    lit = choice(rng, 3)
    for k, color in enumerate(lamps):
        lamp = disc(camera, surface, x, up + 0.62 - 0.62 * k, 0.28, 10)
        things.append(Thing("", lamp, Paint(_shade(color, 1.0 if k == lit else 0.45), surface)))
    return things


def _sign(
    camera: Camera, surface: Surface, x: float, up: float, rng: np.random.Generator
) -> list[Thing]:
    corners = (4, 14)[choice(rng, 2)]
    color = _pick(rng, SIGNS)
    plate = disc(camera, surface, x, up, 0.85, corners)
    mark = disc(camera, surface, x, up, 0.36, corners)
    return [
        Thing("traffic sign", plate, Paint(color, surface, grain=0.02, blotch=0.02)),
        Thing("", mark, Paint((0.96, 0.96, 0.96), surface)),
    ]


def bin_or_box(camera: Camera, x: float, depth: float) -> list[Group]:
    """Something static that no class covers."""
    surface = Surface("front", depth)
    body = rectangle(camera, surface, (x - 0.35, x + 0.35), (0.0, 1.0))
    paint = Paint((0.32, 0.22, 0.30), surface, "bands", (0.22, 0.15, 0.2))
    return [(depth, [Thing("static", body, paint)])]


def _leaves(rng: np.random.Generator, surface: Surface) -> Paint:
    return Paint(_pick(rng, GREENS), surface, grain=0.2, blotch=0.35)


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[choice(rng, len(colors))]


def _side(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _shade(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)
