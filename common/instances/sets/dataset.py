"""Samples and batches of a set of instances: images of several sizes, padded where they meet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common.data.batch import Batch, Sample
from common.data.dataset import SegmentationDataset
from common.data.transforms.images import Normalisation
from common.errors import DataError
from common.instances.sets.coco import CocoInstances
from common.instances.sets.transforms import Objects, ObjectTransform
from common.instances.sizes import STRIDE, padded
from common.randomness import sample_generator

MakeTarget = Callable[[Sequence[Objects], tuple[int, int]], dict[str, Any]]


class InstanceDataset(SegmentationDataset):
    """A set of instances, its transforms, and what is made of the objects of a batch.

    Args:
        source: where images and objects come from.
        make_target: of the objects of a batch and its (height, width), see `Teacher`; None: the
            target is what an evaluation compares with, "image" and "annotations", lists.
        transforms: of image and objects.
        seed, normalisation: as of `SegmentationDataset`.
        size_hw: height and width that every batch is padded to; None: the largest of its images,
            and on to a `multiple`.
    """

    source: CocoInstances

    def __init__(
        self,
        source: CocoInstances,
        make_target: MakeTarget | None,
        transforms: Sequence[ObjectTransform] = (),
        *,
        seed: int = 0,
        normalisation: Normalisation | None = None,
        size_hw: tuple[int, int] | None = None,
        multiple: int = STRIDE,
    ) -> None:
        super().__init__(source, (), seed=seed, normalisation=normalisation)
        self.object_transforms = tuple(transforms)
        self.make_target, self.size_hw, self.multiple = make_target, size_hw, multiple

    def sample(self, epoch: int, index: int) -> Sample:
        """Image float32 [3, H, W] (normalised) and its objects at that size.

        Without `make_target` the objects are not drawn: "image" and "annotations" stand for them.
        Raises DataError as `CocoInstances.read_objects` does.
        """
        if self.make_target is None:
            image, objects = self.source.read_image(index), no_objects()
        else:
            image, objects = self.source.read_objects(index)
        image, objects = self.changed(image, objects, sample_generator(self.seed, epoch, index))
        target = self.truth(index, image) if self.make_target is None else objects
        return self.normalisation(image), target

    def changed(
        self, image: np.ndarray, objects: Objects, rng: np.random.Generator
    ) -> tuple[np.ndarray, Objects]:
        """Apply the transforms."""
        for transform in self.object_transforms:
            image, objects = transform(image, objects, rng)
        return image, objects

    def truth(self, index: int, image: np.ndarray) -> dict[str, Any]:
        """Return what is compared with, of plain values.

        "image": id, height and width of the file, "seen" as the net gets it, and in a batch
        "padded". "annotations": rows of the file, with the class, from 0, for category_id.
        """
        frame = self.source.frames[index]
        rows = self.source.annotations(index)
        about = {"id": frame.image_id, "height": frame.size_hw[0], "width": frame.size_hw[1]}
        classes = self.source.class_of
        return {
            "image": about | {"seen": list(image.shape[:2])},
            "annotations": [r | {"category_id": classes[r["category_id"]]} for r in rows],
        }

    def batch_of(self, samples: Sequence[Sample]) -> Batch:
        """Pad images with the mean, below and at the right, and join what is learnt of them."""
        images = [image for image, _ in samples]
        targets: list[Any] = [target for _, target in samples]
        size = self.size_hw or padded([x.shape[1:] for x in images], self.multiple)
        joined = np.zeros((len(images), 3, *size), np.float32)
        for place, image in zip(joined, images, strict=True):
            height, width = image.shape[1:]
            if height > size[0] or width > size[1]:
                raise DataError(
                    f"batch: an image of {width} x {height} does not fit {size[1]} x {size[0]}"
                )
            place[:, :height, :width] = image
        if self.make_target is not None:
            return Batch(joined, self.make_target(targets, size))
        shown = [one | {"image": one["image"] | {"padded": list(size)}} for one in targets]
        return Batch(joined, {name: [one[name] for one in shown] for name in shown[0]})


def sizes_of(about: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (height, width) of a validation image as the net saw it, unpadded, and of its own."""
    height, width = about["seen"]
    return (height, width), (about["height"], about["width"])


def no_objects() -> Objects:
    """Return the objects of an image whose own are not asked for."""
    return {
        "boxes": np.zeros((0, 4), np.float32),
        "labels": np.zeros(0, np.int64),
        "masks": np.zeros((0, 1, 1), np.uint8),
        "iscrowd": np.zeros(0, bool),
    }
