"""One toy frame: compose a scene, paint it, and draw its annotations from the same polygons."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from common.data.sets.cityscapes_labels import LABEL_OF_NAME
from common.data.toy import actors, street
from common.data.toy.geometry import Camera, Polygon, Surface, clip
from common.data.toy.paint import Paint, Thing, lay
from common.randomness import choice, generator, uniform


class Rendering(NamedTuple):
    """One frame with everything that Cityscapes offers for it.

    image: uint8 [H, W, 3] RGB. label_ids: uint8 [H, W]. instance_ids: uint16 [H, W], id * 1000 + k
    for countable classes, else the id. color: uint8 [H, W, 4] RGBA. polygons: the JSON document.
    """

    image: np.ndarray
    label_ids: np.ndarray
    instance_ids: np.ndarray
    color: np.ndarray
    polygons: dict[str, Any]


def render(seed: int, split: str, index: int, size_hw: tuple[int, int]) -> Rendering:
    """Frame `index` of a split, a pure function of its arguments."""
    height, width = size_hw
    rng = generator(seed, f"toy cityscapes {split}", index)
    camera = Camera(
        width,
        height,
        focal=height * uniform(rng, 1.05, 1.3),
        centre=width * uniform(rng, 0.42, 0.58),
        horizon=height * uniform(rng, 0.38, 0.46),
        eye=uniform(rng, 1.9, 2.4),
    )
    canvas = np.zeros((height, width, 3), np.float32)
    labels = Image.new("L", (width, height), 0)
    instances = Image.new("I", (width, height), 0)
    colors = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    objects: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for thing in compose(camera, rng):
        polygon = clip(thing.polygon, width, height)
        if not polygon:
            continue
        if thing.paint is not None:
            lay(canvas, _mask(polygon, width, height), thing.paint, camera, rng)
        if thing.label:
            objects.append({"label": thing.label, "polygon": [list(point) for point in polygon]})
            _annotate(thing.label, polygon, labels, instances, colors, seen)
    return Rendering(
        image=_photograph(canvas, rng),
        label_ids=np.asarray(labels, np.uint8),
        instance_ids=np.asarray(instances).astype(np.uint16),
        color=np.asarray(colors, np.uint8),
        polygons={"imgHeight": height, "imgWidth": width, "objects": objects},
    )


def compose(camera: Camera, rng: np.random.Generator) -> list[Thing]:
    """The things of a scene, from far to near; the frame's void parts last."""
    plan = street.lay_out(rng)
    groups: list[street.Group] = []
    for side in (-1, 1):
        groups += street.houses(camera, plan, side, rng)
        if rng.random() < 0.9:
            groups += street.barrier(camera, plan, side, rng)
        groups += _sidewalk(camera, plan, side, rng)
    groups += _traffic(camera, plan, rng)
    things = street.ground_and_sky(camera, plan, rng)
    things += street.background(camera, rng)
    for _, group in sorted(groups, key=lambda item: -item[0]):
        things += group
    return things + _void_frame(camera, rng)


def _sidewalk(
    camera: Camera, plan: street.Street, side: int, rng: np.random.Generator
) -> list[street.Group]:
    groups: list[street.Group] = []
    for _ in range(1 + choice(rng, 2)):
        x = side * uniform(rng, plan.walk - 0.3, plan.grass)
        groups += street.tree(camera, x, uniform(rng, 12.0, 40.0), rng)
    for _ in range(1 + choice(rng, 2)):
        groups += street.pole(camera, side * (plan.road + 0.45), uniform(rng, 5.5, 12.0), rng)
    for _ in range(2 + choice(rng, 3)):
        x = side * uniform(rng, plan.road + 0.6, plan.walk + 0.5)
        groups += actors.person(camera, x, uniform(rng, 5.0, 11.0), rng)
    if rng.random() < 0.3:
        x = side * uniform(rng, plan.road + 0.8, plan.walk)
        groups += actors.cycle(camera, "bicycle", x, uniform(rng, 5.5, 9.0), False, rng)
    if rng.random() < 0.3:
        groups += street.bin_or_box(camera, side * (plan.walk - 0.3), uniform(rng, 8.0, 16.0))
    return groups


def _traffic(camera: Camera, plan: street.Street, rng: np.random.Generator) -> list[street.Group]:
    """On each half of the road one large vehicle or a car, more cars behind; cycles in between."""
    groups: list[street.Group] = []
    for side in (-1, 1):
        depth = uniform(rng, 7.0, 11.0)
        kind = ("truck", "bus", "train", "car", "car")[choice(rng, 5)]
        lane = side * plan.road * 0.56
        if kind == "train":
            groups.append((2 * street.BEHIND_WALLS, [_rails(camera, lane)]))
        while depth < 60:
            groups += actors.vehicle(camera, kind, lane, depth, rng)
            depth += actors.BOXES[kind].length + uniform(rng, 4.0, 12.0)
            kind = "car"
    half = 1 if rng.random() < 0.5 else -1
    for kind, side in (("bicycle", half), ("motorcycle", -half)):
        if rng.random() < 0.8:
            x, ridden = side * uniform(rng, 0.15, 0.95) * plan.road, rng.random() < 0.85
            groups += actors.cycle(camera, kind, x, uniform(rng, 4.3, 6.8), ridden, rng)
    return groups


def _rails(camera: Camera, lane: float) -> Thing:
    bed = [
        camera.project(lane + dx, 0.0, depth)
        for dx, depth in ((-1.3, 3.0), (-1.3, 110.0), (1.3, 110.0), (1.3, 3.0))
    ]
    paint = Paint((0.42, 0.34, 0.28), Surface("ground"), "rails", (0.62, 0.60, 0.58), 0.08)
    return Thing("rail track", bed, paint)


def _void_frame(camera: Camera, rng: np.random.Generator) -> list[Thing]:
    """The hood of the own car in some frames, and the border that rectification leaves in all."""
    w, h = camera.width, camera.height
    things: list[Thing] = []
    if rng.random() < 0.5:
        rise = uniform(rng, 0.04, 0.09) * h
        arc = [(w * k / 16, h - 1 - rise * (1 - (k / 8 - 1) ** 4)) for k in range(17)]
        paint = Paint((0.16, 0.17, 0.20), Surface("front", 4.0), grain=0.02, blotch=0.15)
        things.append(Thing("ego vehicle", [*arc, (w, h), (0, h)], paint))
    edge = max(2, round(h / 200))
    bars = ((0, 0, w, edge), (0, h - edge, w, h), (0, 0, edge, h), (w - edge, 0, w, h))
    for left, top, right, bottom in bars:
        corners: Polygon = [
            (left, top),
            (right - 1, top),
            (right - 1, bottom - 1),
            (left, bottom - 1),
        ]
        things.append(Thing("out of roi", corners, None))
    return things


def _annotate(
    name: str,
    polygon: list[tuple[int, int]],
    labels: Image.Image,
    instances: Image.Image,
    colors: Image.Image,
    seen: dict[str, int],
) -> None:
    """Draw one object as cityscapesScripts does: json2labelImg.py and json2instanceImg.py."""
    label = LABEL_OF_NAME[name]
    if label.id < 0:
        return
    instance = label.id
    if label.has_instances:
        instance = label.id * 1000 + seen.get(name, 0)
        seen[name] = seen.get(name, 0) + 1
    ImageDraw.Draw(labels).polygon(polygon, fill=label.id)
    ImageDraw.Draw(instances).polygon(polygon, fill=instance)
    ImageDraw.Draw(colors).polygon(polygon, fill=(*label.color, 255))


def _mask(polygon: list[tuple[int, int]], width: int, height: int) -> np.ndarray:
    mask = Image.new("1", (width, height))
    ImageDraw.Draw(mask).polygon(polygon, fill=1)
    return np.asarray(mask)


def _photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light of the day, a soft lens, the noise of a sensor: uint8 [H, W, 3]."""
    tint = np.array([uniform(rng, 0.94, 1.06) for _ in range(3)]) * uniform(rng, 0.85, 1.12)
    light = canvas * tint.astype(np.float32)
    for axis in (0, 1):
        before, after = np.roll(light, 1, axis), np.roll(light, -1, axis)
        light = light * np.float32(0.6) + (before + after) * np.float32(0.2)
    noise = rng.random(canvas.shape, dtype=np.float32) - np.float32(0.5)
    return (np.clip(light + noise * np.float32(0.05), 0, 1) * 255).round().astype(np.uint8)
