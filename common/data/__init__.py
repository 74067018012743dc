"""Data sets, transforms, palettes, the toy Cityscapes: NumPy in, NumPy out."""

from typing import Any

from common.data.dataset import (
    Batch,
    SegmentationDataset,
    plan_epoch,
    plan_training,
    plan_validation,
    read_batches,
    stack,
)
from common.data.sets.carvana import Carvana
from common.data.sets.cityscapes import Cityscapes
from common.data.sets.coco import Coco
from common.data.sets.voc import PascalVOC
from common.data.transforms.images import Normalisation

DATASETS: dict[str, Any] = {
    "cityscapes": Cityscapes,
    "voc": PascalVOC,
    "coco": Coco,
    "carvana": Carvana,
}

__all__ = [
    "DATASETS",
    "Batch",
    "Carvana",
    "Cityscapes",
    "Coco",
    "Normalisation",
    "PascalVOC",
    "SegmentationDataset",
    "plan_epoch",
    "plan_training",
    "plan_validation",
    "read_batches",
    "stack",
]
