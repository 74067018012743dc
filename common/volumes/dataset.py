"""Samples of volumes: patches for training, whole volumes for validation."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.batch import Sample
from common.data.dataset import SegmentationDataset
from common.errors import DataError
from common.randomness import choice, generator, sample_generator
from common.volumes.augment import VolumeAugmentation
from common.volumes.normalise import VolumeNormalisation
from common.volumes.patches import Corner, Shape, box, corners, require_patch_fits
from common.volumes.set import VOID, VolumeSet

MOST_DRAWS = 50  # random patches that are looked at for one with enough labels
Numbers = tuple[np.ndarray, np.ndarray]


class VolumePatch(NamedTuple):
    """A patch of a training. name, image: of its volume, for messages and fingerprints."""

    name: str
    image: Path
    volume: int
    corner: Corner | None  # None: drawn for each sample


class PatchSource:
    """The patches of a set: what a plan of an epoch counts and names.

    Args:
        volumes: the set.
        patch: their shape.
        stride: of the grid; None: `count` patches of each volume are drawn anew for each epoch.
        threshold: the share of labelled voxels (above 0) above which a patch is taken.
        slack: probability of taking another one all the same.
        seed: of that.

    Source: wolny/pytorch-3dunet, pytorch3dunet/datasets/utils.py, FilterSliceBuilder.
    Raises DataError where a volume is smaller than a patch, or no patch is left.
    """

    def __init__(
        self,
        volumes: VolumeSet,
        patch: Shape,
        stride: Shape | None,
        *,
        count: int = 16,
        threshold: float = 0.0,
        slack: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.volumes, self.patch, self.threshold, self.slack = volumes, patch, threshold, slack
        self.frames: list[VolumePatch] = []
        for number, frame in enumerate(volumes.frames):
            if stride is None:
                self.frames += [
                    VolumePatch(f"{frame.name} {place}", frame.image, number, None)
                    for place in range(count)
                ]
                continue
            label = volumes.read_label(number)
            require_patch_fits(label.shape[-3:], patch, str(frame.image), "data.patch_shape")
            rng = generator(seed, "patches", number)
            self.frames += [
                VolumePatch(f"{frame.name} {corner}", frame.image, number, corner)
                for corner in corners(label.shape[-3:], patch, stride)
                if self.enough(label, corner, rng)
            ]
        if not self.frames:
            raise DataError(
                f"no patch of {list(patch)} has more than {threshold:g} of its voxels labelled: "
                "lower data.label_threshold"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Any, Any]:
        """Return the whole volume of a patch, and its label; see `VolumeSet.read`."""
        return self.volumes.read(self.frames[index].volume)

    def enough(self, label: np.ndarray, corner: Corner, rng: np.random.Generator) -> bool:
        """Tell whether a patch is taken; draws a number where its labels alone do not say so."""
        if self.threshold == 0 or labelled(label, corner, self.patch) > self.threshold:
            return True
        return rng.random() < self.slack

    def corner(self, frame: VolumePatch, label: np.ndarray, rng: np.random.Generator) -> Corner:
        """Return where a patch begins: of the grid, or drawn; of draws without enough the best."""
        if frame.corner is not None:
            return frame.corner
        require_patch_fits(label.shape[-3:], self.patch, str(frame.image), "data.patch_shape")
        best: tuple[float, Corner] | None = None
        for _ in range(MOST_DRAWS):
            z, y, x = (
                choice(rng, size - side + 1)
                for size, side in zip(label.shape[-3:], self.patch, strict=True)
            )
            if self.enough(label, (z, y, x), rng):
                return z, y, x
            share = labelled(label, (z, y, x), self.patch)
            if best is None or share > best[0]:
                best = (share, (z, y, x))
        assert best is not None
        return best[1]


def labelled(label: np.ndarray, corner: Corner, patch: Shape) -> float:
    """Return the share of a patch's voxels that have a class above 0, or are in a mask."""
    part = label[(..., *box(corner, patch))]
    there = (part > 0) & (part != VOID)
    return float((there.any(0) if there.ndim == 4 else there).mean())


class VolumeSamples(SegmentationDataset):
    """Volumes, normalised; each has its numbers taken once.

    A sample is a volume float32 [C, D, H, W] and its label int64, void 255: what is evaluated.
    Where numbers are those of each patch, voxels are left as they are: who asks for patches
    normalises them.
    """

    normalisation: VolumeNormalisation  # type: ignore[assignment]  # of voxels, not of colours

    def __init__(
        self, volumes: VolumeSet, normalisation: VolumeNormalisation, seed: int = 0
    ) -> None:
        super().__init__(volumes, seed=seed)
        self.volumes, self.normalisation = volumes, normalisation
        self._numbers: dict[int, Numbers] = {}

    def sample(self, epoch: int, index: int) -> Sample:
        """Return a whole volume and its label. Raises DataError as its set does."""
        raw, label = self.volumes.read(index)
        if self.normalisation.over == "patch":
            return np.ascontiguousarray(raw, np.float32), label.astype(np.int64)
        image = self.normalisation.apply(raw, self.numbers(index, raw))
        return image, label.astype(np.int64)

    def numbers(self, index: int, raw: np.ndarray) -> Numbers:
        """Return by which numbers volume `index` is normalised."""
        if index not in self._numbers:
            self._numbers[index] = self.normalisation.numbers(raw)
        return self._numbers[index]


class PatchSamples(VolumeSamples):
    """Patches of volumes, normalised and augmented: what is trained on.

    Args:
        patches: which there are.
        normalisation: of voxels.
        augment: of (raw, label, rng); what it draws, seed, epoch and index decide.
        seed: of the run.
    """

    def __init__(
        self,
        patches: PatchSource,
        normalisation: VolumeNormalisation,
        augment: VolumeAugmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(patches.volumes, normalisation, seed)
        self.source = self.patches = patches
        self.augment = augment

    def sample(self, epoch: int, index: int) -> Sample:
        """Return a patch float32 [C, d, h, w] and its label int64, void 255."""
        frame = self.patches.frames[index]
        raw, label = self.volumes.read(frame.volume)
        rng = sample_generator(self.seed, epoch, index)
        place = box(self.patches.corner(frame, label, rng), self.patches.patch)
        part, target = raw[(..., *place)], label[(..., *place)]
        if self.normalisation.over == "patch":
            part = self.normalisation(part)
        else:
            part = self.normalisation.apply(part, self.numbers(frame.volume, raw))
        if self.augment:
            part, target = self.augment(part, target, rng)
        return part, target.astype(np.int64)
