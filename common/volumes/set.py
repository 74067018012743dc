"""A split of volumes on disk, with the classes or masks that their labels hold."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.classes import bit_palette
from common.data.survey import EMPTY, Look, problem_of
from common.errors import DataError, SizeMismatchError, UnknownLabelsError
from common.files import sha256_of
from common.volumes.files import KINDS, kind_of, read_label, read_volume, stem_of, suffix_of
from common.words.typed import command

VOID = 255  # in a label that was read: voxels that do not count
MOST_SHOWN = 5  # values of a label that are named


class Frame(NamedTuple):
    """A volume of a split. name: of its file. label: the file that holds its label."""

    name: str
    image: Path
    label: Path


class VolumeSet:
    """The volumes of a split: raw voxels, and labels as bytes, 255 where they do not count.

    Args:
        root: folder of the set.
        split: a folder below it, whose files of volumes are taken, or a pattern ("train/*.h5").
        class_names: of the classes, or of the masks.
        label_form: "classes" [D, H, W], or "masks" [C, D, H, W] of 0 and 1.
        raw_path, label_path: names in a file that holds several arrays.
        label_folder: below root, where labels lie in files of the volumes' names.
        objects: labels number objects: every one above 0 becomes 1.
        ignore_label: of the file, that does not count.
        keep_in_memory: a volume that was read stays there; else the last one alone.

    Attributes:
        channels: of each volume; None: not known yet, then those of the first that is read.

    Raises DataError where there is no volume, or one lacks its label.
    """

    class_names: tuple[str, ...] = ()
    num_classes = 0
    ignore_index = VOID
    colors: np.ndarray = bit_palette(1)

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        class_names: Sequence[str],
        label_form: str = "classes",
        raw_path: str = "raw",
        label_path: str = "label",
        label_folder: str | None = None,
        objects: bool = False,
        ignore_label: int | None = None,
        keep_in_memory: bool = True,
    ) -> None:
        self.class_names, self.num_classes = tuple(class_names), len(class_names)
        self.masks, self.objects, self.ignore_label = label_form == "masks", objects, ignore_label
        self.raw_path, self.label_path = raw_path, label_path
        self.keep_in_memory = keep_in_memory
        self.frames = _frames(Path(root), split, label_folder)
        self.channels: int | None = None
        self._held: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the volumes that were read."""
        return {**self.__dict__, "_held": {}}

    def only(self, index: int) -> "VolumeSet":
        """Return a set of one volume of this one."""
        one = copy.copy(self)
        one.frames, one._held = [self.frames[index]], {}
        return one

    def read(self, index: int) -> tuple[Any, Any]:
        """Return raw voxels [C, D, H, W] in the file's dtype, and the label uint8, void 255.

        The label is [D, H, W] of classes, [C, D, H, W] of masks. Raises DamagedFileError,
        SizeMismatchError, DataError for other channels than `channels`, and UnknownLabelsError
        where it holds what is no class.
        """
        if index not in self._held:
            frame = self.frames[index]
            raw = read_volume(frame.image, self.raw_path).array
            self.channels = self.channels or len(raw)
            if len(raw) != self.channels:
                raise DataError(
                    f"{frame.image} has {len(raw)} channels, expected {self.channels}, as the net "
                    "takes or other volumes have: give all volumes the same"
                )
            found = raw, self._label(frame, raw.shape[1:])
            if not self.keep_in_memory:
                self._held.clear()
            self._held[index] = found
        return self._held[index]

    def read_label(self, index: int) -> np.ndarray:
        """Return the label alone; see `read`."""
        label: np.ndarray = self.read(index)[1]
        return label

    def _label(self, frame: Frame, shape: tuple[int, ...]) -> np.ndarray:
        array = read_label(frame.label, self.label_path)
        if array.shape[-3:] != shape:
            raise SizeMismatchError(
                f"{frame.label}: its label has the shape {list(array.shape)}, and the volume "
                f"{frame.image} {list(shape)} (depth, height, width): they must be equal"
            )
        channels = self.num_classes if self.masks else 1
        array = array if array.ndim == 4 else array[None]
        if len(array) != channels:
            raise DataError(
                f"{frame.label}: its label has {len(array)} channels, expected {channels}: "
                "data.class_names names one for each mask, and classes lie in one"
            )
        label = self._as_classes(array, frame.label)
        return label if self.masks else label[0]

    def _as_classes(self, array: np.ndarray, path: Path) -> np.ndarray:
        """Return labels of a file as bytes."""
        void = (
            np.zeros(array.shape, bool) if self.ignore_label is None else array == self.ignore_label
        )
        negative = array < 0  # of objects, too: they are none, and not background
        found = array > 0 if self.objects else array
        most = 1 if self.masks or self.objects else self.num_classes - 1
        wrong = (negative | (found > most)) & ~void
        if wrong.any():
            values, counts = np.unique(array[wrong], return_counts=True)
            shown = ", ".join(
                f"{v} in {n} voxels" for v, n in list(zip(values, counts, strict=True))[:MOST_SHOWN]
            )
            error = UnknownLabelsError(
                f"{path}: expected 0..{most} in its label, got {shown}; data.class_names names the "
                "classes, data.objects=true takes all above 0 as one, data.ignore_label names the "
                "value that does not count"
            )
            error.pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
            raise error
        label = found.astype(np.uint8)
        label[void] = VOID
        return label

    def look(self, split: str, index: int) -> Look:
        """Read a volume and tell what it holds; whatever is wrong is told, never raised."""
        frame = self.frames[index]
        look = Look(split, index, str(frame.image), str(frame.label))
        try:
            look = look._replace(digest=sha256_of(frame.image))
            raw, label = self.read(index)
            if not self.keep_in_memory:
                self._held.clear()
        except Exception as error:  # of files anything may be wrong
            return problem_of(look, error)
        channels, depth, height, width = raw.shape
        trait = f"{channels} x {depth} x {height} x {width} {raw.dtype}"
        look = look._replace(
            size=(height, width), traits=(trait,), counts=counts_of(label, self.masks)
        )
        if set(look.counts) <= {VOID}:
            said = f"{frame.label}: no voxel of it has a class"
            return look._replace(problem=EMPTY, said=said)
        if raw.dtype.kind == "f" and not np.isfinite(raw).all():
            return problem_of(look, DataError(f"{frame.image}: holds NaN or infinite voxels"))
        return look


def counts_of(label: np.ndarray, masks: bool) -> dict[int, int]:
    """Return voxels by class, of masks those that are in each, and by 255 those that do not count.

    Voxels in none of the masks are counted by 255 once, so that shares are of the volume.
    """
    if not masks:
        counts = np.bincount(label.ravel(), minlength=VOID + 1)
        return {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}
    inside = {number: int((mask == 1).sum()) for number, mask in enumerate(label)}
    outside = int((label != 1).all(0).sum())
    return {value: count for value, count in {**inside, VOID: outside}.items() if count}


def _frames(root: Path, split: str, label_folder: str | None) -> list[Frame]:
    place = root / split
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; data.root names the folder of the volumes. To make a small "
            f"set: {command('make_toy_volumes', 'DIR')}"
        )
    if any(letter in split for letter in "*?["):
        files = sorted(root.glob(split))
    elif place.is_dir():
        files = sorted(path for path in place.iterdir() if suffix_of(path))
    else:
        files = [place] if place.is_file() else []
    files = [path for path in files if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise DataError(
            f"{place}: no volume there; expected a folder with files of {', '.join(KINDS)}, or a "
            "pattern such as train/*.h5"
        )
    return [
        Frame(str(path.relative_to(root)), path, _label_of(root, path, label_folder))
        for path in files
    ]


def _label_of(root: Path, path: Path, label_folder: str | None) -> Path:
    """Return the file of a volume's label."""
    if label_folder is None:
        if not kind_of(path).several:
            raise DataError(
                f"{path}: holds one array, so its label lies elsewhere: data.label_folder names "
                "the folder of labels, which are called as their volumes"
            )
        return path
    folder = root / label_folder
    named = [folder / f"{stem_of(path)}{suffix}" for suffix in (suffix_of(path), *KINDS)]
    found = next((file for file in named if file.is_file()), None)
    if found is None:
        raise DataError(f"{path}: has no label: there is no {named[0]}")
    return found
