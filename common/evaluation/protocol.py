"""From an image to its classes: whole or by windows, at one scale or several, mirrored or not.

Whatever runs the net (torch, Paddle, an exported file) answers two questions, an `Inference`; what
is averaged, and where, is decided here.

Several scales and mirror images are averaged as probabilities, after the softmax: hszhao/semseg,
tool/test.py, net_process and scale_process; PaddleSeg, paddleseg/core/infer.py, aug_inference.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from common.evaluation.resizing import argmax_of, resize, resized_argmax
from common.evaluation.sliding import padded, scaled_size, sliding_rows
from common.settings.run import Evaluate


class Inference(Protocol):
    """A net in eval mode, asked by arrays.

    Its image [N, 3, H, W] is resized to `seen_hw` (height, width), its logits back to [H, W], both
    bilinearly with `align_corners`.
    """

    def classes(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> np.ndarray:
        """Return the class of the largest logit: int64 [N, H, W]."""
        ...

    def probabilities(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> np.ndarray:
        """Return the softmax of the logits: [N, C, H, W]."""
        ...


# (what runs a net, image [N, 3, H, W], protocol) -> its prediction, for the evaluator of a task
Ask = Callable[[Any, np.ndarray, Evaluate], np.ndarray]


class ByProtocol:
    """Predicts by asking `net` as a task has it; by default for classes, see `predict`."""

    def __init__(self, net: Any, ask: Ask | None = None) -> None:
        self.net, self.ask = net, ask or predict

    def predict(self, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return the prediction for `image` [N, 3, H, W]."""
        return self.ask(self.net, image, options)


def predict(net: Inference, image: np.ndarray, options: Evaluate) -> np.ndarray:
    """Return the classes of `image` float32 [N, 3, H, W]: int64 [N, H, W], at its own size."""
    height, width = image.shape[2:]
    whole = padded(image, options.pad_to_multiple, options.pad_beyond)
    return _predict(net, whole, options)[:, :height, :width]


def _predict(net: Inference, image: np.ndarray, options: Evaluate) -> np.ndarray:
    size, scales = (image.shape[2], image.shape[3]), options.all_scales
    if options.window_hw and len(scales) == 1:
        return _classes_by_windows(net, image, options)
    if options.window_hw or options.flip or len(scales) > 1:
        return argmax_of(mean_probabilities(net, image, options))
    return net.classes(image, scaled_size(size, scales[0]), options.align_corners)


def mean_probabilities(net: Inference, image: np.ndarray, options: Evaluate) -> np.ndarray:
    """Return [N, C, H, W]: the mean over scales, each over windows, and mirror images."""
    total, corners = np.zeros(0), options.align_corners
    for scale in options.all_scales:
        seen = scaled_size((image.shape[2], image.shape[3]), scale)
        if options.window_hw:
            small = resize(image, seen, corners)
            rows = list(_by_windows(net, small, options))
            found = resize(np.concatenate(rows, 2), image.shape[2:], corners)
        else:
            found = _whole(net, image, seen, options)
        total = np.add(total, found, out=found) if total.size else found
    total /= len(options.all_scales)
    return total


def _classes_by_windows(net: Inference, image: np.ndarray, options: Evaluate) -> np.ndarray:
    """Return the classes at one scale; no probabilities of the whole image at its own size."""
    size, corners = (image.shape[2], image.shape[3]), options.align_corners
    seen = scaled_size(size, options.all_scales[0])
    strips = _by_windows(net, resize(image, seen, corners), options)
    if seen == size:
        return np.concatenate([argmax_of(rows) for rows in strips], 1)
    return resized_argmax(np.concatenate(list(strips), 2), size, corners)


def _by_windows(net: Inference, image: np.ndarray, options: Evaluate) -> Iterator[np.ndarray]:
    """Yield probabilities of `image` in strips of rows."""
    assert options.window_hw is not None
    window = options.window_hw
    return sliding_rows(
        lambda part: _whole(net, part, window, options), image, window, options.stride
    )


def _whole(
    net: Inference, image: np.ndarray, seen_hw: tuple[int, int], options: Evaluate
) -> np.ndarray:
    """Return probabilities of `image`, with `flip` their mean with those of its mirror image."""
    found = net.probabilities(image, seen_hw, options.align_corners)
    if options.flip:
        mirror = np.ascontiguousarray(image[..., ::-1])
        found = found + net.probabilities(mirror, seen_hw, options.align_corners)[..., ::-1]
        found /= 2
    return found
