"""From what a panoptic net returns of one image to its panoptic map: a row a kind of net.

To add one: a function (outputs, *, things, **options) in `POST`, and what it says of the class of
every pixel before anything is left out in `SEMANTIC`, of which mean IoU is computed. An evaluator
takes the two stacked, int64 [N, 2, H, W], or the first alone.

Outputs are arrays as the net nests them, without the axis of the batch.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import DataError
from common.evaluation.resizing import argmax_of
from common.panoptic.grouping import max_deeplab_panoptic, panoptic_deeplab_panoptic
from common.panoptic.segments import thing_classes

VOID = -1  # of every map that is made here
STRIDE = 4  # of the masks of the paper's heads

Things = Collection[int] | np.ndarray


def _grouped(outputs: Sequence[np.ndarray], *, things: Things, **options: Any) -> np.ndarray:
    """Group [semantic [C, H, W], center [1, H, W], offset [2, H, W], ...]; the rest is not used."""
    semantic = _largest(outputs)
    _, center, offset = outputs[:3]
    return panoptic_deeplab_panoptic(semantic, center, offset, things=things, **options)[0]


def _largest(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the class of the largest logit [H, W]."""
    if len(outputs) < 3:
        raise DataError(
            f"post-processing: expected [semantic, center, offset] of the net, got {len(outputs)} "
            "outputs; is evaluate.post that of this net?"
        )
    return argmax_of(outputs[0][None])[0]


def _by_slots(outputs: Any, *, things: Things, **options: Any) -> np.ndarray:
    """Give pixels to mask slots."""
    masks, classes, size = _slots_of(outputs, things)
    where = {"image_shape": size, "void_label": classes.shape[1] - 1, "label_divisor": 1000}
    found = max_deeplab_panoptic(masks, classes, things=things, **{**where, **options})
    void = options.get("label_divisor", where["label_divisor"]) * where["void_label"]
    return np.where(found == void, VOID, found)


def _class_of_slots(outputs: Any, *, things: Things) -> np.ndarray:
    """Return the class of the slot with the largest logit, however unsure: int64 [H, W].

    So deeplab2 makes the map that mean IoU is of: model/post_processor/max_deeplab.py (at 64bc1c1),
    `_post_processor_semantic`.
    """
    no_limits = (
        *("thing_area_limit", "stuff_area_limit", "pixel_confidence_threshold"),
        "transformer_class_confidence_threshold",
    )
    slots = {"label_divisor": len(_slots_of(outputs, things)[0]) + 1}
    found = _by_slots(outputs, things=things, **slots, **dict.fromkeys(no_limits, 0))
    return found // slots["label_divisor"]


def _slots_of(outputs: Any, things: Things) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return mask logits, class logits with void last, and the size of the image.

    The paper's heads are a dict, "mask" at a quarter of the image and "class": things, stuff, void.
    The simplified net's are (masks at the image's size, classes, ...), of which 0 is no object and
    k + 1 the class k.
    """
    if isinstance(outputs, Mapping):
        masks, classes = outputs["mask"], outputs["class"]
        height, width = (STRIDE * (length - 1) + 1 for length in masks.shape[1:])
        return masks, classes, (height, width)
    masks, classes = outputs[:2]
    known = thing_classes(things)
    rest = (k for k in range(classes.shape[1] - 1) if k not in known)
    channels = [k + 1 for k in (*known, *rest)]
    return masks, classes[:, [*channels, 0]], (masks.shape[1], masks.shape[2])


POST: dict[str, Callable[..., np.ndarray]] = {
    "panoptic_deeplab": _grouped,
    "max_deeplab": _by_slots,
}

SEMANTIC: dict[str, Callable[..., np.ndarray]] = {
    "panoptic_deeplab": lambda outputs, *, things: _largest(outputs),
    "max_deeplab": _class_of_slots,
}
