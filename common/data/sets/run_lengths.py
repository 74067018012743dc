"""Masks that are stored as run lengths, by pycocotools (extra `coco`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError


def masks_for(dataset: str) -> Any:
    """Return pycocotools' module of masks. Raises UserError where it is not installed.

    dataset: whose annotations need it, in the words of a config.
    """
    try:
        from pycocotools import mask
    except ModuleNotFoundError:
        raise UserError(
            f"data.dataset={dataset} needs pycocotools, which is not installed: "
            "pip install 'torch2paddle-seg[coco]'"
        ) from None
    return mask


def compressed(segmentation: Any, size_hw: tuple[int, int], masks: Any) -> np.ndarray:
    """Return the pixels of a compressed mask: uint8 [H, W], 0 or 1.

    Raises ValueError for what is none, or is one of another size.
    """
    if not isinstance(segmentation, Mapping) or not isinstance(segmentation.get("counts"), str):
        raise ValueError("no compressed run lengths")
    if list(segmentation.get("size", ())) != list(size_hw):
        raise ValueError(
            f"run lengths of size {segmentation.get('size')} in an image of {list(size_hw)}"
        )
    runs = {"size": list(size_hw), "counts": segmentation["counts"].encode()}
    found: np.ndarray = masks.decode(runs)
    return found
