"""InstanceId ids of Cityscapes as ids of segments: what a *_gtFine_instanceIds.png says of them.

A value below 1000 is a label id: stuff, or a crowd of things. Any other is label id * 1000 + k, the
k-th thing of that label. Source: cityscapesScripts, preparation/createPanopticImgs.py, which takes
these values for the ids of segments and leaves out what is not evaluated.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data.labels import read_label
from common.data.sets.cityscapes_labels import LABEL_IDS, TRAINED, describe
from common.data.transforms.images import VOID_ID
from common.errors import UnknownLabelsError
from common.panoptic.segments import Segment, areas_of

PER_LABEL = 1000  # instance ids of a label
_TRAINED = {row.id: row for row in TRAINED}


class InstanceId(NamedTuple):
    """What an instance id says: its label id, its class (train id), whether it is a crowd."""

    label_id: int
    train_id: int
    crowd: bool


def instance_of(value: int) -> InstanceId | None:
    """Return what an instance id says; None of a label that is not trained on nor evaluated."""
    row = _TRAINED.get(_label_id(value))
    return row and InstanceId(row.id, row.train_id, value < PER_LABEL and row.has_instances)


def read_instances(path: Path) -> np.ndarray:
    """Read instance ids as ids of segments: uint32 [H, W], 0 of what is no segment.

    Raises:
        DamagedFileError: unreadable. The file is named.
        UnknownLabelsError: a value whose label is not in the table of Cityscapes.
    """
    values = read_label(path).astype(np.uint32)
    areas = areas_of(values)
    if unknown := {v: n for v, n in areas.items() if _label_id(v) not in LABEL_IDS}:
        error = UnknownLabelsError(
            f"{path}: expected instance ids, which are label ids 0..33 of the Cityscapes table, or "
            f"a label id * {PER_LABEL} + k, {describe(unknown)}"
        )
        error.pixels = unknown
        raise error
    untrained = [value for value in areas if instance_of(value) is None]
    values[np.isin(values, untrained)] = VOID_ID
    return values


def segments_of_instances(ids: np.ndarray) -> list[Segment]:
    """Return the segments of a map of `read_instances`, or of a part of it, by ascending ids."""
    return [
        Segment(id=value, category_id=found.train_id, iscrowd=int(found.crowd), area=pixels)
        for value, pixels in areas_of(ids).items()
        if (found := instance_of(value))
    ]


def _label_id(value: int) -> int:
    return value if value < PER_LABEL else value // PER_LABEL
