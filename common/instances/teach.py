"""What nets are taught of the objects of a batch: one function a way, by its name in a config.

To add one: a function (images, size_hw, num_classes, **options) -> arrays by name, a row of
`TEACH`, and its options in `common/settings/instances.py`. Images differ in how many objects they
have: what is of objects is one array for all of them, with the number of the image of each. So a
target is arrays by name, as of every task.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.instances.sets.transforms import Objects
from common.instances.solo_targets import solo_targets

Level = dict[str, np.ndarray]
_PARTS = ("boxes", "labels", "masks")
_OF_OBJECTS = ("masks", "cells")  # of a level: one for each mask, not for each image


def solo_target(
    images: Sequence[Objects], size_hw: tuple[int, int], num_classes: int, **options: Any
) -> dict[str, np.ndarray]:
    """Return what SOLO learns of the images of a batch; options: of `solo_targets`.

    Of level i "labels_i" int64 [N, S, S]; "masks_i" uint8 [P, h, w], "cells_i" int64 [P] and
    "image_i" int64 [P], the cell and the image of each mask. `solo_levels` undoes it.
    """
    taught = []
    for one in images:
        boxes, labels, masks = one["boxes"], one["labels"] - 1, one["masks"]
        taught.append(solo_targets(masks, boxes, labels, num_classes=num_classes, **options))
    target = {}
    for i, levels in enumerate(zip(*taught, strict=True)):
        counts = [len(level["cells"]) for level in levels]
        target[f"labels_{i}"] = np.stack([level["labels"] for level in levels])
        for name in _OF_OBJECTS:
            target[f"{name}_{i}"] = np.concatenate([level[name] for level in levels])
        target[f"image_{i}"] = np.repeat(np.arange(len(levels)), counts).astype(np.int64)
    return target


def solo_levels(target: Any) -> list[list[Level]]:
    """Return the targets of the levels of each image, arrays.

    target: what `solo_target` returned, arrays or tensors of a framework; or what `solo_targets`
    did, of each image, or of one alone.
    """
    if not isinstance(target, Mapping):
        return [list(target)] if isinstance(target[0], Mapping) else [list(one) for one in target]
    held = {name: _array(value) for name, value in target.items()}
    count = sum(name.startswith("labels_") for name in held)
    return [[_level_of(held, i, n) for i in range(count)] for n in range(len(held["labels_0"]))]


def _level_of(held: Mapping[str, np.ndarray], i: int, n: int) -> Level:
    """Return level `i` of image `n`."""
    own = held[f"image_{i}"] == n
    level = {name: held[f"{name}_{i}"][own] for name in _OF_OBJECTS}
    level["labels"] = labels = held[f"labels_{i}"][n]
    level["positive"] = positive = np.zeros(labels.size, bool)
    positive[level["cells"]] = True
    return level


def objects_target(
    images: Sequence[Objects], size_hw: tuple[int, int], num_classes: int
) -> dict[str, np.ndarray]:
    """Return the objects as they are: nets with a box head make of them what they learn.

    "boxes" float32 [M, 4], "labels" int64 [M], 1 to num_classes, "masks" uint8 [M, H, W] of the
    padded images, "image" int64 [M], the image of each; "size" int64 [N, 2], height and width of
    each image without padding. `objects_by_image` undoes it.
    """
    counts = [len(one["labels"]) for one in images]
    joined = {name: np.concatenate([one[name] for one in images]) for name in _PARTS}
    sizes = np.array([one["size"] for one in images], np.int64)
    return {**joined, "image": np.repeat(np.arange(len(images)), counts), "size": sizes}


def objects_by_image(target: Mapping[str, Any]) -> list[dict[str, np.ndarray]]:
    """Return "boxes", "labels" and "masks" [K, h, w] of each image, cut to its own size.

    target: what `objects_target` returned, arrays or tensors of a framework.
    """
    held = {name: _array(target[name]) for name in (*_PARTS, "image")}
    found = []
    for number, (height, width) in enumerate(sizes_of_images(target)):
        one = {name: held[name][held["image"] == number] for name in _PARTS}
        found.append({**one, "masks": np.ascontiguousarray(one["masks"][:, :height, :width])})
    return found


def sizes_of_images(target: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return (height, width) of each image without padding; see `objects_by_image`."""
    return [(height, width) for height, width in _array(target["size"]).tolist()]


TEACH: dict[str, Callable[..., dict[str, np.ndarray]]] = {
    "solo": solo_target,
    "objects": objects_target,
}


@dataclass(frozen=True)
class Teacher:
    """Makes what a net is taught of the objects of a batch; crowds teach nothing.

    name: of `TEACH`. num_classes: of the data set. options: of the function.
    """

    name: str
    num_classes: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, images: Sequence[Objects], size_hw: tuple[int, int]) -> dict[str, Any]:
        """Return arrays by name, of the objects of images that are padded to `size_hw`."""
        given = [_taught(one, size_hw) for one in images]
        return TEACH[self.name](given, size_hw, self.num_classes, **self.options)


def _taught(objects: Objects, size_hw: tuple[int, int]) -> Objects:
    """Return the objects that are no crowds, their masks padded to `size_hw`, and "size"."""
    kept = ~objects["iscrowd"]
    masks = objects["masks"][kept]
    padded = np.zeros((len(masks), *size_hw), np.uint8)
    height, width = masks.shape[1:]
    padded[:, :height, :width] = masks
    own = {name: objects[name][kept] for name in ("boxes", "labels")}
    return {**own, "masks": padded, "size": (height, width)}


def _array(value: Any) -> np.ndarray:
    """Return an array, or what a tensor of any device holds."""
    return np.asarray(value.cpu() if hasattr(value, "cpu") else value)
