"""From what a net returns of one image to its objects: a row a kind of net.

To add one: a function (outputs, **options) -> `FoundObjects`, and a row of `POST`; its options
stand in `common/settings/instances.py`. Outputs are arrays as the net nests them, without the axis
of the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from common.errors import DataError
from common.instances.sizes import Size
from common.instances.solo_post import chosen_cells, resize, to_image


class PhotoObjects(NamedTuple):
    """Objects of an image, best first.

    boxes: float64 [K, 4], x0, y0, x1, y1 in pixels. labels: int64 [K], from 0. scores: [K].
    masks: bool [K, H, W].
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class FoundObjects:
    """What a net found in an image, before it is brought to the size of the photo.

    labels: int64 [K], from 0. scores: [K], best first. masks: [K, h, w], probabilities, at a
    quarter of the padded image, or of its size where there are `boxes`. boxes: [K, 4], in pixels of
    the image as the net saw it; None: those of the masks. mask_thr: what a pixel of an object has.
    """

    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray
    mask_thr: float
    boxes: np.ndarray | None = None

    def at(self, seen_hw: Size, own_hw: Size) -> PhotoObjects:
        """Return the objects at the photo's own size; `seen_hw`: as the net saw it, unpadded."""
        if self.boxes is None:
            masks = to_image(self.masks, seen_hw, own_hw) > self.mask_thr
            return PhotoObjects(boxes_of(masks), self.labels, self.scores, masks)
        height, width = seen_hw
        whole = self.masks[:, :height, :width]
        masks = (whole if seen_hw == own_hw else resize(whole, own_hw)) > self.mask_thr
        scales = [own_hw[1] / width, own_hw[0] / height] * 2
        return PhotoObjects(self.boxes * np.array(scales), self.labels, self.scores, masks)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Return the boxes of bool masks [K, H, W]: float64 [K, 4]; the ends lie behind the pixels.

    An empty mask has the box 0, 0, 0, 0.
    """
    boxes = np.zeros((len(masks), 4))
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _of_cells(outputs: Sequence[Any], *, strides: Sequence[int], **options: Any) -> FoundObjects:
    """Read SOLO's [masks by level, classes by level], or SOLOv2's, with features behind them.

    SOLO's are probabilities, as it returns them in eval mode; SOLOv2's are raw in both.
    """
    if not isinstance(outputs, list | tuple) or len(outputs) not in (2, 3):
        raise DataError(
            "post-processing: expected [masks, classes] or [kernels, classes, features] of the "
            f"net, got {len(outputs)} outputs; is evaluate.post that of this net?"
        )
    first, classes = outputs[:2]
    features = outputs[2] if len(outputs) == 3 else None
    if features is not None:
        classes = [points_nms(_sigmoid(level)) for level in classes]
    scores = [level.reshape(level.shape[0], -1).T for level in classes]

    def masks(cells: np.ndarray) -> np.ndarray:
        """Return the probabilities [K, h, w] of the masks of cells, counted over all levels."""
        if features is None:
            return _at(first, cells)
        kernels = _at([level.reshape(level.shape[0], -1).T for level in first], cells)
        return _sigmoid(np.tensordot(kernels, features, 1))

    kept = chosen_cells(np.concatenate(scores), masks, _strides_of(scores, strides), **options)
    return FoundObjects(kept["labels"], kept["scores"], kept["masks"], options["mask_thr"])


def _strides_of(scores: Sequence[np.ndarray], strides: Sequence[int]) -> np.ndarray:
    """Return the stride of every cell."""
    if len(scores) != len(strides):
        raise DataError(
            f"post-processing: the net has {len(scores)} levels, evaluate.post.strides are of "
            f"{len(strides)}; give as many"
        )
    return np.repeat(list(strides), [len(level) for level in scores])


def _at(levels: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """Return what is at `places`, counted over all levels in their order, of the first axis."""
    ends = np.cumsum([len(level) for level in levels])
    level_of = np.searchsorted(ends, places, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    if not len(places):
        return levels[0][:0]
    return np.stack([levels[i][p - starts[i]] for i, p in zip(level_of, places, strict=True)])


def points_nms(scores: np.ndarray) -> np.ndarray:
    """Return scores [C, S, S] where they are the largest of themselves and their upper left."""
    around = np.pad(scores, ((0, 0), (1, 0), (1, 0)), constant_values=-np.inf)
    size = scores.shape[1]
    largest = np.max([around[:, y : y + size, x : x + size] for y, x in _FOUR], axis=0)
    return np.asarray(scores * (largest == scores))


_FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def _of_boxes(outputs: Mapping[str, np.ndarray], *, mask_thr: float) -> FoundObjects:
    """Read what torchvision's detectors return of an image: boxes, labels from 1, scores, masks."""
    if not isinstance(outputs, Mapping) or not {"boxes", "labels", "scores", "masks"} <= set(
        outputs
    ):
        raise DataError(
            "post-processing: expected boxes, labels, scores and masks of the net; is "
            "evaluate.post that of this net?"
        )
    masks = outputs["masks"][:, 0]
    return FoundObjects(outputs["labels"] - 1, outputs["scores"], masks, mask_thr, outputs["boxes"])


POST: dict[str, Callable[..., FoundObjects]] = {"solo": _of_cells, "objects": _of_boxes}
