"""Targets of MaX-DeepLab in the two published layouts, and what the paper's loss makes of them.

Sources: conradry/max-deeplab, datasets/coco_panoptic.py (at 92a01e2), and google-research/deeplab2,
data/sample_generator.py and model/loss/max_deeplab_loss.py (at 64bc1c1).
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.errors import ConfigError, UserError
from common.panoptic.segments import Segment, places_of, semantic_of, thing_classes

STYLES = {"simplified": 50, "paper": 128}  # and the objects of an image, if nobody says it
NO_OBJECT = 0  # class of a slot without an object, and of void, in the simplified layout
IGNORE, UNASSIGNED = 255, -1  # in the paper's


def max_deeplab_targets(
    ids: np.ndarray,
    segments: Sequence[Segment],
    things: Collection[int] | np.ndarray = (),
    *,
    style: str,
    max_objects: int | None = None,
    crowds_are_objects: bool = False,
) -> dict[str, Any]:
    """Return what MaX-DeepLab is trained on.

    Args:
        ids: uint32 [H, W], 0 where there is no segment.
        segments: of the image; those without pixels do not count.
        things: the classes that are things, or a truth value for every class; for "paper".
        style: "simplified" (conradry) or "paper" (deeplab2).
        max_objects: rows of the arrays, 50 or 128 by default; of more objects the largest are
            kept, and pixels of the others are of no object.
        crowds_are_objects: a crowd is an object too, as conradry has it. Otherwise its pixels
            have a class and no object.

    Returns:
        simplified: masks uint8 [max_objects, H, W], in the order of the segments, then zeros;
        labels int64 [max_objects], class + 1, 0 of padding; sizes int64 [], how many are real;
        semantic int64 [H, W], class + 1, void 0.
        paper: semantic int64 [H, W], void 255; thing_id_mask int64 [H, W], the number of each
        pixel's thing, elsewhere -1; thing_id_class int64 [max_objects], their classes, then -1.

    Raises:
        ConfigError: an unknown style, or fewer than one object.
        SegmentsError: an id twice, or a class that a byte does not hold.
    """
    most = STYLES.get(style) if max_objects is None else max_objects
    if style not in STYLES or most is None or most < 1:
        raise ConfigError(
            f"targets: expected a style of {' or '.join(STYLES)} and max_objects of at least 1, "
            f"got {style!r} and {max_objects}"
        )
    place = places_of(ids, segments)
    semantic = semantic_of(ids, segments).astype(np.int64)
    known = thing_classes(things)
    wanted = [
        (crowds_are_objects or not segment["iscrowd"])
        and (style == "simplified" or segment["category_id"] in known)
        for segment in segments
    ]
    kept = _largest(place, np.array([*wanted, False]), most)
    classes = np.array([segments[k]["category_id"] for k in kept], np.int64)
    if style == "simplified":
        return _simplified(place, semantic, kept, classes, most)
    number = np.full(len(segments) + 1, UNASSIGNED, np.int64)
    number[kept] = np.arange(len(kept))
    padded = np.full(most, UNASSIGNED, np.int64)
    padded[: len(kept)] = classes
    return {"semantic": semantic, "thing_id_mask": number[place], "thing_id_class": padded}


def _largest(place: np.ndarray, wanted: np.ndarray, most: int) -> np.ndarray:
    """Return which of the `wanted` segments are kept, in their order: int64 [objects]."""
    area = np.bincount(place.ravel(), minlength=len(wanted))
    shown = np.flatnonzero(wanted & (area > 0))
    order = np.argsort(-area[shown], kind="stable")
    kept: np.ndarray = np.sort(shown[order[:most]])
    return kept


def _simplified(
    place: np.ndarray, semantic: np.ndarray, kept: np.ndarray, classes: np.ndarray, most: int
) -> dict[str, Any]:
    masks = np.zeros((most, *place.shape), np.uint8)
    masks[: len(kept)] = place == kept[:, None, None]
    labels = np.full(most, NO_OBJECT, np.int64)
    labels[: len(kept)] = classes + 1
    return {
        "masks": masks,
        "labels": labels,
        "sizes": np.array(len(kept), np.int64),
        "semantic": np.where(semantic == IGNORE, NO_OBJECT, semantic + 1),
    }


class Objects(NamedTuple):
    """The objects of images at the stride of the masks: things, then one for each stuff class.

    masks: bool [N, objects, P], P pixels. channel: int64 [N, objects], the class channel of each,
    -1 where no pixel of it is left. valid: bool [N, P], no void. thing: bool [N, P], of a thing.
    """

    masks: np.ndarray
    channel: np.ndarray
    valid: np.ndarray
    thing: np.ndarray


def paper_objects(
    semantic: np.ndarray,
    thing_id_mask: np.ndarray,
    thing_id_class: np.ndarray,
    *,
    things: Sequence[int],
    num_classes: int,
    ignore_label: int,
    size_hw: Sequence[int],
) -> Objects:
    """Return the objects of a batch as the paper's loss takes them.

    Args:
        semantic, thing_id_mask, thing_id_class: of `max_deeplab_targets`, stacked.
        things: the classes that are things, in the order of the class channels.
        num_classes: classes without void; the channels are the things, then the others ascending.
        ignore_label: void in `semantic`.
        size_hw: height and width of the masks, to which the labels are strided.

    Raises:
        UserError: the labels cannot be strided to that size, or a thing has a class of no channel.
    """
    order = class_order(things, num_classes, ignore_label)
    if len(order) != num_classes:
        raise UserError(
            f"things are {list(things)}, which are not among the net's {num_classes} classes; set "
            "things of the loss and num_classes of the net to those of the data set"
        )
    semantic, numbers = (
        strided(array, size_hw).reshape(len(array), -1) for array in (semantic, thing_id_mask)
    )
    slots = np.arange(thing_id_class.shape[1])[:, None]
    stuff = np.array(order[len(things) :], np.int64)[:, None]
    masks = np.concatenate([numbers[:, None] == slots, semantic[:, None] == stuff], axis=1)
    channel = np.full(max(int(thing_id_class.max(initial=0)), *order) + 1, UNASSIGNED, np.int64)
    channel[order] = np.arange(len(order))
    held = np.concatenate([thing_id_class, np.tile(stuff.T, (len(semantic), 1))], axis=1)
    channels = np.where(masks.any(axis=2) & (held >= 0), channel[held], UNASSIGNED)
    if ((channels < 0) & masks.any(axis=2)).any():
        raise UserError(
            f"target: thing_id_class holds a class that is none of the things {list(things)} and "
            f"the other classes below {num_classes}, or none where thing_id_mask has pixels; "
            "check things of the loss and of the target"
        )
    return Objects(masks, channels, semantic != ignore_label, numbers != UNASSIGNED)


def class_order(things: Sequence[int], num_classes: int, ignore_label: int) -> list[int]:
    """Return the class of each channel but void's: the things as given, then the rest ascending."""
    count = num_classes + (ignore_label < num_classes)
    return [*things, *(k for k in range(count) if k != ignore_label and k not in things)]


def strided(labels: np.ndarray, size_hw: Sequence[int]) -> np.ndarray:
    """Return every s-th pixel of `labels` [N, H, W], from the first, as [N, h, w] of `size_hw`.

    Raises UserError where no s gives that size.
    """
    step = -(-labels.shape[1] // size_hw[0])
    found = labels[:, ::step, ::step]
    if found.shape[1:] != tuple(size_hw):
        raise UserError(
            f"target: labels of {list(labels.shape[1:])} pixels cannot be strided to the net's "
            f"{list(size_hw)}; expected a whole stride, one for both axes"
        )
    return found
