"""A whole volume from patches that slide over it, slab by slab from the top."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.evaluation.panoptic_maps import Maps
from common.settings.run import Evaluate, Settings
from common.settings.volumes import MASKS, VolumeKeys, VolumePost
from common.volumes.patches import Mirrored, Shape, box, require_patch_fits, starts, without_halo

OVERWRITE = "overwrite"
PATCH_KEY = "evaluate.post.patch_shape"


@dataclass(frozen=True)
class Sliding:
    """How a volume is seen.

    Args:
        patch, stride, halo: depth, height, width of patches, from one to the next, and what is
            seen beside one on each side and cut off again.
        average: where patches overlap probabilities are averaged; else the later one stands.
        masks: a channel is a mask, else channels are classes.
        threshold: of masks.
        each_patch: normalises each patch by its own numbers; None: it is done already.

    The first two and overwriting: wolny/pytorch-3dunet, pytorch3dunet/unet3d/predictor.py,
    StandardPredictor, and datasets/hdf5.py, _create_padded_indexes.
    """

    patch: Shape
    stride: Shape
    halo: Shape = (0, 0, 0)
    average: bool = False
    masks: bool = False
    threshold: float = 0.5
    each_patch: Callable[[np.ndarray], np.ndarray] | None = None
    watch: Callable[[int, int], None] = field(default=lambda done, total: None, compare=False)

    def slabs(
        self, net: Maps, volume: np.ndarray, name: str = "the volume"
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (depth at which it begins, probabilities [K, d, H, W]) of what is done, in order.

        No more than the depth of a patch is in memory. volume: [C, D, H, W], normalised. Raises
        DataError where it is smaller than a patch.
        """
        require_patch_fits(volume.shape[1:], self.patch, name, PATCH_KEY)
        mirrored = Mirrored(volume, self.halo, name)
        depth, *plane = volume.shape[1:]
        rows = starts(depth, self.patch[0], self.stride[0])
        columns = list(self._columns(plane))
        times, held, done = self._times(volume.shape[1:]), np.zeros(0), 0
        for row, following in zip(rows, [*rows[1:], depth], strict=True):
            total = np.zeros(0)
            for column in columns:
                found = self._seen(net, mirrored, (row, *column))
                if not total.size:
                    total = _with(held, (len(found), self.patch[0], *plane))
                place = (slice(None), *box((0, *column), self.patch))
                total[place] = total[place] + found if self.average else found
                self.watch(done := done + 1, len(rows) * len(columns))
            ready, held = total[:, : following - row], total[:, following - row :]
            if self.average:
                counts = times[0][row:following, None, None] * np.multiply.outer(*times[1:])
                ready = (ready / counts).astype(ready.dtype)
            yield row, ready

    def classes(
        self, net: Maps, volume: np.ndarray, name: str = "the volume"
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (depth, what is predicted uint8): classes [d, H, W], or masks [K, d, H, W]."""
        for row, found in self.slabs(net, volume, name):
            yield row, decided(found, self.masks, self.threshold)

    def _columns(self, plane: Sequence[int]) -> Iterator[tuple[int, int]]:
        ys, xs = (
            starts(*each) for each in zip(plane, self.patch[1:], self.stride[1:], strict=True)
        )
        yield from ((y, x) for y in ys for x in xs)

    def _times(self, shape: Sequence[int]) -> list[np.ndarray]:
        """Return how many patches cover each place, axis by axis."""
        found = []
        for size, side, step in zip(shape, self.patch, self.stride, strict=True):
            counts = np.zeros(size)
            for start in starts(size, side, step):
                counts[start : start + side] += 1
            found.append(counts)
        return found

    def _seen(self, net: Maps, mirrored: Mirrored, corner: tuple[int, int, int]) -> np.ndarray:
        """Return probabilities [K, d, h, w] of a patch."""
        part = mirrored.patch(corner, self.patch)
        part = self.each_patch(part) if self.each_patch else np.ascontiguousarray(part)
        logits = without_halo(np.asarray(net.outputs(part[None]))[0], self.halo)
        return probabilities(logits, self.masks)


def _with(held: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return zeros of a shape [K, d, H, W], with what is held in their upper part."""
    total = np.zeros(shape, np.float32)
    if held.size:
        total[:, : held.shape[1]] = held
    return total


def probabilities(logits: np.ndarray, masks: bool) -> np.ndarray:
    """Return sigmoid, or softmax over the channels, of logits [K, d, h, w]: float32."""
    values = logits.astype(np.float32)
    if masks:
        small = np.exp(-np.abs(values))
        sigmoid: np.ndarray = np.where(values >= 0, 1, small) / (1 + small)
        return sigmoid
    raised = np.exp(values - values.max(0))
    softmax: np.ndarray = raised / raised.sum(0)
    return softmax


def decided(found: np.ndarray, masks: bool, threshold: float) -> np.ndarray:
    """Return classes [d, H, W] or masks [K, d, H, W] of probabilities [K, d, H, W]: uint8."""
    return (found > threshold if masks else found.argmax(0)).astype(np.uint8)


@dataclass(frozen=True)
class AskVolume:
    """Asks for the classes of whole volumes. See `Ask`."""

    sliding: Sliding

    def __call__(self, net: Maps, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return uint8 [N, D, H, W] of classes, [N, K, D, H, W] of masks, of [N, C, D, H, W]."""
        axis = 1 if self.sliding.masks else 0
        return np.stack(
            [
                np.concatenate([part for _, part in self.sliding.classes(net, volume)], axis)
                for volume in image
            ]
        )


def sliding_of(settings: Settings) -> Sliding:
    """Return how the config's net sees a volume."""
    data, post = settings.data, settings.evaluate.post
    assert isinstance(data, VolumeKeys)
    assert isinstance(post, VolumePost)
    patch = post.patch_shape or data.patch_shape
    own = data.normalisation.over == "patch"
    return Sliding(
        patch,
        post.stride_shape or patch,
        post.halo_shape,
        average=post.overlap != OVERWRITE,
        masks=data.label_form == MASKS,
        threshold=post.threshold,
        each_patch=data.normalisation.build() if own else None,
    )


def ask_volume(settings: Settings) -> AskVolume:
    """Return how the config's net is asked."""
    return AskVolume(sliding_of(settings))
