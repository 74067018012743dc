"""The Cityscapes label table, and the maps that follow from it.

Source: cityscapesScripts, cityscapesscripts/helpers/labels.py (names, ids, train ids, instances,
colours); Cordts et al., The Cityscapes Dataset, CVPR 2016.
"""

from typing import NamedTuple

import numpy as np

VOID = 255  # train id of everything that is neither trained on nor evaluated


class Label(NamedTuple):
    """One row of the table; `color` is RGB 0..255."""

    name: str
    id: int
    train_id: int
    has_instances: bool
    color: tuple[int, int, int]


LABELS = (
    Label("unlabeled", 0, VOID, False, (0, 0, 0)),
    Label("ego vehicle", 1, VOID, False, (0, 0, 0)),
    Label("rectification border", 2, VOID, False, (0, 0, 0)),
    Label("out of roi", 3, VOID, False, (0, 0, 0)),
    Label("static", 4, VOID, False, (0, 0, 0)),
    Label("dynamic", 5, VOID, False, (111, 74, 0)),
    Label("ground", 6, VOID, False, (81, 0, 81)),
    Label("road", 7, 0, False, (128, 64, 128)),
    Label("sidewalk", 8, 1, False, (244, 35, 232)),
    Label("parking", 9, VOID, False, (250, 170, 160)),
    Label("rail track", 10, VOID, False, (230, 150, 140)),
    Label("building", 11, 2, False, (70, 70, 70)),
    Label("wall", 12, 3, False, (102, 102, 156)),
    Label("fence", 13, 4, False, (190, 153, 153)),
    Label("guard rail", 14, VOID, False, (180, 165, 180)),
    Label("bridge", 15, VOID, False, (150, 100, 100)),
    Label("tunnel", 16, VOID, False, (150, 120, 90)),
    Label("pole", 17, 5, False, (153, 153, 153)),
    Label("polegroup", 18, VOID, False, (153, 153, 153)),
    Label("traffic light", 19, 6, False, (250, 170, 30)),
    Label("traffic sign", 20, 7, False, (220, 220, 0)),
    Label("vegetation", 21, 8, False, (107, 142, 35)),
    Label("terrain", 22, 9, False, (152, 251, 152)),
    Label("sky", 23, 10, False, (70, 130, 180)),
    Label("person", 24, 11, True, (220, 20, 60)),
    Label("rider", 25, 12, True, (255, 0, 0)),
    Label("car", 26, 13, True, (0, 0, 142)),
    Label("truck", 27, 14, True, (0, 0, 70)),
    Label("bus", 28, 15, True, (0, 60, 100)),
    Label("caravan", 29, VOID, True, (0, 0, 90)),
    Label("trailer", 30, VOID, True, (0, 0, 110)),
    Label("train", 31, 16, True, (0, 80, 100)),
    Label("motorcycle", 32, 17, True, (0, 0, 230)),
    Label("bicycle", 33, 18, True, (119, 11, 32)),
    # A polygon of the JSON files that is drawn into no image.
    Label("license plate", -1, -1, False, (0, 0, 142)),
)

LABEL_OF_NAME = {label.name: label for label in LABELS}
TRAINED = tuple(
    sorted((row for row in LABELS if 0 <= row.train_id < VOID), key=lambda r: r.train_id)
)
CLASS_NAMES = tuple(row.name for row in TRAINED)
NUM_CLASSES = len(CLASS_NAMES)  # 19

LABEL_IDS = tuple(row.id for row in LABELS if row.id >= 0)  # what a *_labelIds.png may hold
TRAIN_IDS = (*range(NUM_CLASSES), VOID)  # what a *_labelTrainIds.png may hold


def palette() -> np.ndarray:
    """Colours by train id: uint8 [256, 3] RGB; whatever is no class is black."""
    colors = np.zeros((256, 3), np.uint8)
    colors[:NUM_CLASSES] = [row.color for row in TRAINED]
    return colors


def train_id_table() -> np.ndarray:
    """Train id by label id: uint8 [256]. Ids outside the table give 255: refuse them first.

    The authors of STDC map in place in ascending order (cityscapes.py, convert_labels), which is
    the same map: a train id is always smaller than its label id.
    """
    table = np.full(256, VOID, np.uint8)
    for row in TRAINED:
        table[row.id] = row.train_id
    return table


def label_id_table() -> np.ndarray:
    """Label id by train id: uint8 [256], what the evaluation server takes; void is unlabeled, 0."""
    table = np.zeros(256, np.uint8)
    for row in TRAINED:
        table[row.train_id] = row.id
    return table


def describe(unknown: dict[int, int]) -> str:
    """Say which foreign ids were found: 'got 40 (17 pixels), 200 (1 pixel)'."""
    items = [f"{i} ({n} pixel{'s' if n > 1 else ''})" for i, n in sorted(unknown.items())]
    more = f" and {len(items) - 5} more ids" if len(items) > 5 else ""
    return "got " + ", ".join(items[:5]) + more
