"""What sets of photos with label files share: pairs of paths, read by one `Labelling`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from PIL import Image

from common.data.labels import Labelling, read_label
from common.data.photos import read_photo, require_one_size
from common.data.transforms.images import VOID
from common.errors import ConfigError, DataError, UnpairedError
from common.randomness import generator

SHOWN = 3


class PhotoFrame(NamedTuple):
    """A photo and its label; None: there is none, as in a list for tests."""

    name: str
    image: Path
    label: Path | None


class PhotoSet:
    """Photos and label files. A subclass finds them and calls `_hold`.

    Attributes:
        class_names, num_classes, colors: of its labelling.
        ignore_index: always 255, whatever value the files have for it.
        frames: in their order.
    """

    ignore_index = VOID
    frames: tuple[PhotoFrame, ...]

    def __init__(self, root: str | Path, split: str, labelling: Labelling) -> None:
        self.root, self.split, self.labelling = Path(root), split, labelling
        self.class_names = labelling.classes.names
        self.num_classes = len(labelling.classes)
        self.colors = labelling.classes.colors

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB) and label (mode L: classes, void 255) of the same size.

        Raises:
            DamagedFileError: unreadable. The file is named.
            SizeMismatchError: of differing sizes. Both are named.
            UnknownLabelsError: a value that is no class. The file, the values and their pixels are.
            DataError: the frame has no label.
        """
        frame, path = self.frames[index], self._label_path(index)
        image = read_photo(frame.image)
        label = self.labelling.read(self._values(frame, path), path)
        require_one_size(image, label, (frame.image, path))
        return image, label

    def read_label(self, index: int) -> Image.Image:
        """Return the label alone; see `read`."""
        path = self._label_path(index)
        return self.labelling.read(self._values(self.frames[index], path), path)

    def _label_path(self, index: int) -> Path:
        frame = self.frames[index]
        if frame.label is None:
            raise DataError(
                f"{frame.image} has no label in the split {self.split}: it is for prediction "
                "alone, not for training or validation"
            )
        return frame.label

    def _values(self, frame: PhotoFrame, path: Path) -> np.ndarray:
        """Return the values of a frame's label, of the file `path`: whole numbers [H, W]."""
        return read_label(path)

    def _hold(self, frames: Iterable[PhotoFrame], problems: Mapping[str, Sequence[str]]) -> None:
        """Keep `frames`; raise where `problems`, names by kind, has any, or nothing is there."""
        self.frames = tuple(frames)
        held = {kind: names for kind, names in problems.items() if names}
        if held:
            self._refuse(held)
        if not self.frames:
            raise DataError(f"{self.root}: the split {self.split} holds no image")

    def _refuse(self, problems: Mapping[str, Sequence[str]]) -> NoReturn:
        told = "; ".join(f"{kind}: {some(names)}" for kind, names in problems.items())
        error = UnpairedError(
            f"{self.root}, split {self.split}: {told}. Add what is missing, or take out its partner"
        )
        error.problems, error.source = dict(problems), self
        raise error


def some(names: Sequence[str]) -> str:
    """Name the first three, and say how many there are."""
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def files_by_name(folder: Path, suffixes: Sequence[str], deep: bool = False) -> dict[str, Path]:
    """Return {name without suffix: file} of `folder`, sorted; `deep`: of those below it, too.

    Hidden files, and those of other suffixes, are not looked at.

    Raises:
        DataError: two files are called alike but for the suffix.
    """
    paths = folder.rglob("*") if deep else folder.iterdir()
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{found[name]} and {path} are one name: which is meant is not told")
        found[name] = path
    return found


def drawn(count: int, share: float, seed: int, split: str) -> list[int]:
    """Return the indices of "train" or "val" among `count`, of which `share` are for validation.

    Raises:
        ConfigError: an unknown split, or one that would be empty.
    """
    if split not in ("train", "val"):
        raise ConfigError(f"split: expected train or val, got {split!r}")
    held = int(count * share)
    if not 0 < held < count:
        raise ConfigError(
            f"data.val_share is {share}: of {count} images {held} would be for validation; both "
            "splits need some"
        )
    order = np.argsort(generator(seed, "split").random(count), kind="stable")
    return sorted((order[:held] if split == "val" else order[held:]).tolist())
