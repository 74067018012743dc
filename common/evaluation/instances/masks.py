"""From what a net returns to objects, and from those to pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from common.data.batch import Target
from common.data.sets.run_lengths import mask_of, masks_for
from common.evaluation.instances.pictures import boxes_in, painted_objects
from common.evaluation.panoptic_maps import Maps, of_image
from common.evaluation.protocol import Ask
from common.evaluation.sliding import padded
from common.instances.post import POST, FoundObjects, PhotoObjects
from common.instances.sets.coco import NAME
from common.instances.sets.dataset import sizes_of
from common.instances.sizes import STRIDE
from common.settings.run import Evaluate, Settings


@dataclass(frozen=True)
class AskInstances:
    """Asks for objects: what a net returns is read image by image.

    post: of `POST`. options: of the post-processing.
    """

    post: str
    options: Mapping[str, Any]

    def __call__(self, net: Maps, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return what was found in each image, N `FoundObjects`; sides become multiples."""
        boxed = self.post == "objects"  # such nets pad images themselves, and return a list
        outputs = net.outputs(image if boxed else padded(image, STRIDE))
        found = np.empty(len(image), object)
        for number in range(len(image)):
            own = outputs[number] if boxed else of_image(outputs, number)
            found[number] = POST[self.post](own, **self.options)
        return found


def ask_instances(settings: Settings) -> Ask:
    """Return how the config's net is asked."""
    post = settings.evaluate.post
    return AskInstances(post.name, post.options)


class PaintObjects:
    """Paints truths and predictions of nets of instances: `Paint`."""

    def __init__(self, settings: Settings, colors: np.ndarray) -> None:
        self.colors = colors

    def __call__(
        self, target: Target, prediction: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return pictures of the truth, "image" and "annotations", and of what was found."""
        assert isinstance(target, dict)
        truths, guesses = [], []
        rows = zip(target["image"], target["annotations"], prediction, strict=True)
        for about, annotations, found in rows:
            size, (seen, _) = tuple(about["padded"]), sizes_of(about)
            truths.append(painted_objects(_truth(about, annotations), size, self.colors))
            guesses.append(painted_objects(_found(found, seen), size, self.colors))
        return truths, guesses


def _found(found: FoundObjects, seen_hw: tuple[int, int]) -> PhotoObjects:
    return found.at(seen_hw, seen_hw)


def _truth(about: Mapping[str, Any], annotations: list[dict[str, Any]]) -> PhotoObjects:
    """Return the objects that are annotated, without crowds, at the size at which they are seen."""
    (height, width), own = sizes_of(about)
    kept = [row for row in annotations if not row["iscrowd"]]
    masks = [mask_of(row["segmentation"], own, masks_for(NAME)) for row in kept]
    small = [cv2.resize(m, (width, height), interpolation=cv2.INTER_NEAREST) for m in masks]
    return PhotoObjects(
        boxes_in([row["bbox"] for row in kept], (width / own[1], height / own[0])),
        np.array([row["category_id"] for row in kept], np.int64),
        np.ones(len(kept)),
        np.array(small, bool).reshape(-1, height, width),
    )
