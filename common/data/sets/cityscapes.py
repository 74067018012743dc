"""Cityscapes as it lies on disk: which frames there are, and their pixels.

    leftImg8bit/<split>/<city>/<frame>_leftImg8bit.png
    gtFine/<split>/<city>/<frame>_gtFine_labelIds.png  or  ..._gtFine_labelTrainIds.png

Names are checked for the whole split when the set is opened, pixels when they are read; nothing
is skipped. Hidden files and files that are no PNG are not looked at.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from common.data.photos import require_one_size
from common.data.read_image import read_png
from common.data.sets.cityscapes_labels import (
    CLASS_NAMES,
    LABEL_IDS,
    TRAIN_IDS,
    VOID,
    describe,
    label_id_table,
    palette,
    train_id_table,
)
from common.errors import ConfigError, DataError, UnknownLabelsError
from common.words.typed import as_typed

IMAGES, LABELS = "leftImg8bit", "gtFine"
IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_SUFFIXES = {
    "labelIds": "_gtFine_labelIds.png",
    "labelTrainIds": "_gtFine_labelTrainIds.png",
}
# trainval: the authors' split for submissions to the test server.
SPLITS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}

HOW_TO_GET = (
    "Get the real set at https://www.cityscapes-dataset.com (free, login needed: unpack "
    "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into that folder), "
    "or make a small one: python tools/make_toy_cityscapes.py DIR"
)


class CityscapesFrame(NamedTuple):
    """An image and its label; `name` is <city>_NNNNNN_NNNNNN."""

    name: str
    image: Path
    label: Path


class Cityscapes:
    """A split of Cityscapes, sorted by city and frame (the authors' order is the file system's).

    Args:
        root: the folder that holds leftImg8bit/ and gtFine/.
        split: train, val, test or trainval.
        labels: "labelIds" (mapped to the 19 train ids), "labelTrainIds" (taken as they are), or
            "auto": labelIds where the split has any, else labelTrainIds.

    Raises:
        ConfigError: unknown split or kind of labels.
        DataError: no data, an image without label, a label without image, a stray PNG.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    ignore_index = VOID
    colors = palette()
    submitted = label_id_table()

    def __init__(self, root: str | Path, split: str, labels: str = "auto") -> None:
        if split not in SPLITS:
            raise ConfigError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        if labels not in ("auto", *LABEL_SUFFIXES):
            raise ConfigError(
                f"labels: expected auto, {' or '.join(LABEL_SUFFIXES)}, got {labels!r}"
            )
        self.root = Path(root)
        self.split = split
        kinds = [labels] if labels != "auto" else list(LABEL_SUFFIXES)
        suffixes = {kind: LABEL_SUFFIXES[kind] for kind in kinds}
        found = [open_split(self.root, part, suffixes) for part in SPLITS[split]]
        self.frames = tuple(frame for _, frames in found for frame in frames)
        self._kinds = tuple(kind for kind, frames in found for _ in frames)

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB) and label (mode L: train ids 0..18, void 255) of the same size.

        Raises:
            DataError: unreadable, of another mode, of differing sizes, or with an id outside the
                table. The file is named.
        """
        frame = self.frames[index]
        image = read_png(frame.image, ("RGB",))
        label = self.read_label(index)
        require_one_size(image, label, (frame.image, frame.label))
        return image, label

    def read_label(self, index: int) -> Image.Image:
        """Return the label alone; see `read`."""
        path = self.frames[index].label
        return _as_train_ids(read_png(path, ("L", "P")), self._kinds[index], path)


def _as_train_ids(label: Image.Image, kind: str, path: Path) -> Image.Image:
    """Check every id and map it; a palette is only for looking at, its indices are the ids."""
    indices = Image.frombytes("L", label.size, label.tobytes())
    allowed = set(LABEL_IDS if kind == "labelIds" else TRAIN_IDS)
    unknown = {i: n for i, n in enumerate(indices.histogram()) if n and i not in allowed}
    if unknown:
        expected = "label ids 0..33" if kind == "labelIds" else "train ids 0..18 and 255"
        hint = "; 255 is a train id: is this a labelTrainIds file?" if set(unknown) == {255} else ""
        error = UnknownLabelsError(
            f"{path}: expected the {expected} of the Cityscapes table, {describe(unknown)}{hint}"
        )
        error.pixels = unknown
        raise error
    return indices.point(train_id_table().tolist()) if kind == "labelIds" else indices


def open_split(
    root: Path, split: str, suffixes: Mapping[str, str]
) -> tuple[str, list[CityscapesFrame]]:
    """Return the frames of train, val or test, and of which kind their labels are.

    suffixes: of the names of labels by their kind; the first kind is taken that is there.
    Raises DataError: no data, an image without label, a label without image, a stray PNG.
    """
    images = images_of(root, split)
    image_folder, label_folder = root / IMAGES / split, root / LABELS / split
    for kind, suffix in suffixes.items():
        found = _by_frame(label_folder, suffix)
        if found:
            return kind, _pair(images, found, image_folder, label_folder, suffix)
    wanted = " or ".join("*" + suffix for suffix in suffixes.values())
    raise no_data(root, split, f"{label_folder} holds no <city>/{wanted}")


def images_of(root: Path, split: str) -> dict[tuple[str, str], Path]:
    """Return {(city, frame): file} of the images of train, val or test; raises as `open_split`."""
    image_folder, label_folder = root / IMAGES / split, root / LABELS / split
    missing = [path for path in (image_folder, label_folder) if not path.is_dir()]
    if missing:
        raise no_data(root, split, f"no folder {' and no folder '.join(map(str, missing))}")
    images = _by_frame(image_folder, IMAGE_SUFFIX)
    if not images:
        raise no_data(root, split, f"{image_folder} holds no <city>/*{IMAGE_SUFFIX}")
    if stray := _stray_pngs(image_folder, images.values()):
        raise DataError(
            f"{image_folder}: expected only <city>/<frame>{IMAGE_SUFFIX}, got {_some(stray)}"
        )
    return images


def _pair(
    images: dict[tuple[str, str], Path],
    labels: dict[tuple[str, str], Path],
    image_folder: Path,
    label_folder: Path,
    suffix: str,
) -> list[CityscapesFrame]:
    if lonely := sorted(images.keys() - labels.keys()):
        wanted = [label_folder / city / (name + suffix) for city, name in lonely]
        raise DataError(
            f"{len(lonely)} of {len(images)} images have no label: missing {_some(wanted)}. "
            "Unpack gtFine again, or remove the images"
        )
    if lonely := sorted(labels.keys() - images.keys()):
        wanted = [image_folder / city / (name + IMAGE_SUFFIX) for city, name in lonely]
        raise DataError(
            f"{len(lonely)} of {len(labels)} labels have no image: missing {_some(wanted)}. "
            "Unpack leftImg8bit again, or remove the labels"
        )
    return [CityscapesFrame(key[1], images[key], labels[key]) for key in sorted(images)]


def _by_frame(folder: Path, suffix: str) -> dict[tuple[str, str], Path]:
    """{(city, frame): file} for every <city>/<frame><suffix>."""
    files = (path for path in folder.glob(f"*/*{suffix}") if not path.name.startswith("."))
    return {(path.parent.name, path.name.removesuffix(suffix)): path for path in files}


def _stray_pngs(folder: Path, known: Iterable[Path]) -> list[Path]:
    files = {path for path in folder.rglob("*.png") if not path.name.startswith(".")}
    return sorted(files - set(known))


def no_data(root: Path, split: str, why: str) -> DataError:
    """Return the error that says what was looked for, why it is not there, where to get it."""
    return DataError(
        f"no Cityscapes data: looked for {IMAGES}/{split} and {LABELS}/{split} in "
        f"{root.absolute()}; {why}. {as_typed(HOW_TO_GET)}"
    )


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more
