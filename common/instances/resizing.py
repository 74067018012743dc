"""The objects of an image that a net resizes: boxes and masks of the new size.

The rules are those of torchvision 0.28.0, models/detection/transform.py:64-84 and 306-319.
"""

import numpy as np


def resize_boxes(boxes: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Return `boxes` [N, 4] of an image of height and width `old` in one of `new`.

    In the dtype of `boxes`; the two ratios are rounded to float32, as torchvision's are.
    """
    height, width = (np.float32(n) / np.float32(o) for n, o in zip(new, old, strict=True))
    return boxes * np.array([width, height, width, height], np.float32).astype(boxes.dtype)


def resize_masks(masks: np.ndarray, new: tuple[int, int]) -> np.ndarray:
    """Return `masks` [N, H, W] in height and width `new`, each pixel the nearest of the old.

    Which one that is is computed in float32: of 96 pixels made of 80, the 6th is the 5th.
    """
    rows, columns = (
        np.minimum(np.floor(np.arange(n, dtype=np.float32) * ratio).astype(np.int64), o - 1)
        for n, o in zip(new, masks.shape[1:], strict=True)
        for ratio in [np.float32(o) / np.float32(n)]
    )
    return masks[:, rows[:, None], columns]
