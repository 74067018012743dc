"""Data sets, transforms, palettes, the toy Cityscapes: NumPy in, NumPy out."""

from common.data.cityscapes import Cityscapes
from common.data.dataset import (
    Batch,
    SegmentationDataset,
    plan_epoch,
    plan_training,
    plan_validation,
    read_batches,
    stack,
)
from common.data.transforms import TRANSFORMS, build_transforms, stdc_augmentation

DATASETS = {"cityscapes": Cityscapes}

__all__ = [
    "DATASETS",
    "TRANSFORMS",
    "Batch",
    "Cityscapes",
    "SegmentationDataset",
    "build_transforms",
    "plan_epoch",
    "plan_training",
    "plan_validation",
    "read_batches",
    "stack",
    "stdc_augmentation",
]
