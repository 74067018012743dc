"""An exported net as an `Inference`: the file decides sizes and output, the rest is done here."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from common.errors import UserError
from common.evaluation.resizing import resize, resized_argmax, softmax
from export.deployment import fitting

if TYPE_CHECKING:
    from export.engine import Engine

Size = tuple[int, int]  # height, width
# (size at which the net sees an image, size of the image, "argmax" or "softmax") -> engine
Opened = Callable[[Size, Size, str], "Engine"]


class EngineNet:
    """Inference of an exported net.

    opened: gives an engine for images of a size; one that returns something else than is asked for
    may be given, if it can be made of that. exact: an engine of one size is never given images that
    are to be seen at another.
    """

    def __init__(self, opened: Opened, exact: bool = False) -> None:
        self.opened, self.exact = opened, exact

    def classes(self, image: np.ndarray, seen_hw: Size, align_corners: bool) -> np.ndarray:
        """Return the class of the largest logit: int64 [N, H, W]."""
        own = (image.shape[2], image.shape[3])
        found = self._run("argmax", image, seen_hw, align_corners)
        if found.ndim == 4:
            return resized_argmax(found, own, align_corners)
        return _nearest(found, own)

    def probabilities(self, image: np.ndarray, seen_hw: Size, align_corners: bool) -> np.ndarray:
        """Return the softmax of the logits: [N, C, H, W].

        A file that returns probabilities of another size has them resized. Raises UserError where
        it returns classes, which cannot be averaged.
        """
        own = (image.shape[2], image.shape[3])
        found = self._run("softmax", image, seen_hw, align_corners)
        if found.ndim == 3:
            raise UserError(
                "this exported net returns classes, which windows, scales and mirror images cannot "
                "average; export it with --output logits or softmax, or leave these out"
            )
        is_softmax = self._last.deployment is not None and self._last.deployment.output == "softmax"
        found = resize(found, own, align_corners)
        return found if is_softmax else softmax(found)

    def _run(
        self, output: str, image: np.ndarray, seen_hw: Size, align_corners: bool
    ) -> np.ndarray:
        own = (image.shape[2], image.shape[3])
        self._last = engine = self.opened(seen_hw, own, output)
        step = engine.deployment.size_step if engine.deployment else (1, 0)
        sizes = zip(engine.input_shape[2:], seen_hw, strict=True)
        fed = [fixed if fixed > 0 else fitting(seen, step) for fixed, seen in sizes]
        if self.exact and fed != [fitting(seen, step) for seen in seen_hw]:
            height, width = fed
            raise UserError(
                f"could not check: this exported net takes images of {width}x{height} alone, and "
                f"is to see one at {seen_hw[1]}x{seen_hw[0]}, which would be another score: give "
                f"--scale or --window {width}x{height}, or export the net with --free-size"
            )
        return engine.run(resize(image, fed, align_corners))


class OfFolder(EngineNet):
    """One exported model, whatever is asked for."""

    def __init__(self, engine: "Engine", exact: bool = False) -> None:
        super().__init__(lambda seen_hw, own_hw, output: engine, exact)
        self.engine = engine

    def __str__(self) -> str:
        """Say what runs."""
        return f"{self.engine.name}, exported, cpu"


def _nearest(classes: np.ndarray, size_hw: Size) -> np.ndarray:
    """Return classes [N, h, w] at `size_hw`: int64."""
    if classes.shape[1:] == size_hw:
        return classes.astype(np.int64)
    small = classes.astype(np.uint8)
    size, how = size_hw[::-1], cv2.INTER_NEAREST_EXACT
    return np.stack([cv2.resize(f, size, interpolation=how) for f in small]).astype(np.int64)
