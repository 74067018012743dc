"""Data sets and augmentations of the user's own, as pure functions of (seed, epoch, index)."""

import hashlib
import inspect
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from align.rungs.data import as_array
from commands.subjects.named.config import Own
from common.data import SegmentationDataset
from common.data.broken import skip_broken
from common.data.sets.voc import palette
from common.data.transforms.images import VOID, Transform, holds_ids
from common.errors import ConfigError, DataError, SizeMismatchError, UnknownLabelsError
from common.panoptic.ids import MOST
from common.processes.handed import packed
from common.randomness import choice, generator, sample_generator
from common.settings.data import NormalisationOptions, OwnData
from common.settings.run import Settings
from common.training.feed import DataSets

Sample = tuple[np.ndarray, np.ndarray]


@contextmanager
def drawing(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of Python and NumPy from `rng`; afterwards they are as before."""
    before = random.getstate(), np.random.get_state()
    seed = choice(rng, 2**32)
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class OwnAugment:
    """An augmentation of the user's: (image, label), and `rng` where it takes that.

    It gets image uint8 [H, W, 3] RGB and label uint8 [H, W] and returns the two, of one size, the
    image as uint8, or as float32 in 0..255. Where segments are learnt the label is int32 [H, W],
    their ids, 0 where there is none. `random` and `numpy.random` are seeded for it.
    """

    def __init__(self, own: Own) -> None:
        self.own = own

    def __call__(self, image: Any, label: Any, rng: np.random.Generator) -> Sample:
        """Raises UserError of what it raises, DataError of what it returns."""
        more = {"rng": rng} if self._takes_rng else {}
        with drawing(rng):
            made = self.own(np.array(image), np.array(label), **more)
        pixels, classes = pair_of(made, str(self.own))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype not in (np.uint8, np.float32):
            raise DataError(
                f"{self.own}: returned an image {_told(pixels)}; expected uint8 or float32 "
                "[H, W, 3], in 0..255: normalisation comes after it"
            )
        as_asked = ids_of if holds_ids(label) else labels_of
        return pixels, as_asked(classes, pixels.shape[:2], str(self.own))

    @cached_property
    def _takes_rng(self) -> bool:
        try:
            return "rng" in inspect.signature(self.own.found).parameters
        except (TypeError, ValueError):
            return False


class OwnSamples(SegmentationDataset):
    """A data set of the user's: `__len__`, and `__getitem__` that returns (image, label).

    uint8 [H, W, 3] is transformed and normalised as a data set of ours. float32 [3, H, W] is ready
    for the net; of it `crop_hw` cuts a window. `random` and `numpy.random` are seeded for every
    sample, so that it is the same on both sides, in any process, in a run that is resumed.
    """

    def __init__(
        self, own: Own, found: Any, settings: Settings, transforms: Sequence[Transform], crop: bool
    ) -> None:
        data = settings.data
        assert isinstance(data, OwnData)
        super().__init__(
            found, transforms, seed=settings.seed, normalisation=data.normalisation.build()
        )
        self.what = str(own)
        self.void = data.ignore_index
        self.crop_hw = data.crop_hw if crop else None
        self.unused = [
            *(["data.augmentation"] if data.augmentation.name != "none" else []),
            *(["data.scale"] if data.scale != 1 else []),
            *(["data.val_short_side"] if data.val_short_side else []),
            *(["data.normalisation"] if data.normalisation != NormalisationOptions() else []),
        ]

    def sample(self, epoch: int, index: int) -> Sample:
        """Image float32 [3, H, W] and label int64 [H, W].

        Raises UserError of what the user's code raises, DataError of what it returns.
        """
        rng = sample_generator(self.seed, epoch, index)
        image, label = self._item(index, rng)
        if image.dtype == np.uint8:
            return self._transformed(image, label, rng)
        return self._window(image, label, rng)

    def item(self, epoch: int, index: int) -> Sample:
        """Return what the user's data set does: the image as it is, the label uint8 [H, W].

        Raises as `sample` does.
        """
        return self._item(index, sample_generator(self.seed, epoch, index))

    def label(self, index: int) -> np.ndarray:
        """Return a label as it lies, uint8 [H, W]; raises as `sample` does."""
        what = f"{self.what}, item {index}"
        label = self._given(index, sample_generator(self.seed, 0, index))[1]
        return labels_of(label, label.shape, what)

    def read(self, index: int) -> Sample:
        """Return image uint8 [H, W, 3] and label, of a frame that others are laid beside."""
        image, label = self.item(0, index)
        if image.dtype != np.uint8:
            raise DataError(
                f"{self.what}, item {index}: its image is {_told(image)}; expected uint8 "
                "[H, W, 3], RGB"
            )
        return image, label

    def _item(self, index: int, rng: np.random.Generator) -> Sample:
        what = f"{self.what}, item {index}"
        image, label = self._given(index, rng)
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
            return image, self._classes(label, image.shape[:2], what)
        if image.ndim == 3 and image.shape[0] == 3 and image.dtype == np.float32:
            if self.unused:
                raise ConfigError(
                    f"{what}: is float32 [3, H, W], ready for the net, and {self.unused[0]} would "
                    "change it: take that out of the config, or return uint8 [H, W, 3]"
                )
            return image, labels_of(label, image.shape[1:], what)
        raise DataError(
            f"{what}: its image is {_told(image)}; expected uint8 [H, W, 3], RGB, or float32 "
            "[3, H, W], ready for the net"
        )

    def _classes(self, label: np.ndarray, size_hw: Sequence[int], what: str) -> np.ndarray:
        """Return a label as uint8; DataError where it holds what augmentation marks void with."""
        found = labels_of(label, size_hw, what)
        if self.void != VOID and self.transforms and (found == VOID).any():
            raise DataError(
                f"{what}: its label holds {VOID}, and data.ignore_index is {self.void}: "
                f"expected classes and {self.void}"
            )
        return found

    def _given(self, index: int, rng: np.random.Generator) -> Sample:
        from commands.subjects.callables import users_errors

        what = f"{self.what}, item {index}"
        with users_errors(what), drawing(rng):
            item = self.source[index]  # type: ignore[index]  # anything with __getitem__
        return pair_of(item, what)

    def _transformed(self, image: Any, label: Any, rng: np.random.Generator) -> Sample:
        image, label = Image.fromarray(np.ascontiguousarray(image)), Image.fromarray(label)
        image, label = self.transformed(image, label, rng)
        classes = np.array(label, np.int64)
        if self.void != VOID:  # what came in from outside the frame
            classes[classes == VOID] = self.void
        return self.normalisation(image), classes

    def _window(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        """Cut a window of `crop_hw`; a side that is shorter stays whole."""
        sizes = np.minimum(label.shape, self.crop_hw or label.shape).tolist()
        free = (np.array(label.shape) - sizes).tolist()
        top, left = (choice(rng, count + 1) if count else 0 for count in free)
        rows, columns = slice(top, top + sizes[0]), slice(left, left + sizes[1])
        part = np.ascontiguousarray(image[:, rows, columns])
        return part, label[rows, columns].astype(np.int64)


def pair_of(item: Any, what: str) -> Sample:
    """Return (image, label) as arrays; DataError where `item` is no such pair."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        held = f"{len(item)} things" if isinstance(item, tuple | list) else type(item).__name__
        raise DataError(f"{what}: returned {held}; expected (image, label)")
    return as_array(item[0]), as_array(item[1])


def labels_of(label: np.ndarray, size_hw: Sequence[int], what: str) -> np.ndarray:
    """Return a label as uint8 [H, W]; DataError where it is none of an image of that size."""
    _require_whole(label, size_hw, what)
    if label.size and not 0 <= int(label.min()) <= int(label.max()) <= 255:
        error = UnknownLabelsError(
            f"{what}: its label holds {int(label.min())} to {int(label.max())}; classes, and "
            "data.ignore_index, lie in 0..255"
        )
        values, pixels = np.unique(label[(label < 0) | (label > 255)], return_counts=True)
        error.pixels = dict(zip(values.tolist(), pixels.tolist(), strict=True))
        raise error
    return np.ascontiguousarray(label, np.uint8)


def ids_of(label: np.ndarray, size_hw: Sequence[int], what: str) -> np.ndarray:
    """Return ids of segments as int32 [H, W]; DataError where they are none of such an image."""
    _require_whole(label, size_hw, what)
    if label.size and not 0 <= int(label.min()) <= int(label.max()) < MOST:
        raise DataError(
            f"{what}: its label holds {int(label.min())} to {int(label.max())}; ids of segments "
            f"lie in 0..{MOST - 1}"
        )
    return np.ascontiguousarray(label, np.int32)


def _require_whole(label: np.ndarray, size_hw: Sequence[int], what: str) -> None:
    if label.shape != tuple(size_hw) or label.dtype.kind not in "iu":
        fault = SizeMismatchError if label.shape != tuple(size_hw) else DataError
        raise fault(
            f"{what}: its label is {_told(label)}; expected whole numbers {list(size_hw)}, as many "
            "as the image has pixels"
        )


def _told(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


def open_samples(own: Own, settings: Settings, augment: Transform | None) -> DataSets:
    """Return both splits of a data set of the user's.

    Raises UserError where its callable does, or returns no data set; ConfigError where its classes
    are not the net's.
    """
    data, classes = settings.data, settings.model.num_classes
    train, val = (_opened(own, settings, split) for split in (data.train_split, data.val_split))
    names = tuple(getattr(train, "class_names", ())) or tuple(f"class {i}" for i in range(classes))
    if len(names) != classes:
        raise ConfigError(
            f"model.num_classes is {classes}, but {own} has {len(names)} class_names: "
            "set it to that"
        )
    identity = f"{own.spec} {sorted(own.arguments.items())} {len(train)} {len(val)}"
    trained = OwnSamples(own, train, settings, data.transforms(augment), crop=True)
    if data.skip_broken:
        skip_broken(trained, own=True)
    return DataSets(
        trained,
        OwnSamples(own, val, settings, data.validation_transforms(), crop=False),
        names,
        data.ignore_index,  # type: ignore[union-attr]  # own data have it
        palette(),
        hashlib.sha256(identity.encode()).hexdigest(),
    )


def _opened(own: Own, settings: Settings, split: str) -> Any:
    """Return a split, made with seeded generators; UserError where it is no data set."""
    data, what = settings.data, f"{own}, split {split}"
    root = {} if data.root is None else {"root": data.root}
    with drawing(generator(settings.seed, "own data")):
        found = _counted(own(split=split, **root), what, _looked_in(data.root))
    if data.workers:
        try:
            packed(found)
        except Exception as error:
            raise DataError(
                f"{what}: cannot be handed to processes that read ahead ({error}); set "
                "data.workers: 0, or keep in it only what Python can pickle"
            ) from None
    return found


def _looked_in(root: str | None) -> str:
    """Say where a data set of the user's looks, as far as is known, for a message."""
    if root is None:
        return f"the current folder is {Path.cwd()}; data.root is handed over as root="
    there = "" if Path(root).exists() else ", which is not there, nor beside the config"
    return f"data.root is {Path(root).absolute()}{there}"


def _counted(found: Any, what: str, looked_in: str) -> Any:
    missing = [name for name in ("__len__", "__getitem__") if not hasattr(found, name)]
    if missing:
        raise DataError(
            f"{what}: returned a {type(found).__name__} without {missing[0]}; expected a data set "
            "with __len__ and __getitem__"
        )
    if len(found) == 0:
        raise DataError(f"{what}: has no sample; {looked_in}")
    return found
