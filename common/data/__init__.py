"""Data sets, transforms, palettes, the toy Cityscapes: NumPy in, NumPy out."""

from typing import Any

from common.data.carvana import Carvana
from common.data.cityscapes import Cityscapes
from common.data.coco import Coco
from common.data.dataset import (
    Batch,
    SegmentationDataset,
    plan_epoch,
    plan_training,
    plan_validation,
    read_batches,
    stack,
)
from common.data.transforms import Normalisation
from common.data.voc import PascalVOC

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
