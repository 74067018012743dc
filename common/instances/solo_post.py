"""From SOLO's scores and masks to objects: thresholds, matrix NMS, masks of the image's size.

The rules are those of MMDetection 3.3.0, mmdet/models/dense_heads/solo_head.py and
mmdet/models/layers/matrix_nms.py.
"""

from collections.abc import Callable, Sequence

import numpy as np

from common.errors import ConfigError, UserError
from common.shapes import bilinear_matrix

KERNELS = ("gaussian", "linear")
MASK_STRIDE = 4  # pixels of the image in one of the masks


def solo_instances(
    scores: np.ndarray,
    masks: np.ndarray,
    *,
    num_grids: Sequence[int],
    strides: Sequence[int],
    image_shape: tuple[int, int],
    original_shape: tuple[int, int],
    nms_pre: int = 500,
    score_thr: float = 0.1,
    mask_thr: float = 0.5,
    filter_thr: float = 0.05,
    kernel: str = "gaussian",
    sigma: float = 2.0,
    max_per_img: int = 100,
) -> dict[str, np.ndarray]:
    """Return the objects of an image, best first.

    "scores" [K], "labels" int64 [K], "masks" bool [K, *original_shape].

    Args:
        scores: [cells, classes], probabilities of the cells of all levels after points-NMS.
        masks: [cells, h, w], probabilities at a quarter of the padded image.
        num_grids, strides: of each level, in the order of the cells. A mask of no more pixels
            than its level's stride is dropped.
        image_shape, original_shape: (height, width) without padding, and before resizing.
        nms_pre, max_per_img: objects before and after matrix NMS at most; 0: all.
        score_thr, mask_thr, filter_thr: least score, probability of a pixel, score at the end.
        kernel, sigma: how overlap lowers a score, "gaussian" or "linear".

    Raises UserError where arrays misfit, ConfigError for another kernel.
    """
    scores, masks = np.asarray(scores), np.asarray(masks)
    check_cells(scores, masks, num_grids, strides)
    level_strides = np.repeat(list(strides), [grid * grid for grid in num_grids])
    found = chosen_cells(
        scores,
        lambda cells: masks[cells],
        level_strides,
        nms_pre=nms_pre,
        score_thr=score_thr,
        mask_thr=mask_thr,
        filter_thr=filter_thr,
        kernel=kernel,
        sigma=sigma,
        max_per_img=max_per_img,
    )
    whole = to_image(found["masks"], image_shape, original_shape)
    return {**found, "masks": whole > mask_thr}


def chosen_cells(
    scores: np.ndarray,
    masks: Callable[[np.ndarray], np.ndarray],
    strides: np.ndarray,
    *,
    nms_pre: int,
    score_thr: float,
    mask_thr: float,
    filter_thr: float,
    kernel: str,
    sigma: float,
    max_per_img: int,
) -> dict[str, np.ndarray]:
    """Return "scores" [K], "labels" int64 [K] and "masks" [K, h, w] of an image, best first.

    See `solo_instances`. masks: called with cells, returns their probabilities: of the few that
    score. strides: of the level of each cell.
    """
    cells, labels = np.nonzero(scores > score_thr)
    values, probable = scores[cells, labels], masks(cells)
    taken = probable > mask_thr
    areas = taken.sum((1, 2)).astype(scores.dtype)
    large = areas > strides[cells]
    labels, values, areas = labels[large], values[large], areas[large]
    probable, taken = probable[large], taken[large]
    values = values * ((probable * taken).sum((1, 2)) / areas)
    order = np.argsort(-values, kind="stable")[: nms_pre if nms_pre > 0 else None]
    lowered = values[order] * decay(taken[order], labels[order], kernel, sigma)
    kept = lowered >= filter_thr
    order, lowered = order[kept], lowered[kept]
    best = np.argsort(-lowered, kind="stable")[: max_per_img if max_per_img > 0 else None]
    return {
        "scores": lowered[best],
        "labels": labels[order[best]].astype(np.int64),
        "masks": probable[order[best]],
    }


def check_cells(
    scores: np.ndarray, masks: np.ndarray, num_grids: Sequence[int], strides: Sequence[int]
) -> None:
    """Raise UserError unless scores and masks are of the cells of `num_grids`."""
    count = sum(grid * grid for grid in num_grids)
    if scores.ndim != 2 or masks.ndim != 3 or {len(scores), len(masks)} != {count}:
        raise UserError(
            f"scores {list(scores.shape)} and masks {list(masks.shape)}: expected [{count}, "
            f"classes] and [{count}, h, w] of the grids {list(num_grids)}"
        )
    if len(num_grids) != len(strides):
        raise UserError(
            f"num_grids are of {len(num_grids)} levels and strides of {len(strides)}; give as "
            "many of each"
        )


def decay(masks: np.ndarray, labels: np.ndarray, kernel: str, sigma: float) -> np.ndarray:
    """Return what matrix NMS multiplies the scores with: [K].

    masks: bool [K, h, w], best first. Of each mask it is the least, over the better ones of its
    class, of what their overlap makes of it over what overlap makes of the better one itself.
    """
    if kernel not in KERNELS:
        raise ConfigError(f"kernel={kernel!r} is not known; choose one of {KERNELS}")
    if not len(masks):
        return np.zeros(0)
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    shared = flat @ flat.T
    areas = flat.sum(1)
    same = labels[:, None] == labels
    overlap = np.triu(shared / (areas[:, None] + areas - shared) * same, 1)
    worst = overlap.max(0)[:, None]
    if kernel == "gaussian":
        factors = np.exp(-sigma * overlap**2) / np.exp(-sigma * worst**2)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = (1 - overlap) / (1 - worst)
    least: np.ndarray = factors.min(0)
    return least


def to_image(
    masks: np.ndarray, image_shape: tuple[int, int], original_shape: tuple[int, int]
) -> np.ndarray:
    """Return `masks` [K, h, w] of a quarter of the padded image at the size of the original."""
    padded = [MASK_STRIDE * length for length in masks.shape[1:]]
    height, width = image_shape
    whole = resize(masks, padded)[:, :height, :width]
    return resize(whole, original_shape)


def resize(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return `maps` [K, h, w] resized bilinearly to `size`, as torch does without corners."""
    rows = bilinear_matrix(maps.shape[1], size[0]).astype(maps.dtype)
    columns = bilinear_matrix(maps.shape[2], size[1]).astype(maps.dtype)
    resized: np.ndarray = rows @ maps @ columns.T
    return resized
