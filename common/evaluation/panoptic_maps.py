"""From what a panoptic net returns to segments, and from those to pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from common.data.batch import Target
from common.evaluation.protocol import Ask
from common.evaluation.sliding import padded
from common.panoptic.pictures import Segments, outlined, truth_of
from common.panoptic.post import POST, SEMANTIC
from common.settings.run import Evaluate, Settings


class Maps(Protocol):
    """A net in eval mode, asked by arrays."""

    def outputs(self, image: np.ndarray) -> Any:
        """Return what it returns for `image` [N, 3, H, W]: arrays [N, ...], as it nests them."""
        ...


@dataclass(frozen=True)
class AskPanoptic:
    """Asks for segments: what a net returns is grouped image by image.

    post: of `POST`. things: the classes that are things. options: of the post-processing.
    """

    post: str
    things: Sequence[int]
    options: Mapping[str, Any]

    def __call__(self, net: Maps, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return int64 [N, 2, H, W]: class * label_divisor + number, void -1; and the class alone.

        The class is that of a pixel before anything is left out.
        """
        height, width = image.shape[2:]
        whole = padded(image, options.pad_to_multiple, options.pad_beyond)
        outputs = net.outputs(whole)
        found = [self._maps(of_image(outputs, number)) for number in range(len(image))]
        return np.array(found)[..., :height, :width]

    def _maps(self, outputs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return both maps [H, W] of one image."""
        panoptic = POST[self.post](outputs, things=self.things, **self.options)
        return panoptic, SEMANTIC[self.post](outputs, things=self.things)


def of_image(outputs: Any, number: int) -> Any:
    """Return what a net returns of one image of its batch."""
    if isinstance(outputs, Mapping):
        return {name: of_image(value, number) for name, value in outputs.items()}
    if isinstance(outputs, list):
        return [of_image(value, number) for value in outputs]
    return outputs[number]


def ask_panoptic(settings: Settings) -> Ask:
    """Return how the config's net is asked."""
    post = settings.evaluate.post
    return AskPanoptic(post.name, settings.data.things, post.options)


class PaintSegments:
    """Paints truths and predictions of panoptic nets: `Paint`."""

    def __init__(self, settings: Settings, colors: np.ndarray) -> None:
        self.things, self.colors = settings.data.things, colors
        self.divisor = settings.evaluate.post.options["label_divisor"]

    def __call__(
        self, target: Target, prediction: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return pictures of the truth, "ids" and "segments", and of what `AskPanoptic` returns."""
        assert isinstance(target, dict)
        truths = [
            truth_of(ids, rows, self.things, self.divisor)
            for ids, rows in zip(target["ids"], target["segments"], strict=True)
        ]
        found = [Segments(panoptic, self.divisor, self.things) for panoptic in prediction[:, 0]]
        both = ([outlined(one, self.colors) for one in segments] for segments in (truths, found))
        left, right = both
        return left, right
