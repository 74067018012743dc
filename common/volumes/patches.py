"""Where patches lie in a volume, and reading one beyond its border: mirrored."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from common.errors import DataError

Shape = tuple[int, int, int]  # depth, height, width
Corner = tuple[int, int, int]
AXES = ("depth", "height", "width")


def starts(size: int, patch: int, stride: int) -> list[int]:
    """Where patches begin along an axis: every `stride`, and the last one at the border.

    Source: wolny/pytorch-3dunet, pytorch3dunet/datasets/utils.py, SliceBuilder._gen_indices.
    """
    found = list(range(0, size - patch + 1, stride))
    if found[-1] + patch < size:
        found.append(size - patch)
    return found


def corners(shape: Sequence[int], patch: Shape, stride: Shape) -> Iterator[Corner]:
    """Yield where patches of a grid begin, in the order of depth, height, width."""
    yield from product(*(starts(*each) for each in zip(shape, patch, stride, strict=True)))


def require_patch_fits(shape: Sequence[int], patch: Shape, name: str, key: str) -> None:
    """Raise DataError where a volume is smaller than a patch. key: of the config that says it."""
    for axis, size, side in zip(AXES, shape, patch, strict=True):
        if size < side:
            raise DataError(
                f"{name}: its {axis} is {size}, and patches are {list(patch)}: set {key} to at "
                f"most {list(map(min, zip(shape, patch, strict=True)))}"
            )


def box(corner: Corner, patch: Shape) -> tuple[slice, slice, slice]:
    """Return the slices of a patch."""
    z, y, x = (slice(start, start + side) for start, side in zip(corner, patch, strict=True))
    return z, y, x


class Mirrored:
    """A volume [C, D, H, W] that is mirrored at its borders without repeating them.

    As np.pad(mode="reflect") by `halo` on all sides, which is pytorch3dunet/datasets/utils.py,
    mirror_pad; but a patch is read alone, and no padded volume is made. Raises DataError where a
    side is too short to be mirrored.
    """

    def __init__(self, volume: np.ndarray, halo: Shape, name: str = "volume") -> None:
        self.volume, self.halo = volume, halo
        for axis, size, beyond in zip(AXES, volume.shape[1:], halo, strict=True):
            if beyond >= size and beyond:
                raise DataError(
                    f"{name}: its {axis} is {size}, which cannot be mirrored for a halo of "
                    f"{beyond}: set a smaller evaluate.post.halo_shape"
                )
        self.indices = [
            np.pad(np.arange(size), (beyond, beyond), mode="reflect") if beyond else np.arange(size)
            for size, beyond in zip(volume.shape[1:], halo, strict=True)
        ]

    def patch(self, corner: Corner, patch: Shape) -> np.ndarray:
        """Return the patch that begins at `corner` with its halo on all sides: [C, d, h, w]."""
        found = self.volume
        for axis, (start, side) in enumerate(zip(corner, patch, strict=True)):
            wanted = self.indices[axis][start : start + side + 2 * self.halo[axis]]
            first, last = int(wanted.min()), int(wanted.max())
            place = [slice(None)] * found.ndim
            place[axis + 1] = slice(first, last + 1)
            part = found[tuple(place)]
            inside = len(wanted) == last + 1 - first and wanted[0] == first
            found = part if inside else np.take(part, wanted - first, axis=axis + 1)
        return found


def without_halo(array: np.ndarray, halo: Shape) -> np.ndarray:
    """Return an array [..., d, h, w] with the halo cut off on all sides."""
    z, y, x = (slice(beyond, -beyond or None) for beyond in halo)
    return array[..., z, y, x]
