"""Samples and batches: images, and what is to be learnt of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.errors import DataError

# Of semantic nets a label, int64 [H, W], void 255; of other tasks arrays by name. What is a list
# there, because images differ in how many they have, stays a list: one entry an image.
Target = np.ndarray | dict[str, Any]
Sample = tuple[np.ndarray, Target]  # image float32 [3, H, W], and its target


class Batch(NamedTuple):
    """Images and their target, which the criterion and the evaluator of a task take.

    image: float32 [N, 3, H, W], normalised. target: of semantic nets int64 [N, H, W], void 255; of
    other tasks arrays [N, ...] by name, and lists of N.
    """

    image: np.ndarray
    target: Target

    @property
    def label(self) -> np.ndarray:
        """The target of a semantic net: int64 [N, H, W].

        Raises DataError where the batch is one of another task.
        """
        if isinstance(self.target, np.ndarray):
            return self.target
        raise DataError(
            f"this batch has no label [N, H, W]: its target is {', '.join(self.target)}; it is for "
            "nets of another task than semantic segmentation"
        )

    @property
    def semantic(self) -> np.ndarray:
        """The class of every pixel: the label, or what a target has under "semantic".

        int64 [N, H, W]. Raises DataError where it has nothing of that name.
        """
        if isinstance(self.target, dict) and "semantic" in self.target:
            found: np.ndarray = self.target["semantic"]
            return found
        return self.label


def arrays_of(target: Target) -> dict[str, np.ndarray]:
    """Return the arrays of a target by name, without its lists; "" is a label's."""
    if isinstance(target, np.ndarray):
        return {"": target}
    return {name: value for name, value in target.items() if isinstance(value, np.ndarray)}


def as_given(target: Target, to_tensor: Callable[[np.ndarray], Any]) -> Any:
    """Return what a criterion gets of a target: a tensor, or tensors by name; lists stay behind."""
    if isinstance(target, np.ndarray):
        return to_tensor(target)
    return {name: to_tensor(array) for name, array in arrays_of(target).items()}


def stack(samples: Sequence[Sample]) -> Batch:
    """Join samples to a batch.

    Raises:
        DataError: sizes of their images, or names or shapes of their targets, differ.
    """
    shapes = sorted({image.shape[1:] for image, _ in samples})
    if len(shapes) > 1:
        raise DataError(
            f"batch: images of different sizes (height, width) {shapes}; use a batch size of 1"
        )
    return Batch(np.stack([image for image, _ in samples]), _joined([one for _, one in samples]))


def _joined(targets: Sequence[Target]) -> Target:
    named = [target for target in targets if isinstance(target, Mapping)]
    if not named:
        return np.stack([np.asarray(target) for target in targets])
    names = {tuple(target) for target in named}
    if len(named) < len(targets) or len(names) > 1:
        told = " and ".join(", ".join(each) for each in sorted(names))
        raise DataError(f"batch: the targets of its images have other names: {told}")
    return {name: _together(name, [target[name] for target in named]) for name in named[0]}


def _together(name: str, values: Sequence[Any]) -> Any:
    """Return values of a target's `name`, one an image, as an array; lists as a list of them."""
    if any(isinstance(value, list | tuple) for value in values):
        return list(values)
    shapes = sorted({np.shape(value) for value in values})
    if len(shapes) > 1:
        raise DataError(
            f"batch: target {name} has different shapes {shapes}: one whose images differ in how "
            "many they have is to be a list"
        )
    return np.stack([np.asarray(value) for value in values])
