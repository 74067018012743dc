"""Data sets, transforms, palettes, the toy Cityscapes: NumPy in, NumPy out."""

from common.data.batch import Batch, stack
from common.data.dataset import (
    DataSource,
    SegmentationDataset,
    plan_epoch,
    plan_training,
    plan_validation,
    read_batches,
)
from common.data.sets.carvana import Carvana
from common.data.sets.cityscapes import Cityscapes
from common.data.sets.coco import Coco
from common.data.sets.voc import PascalVOC
from common.data.transforms.images import Normalisation

__all__ = [
    "Batch",
    "Carvana",
    "Cityscapes",
    "Coco",
    "DataSource",
    "Normalisation",
    "PascalVOC",
    "SegmentationDataset",
    "plan_epoch",
    "plan_training",
    "plan_validation",
    "read_batches",
    "stack",
]
