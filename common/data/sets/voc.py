"""Pascal VOC 2012 as it lies on disk, with the labels that SBD adds.

    JPEGImages/<name>.jpg
    SegmentationClass/<name>.png       1464 train and 1449 val images of VOC itself
    SegmentationClassAug/<name>.png    10582 train_aug images: those, and SBD's
    ImageSets/Segmentation/<split>.txt

A line of a list is a name, or the two paths of image and label relative to the root, as the lists
of the augmented set have them. A label's palette is only for looking at: its indices are the
classes, and 255 is void.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.data.classes import bit_palette
from common.data.photos import require_one_size
from common.data.read_image import read_image, read_png
from common.errors import ConfigError, DataError, UnknownLabelsError

IMAGES, LABELS, AUGMENTED = "JPEGImages", "SegmentationClass", "SegmentationClassAug"
LISTS = "ImageSets/Segmentation"
VOID = 255
CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
HOW_TO_GET = (
    "Get VOCtrainval_11-May-2012.tar at http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and give "
    f"its folder VOCdevkit/VOC2012 as data.root; the list train_aug.txt (in {LISTS}/) and the "
    f"labels in {AUGMENTED}/ are made of SBD (http://home.bharathh.info/pubs/codes/SBD)"
)


def palette() -> np.ndarray:
    """Return VOC's colours by class: uint8 [256, 3] RGB; void is black here."""
    return bit_palette(len(CLASS_NAMES))


class VocFrame(NamedTuple):
    """An image and its label."""

    name: str
    image: Path
    label: Path


class PascalVOC:
    """A list of Pascal VOC, in its order.

    Args:
        root: the folder VOCdevkit/VOC2012.
        split: a file of ImageSets/Segmentation, without .txt. Names of a split that ends in "aug"
            have their labels in SegmentationClassAug, others in SegmentationClass.

    Raises:
        ConfigError: there is no such list, but others.
        DataError: no data, a name twice, an image or a label that is not there.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    ignore_index = VOID
    colors = palette()

    def __init__(self, root: str | Path, split: str) -> None:
        self.root = Path(root)
        self.split = split
        names = self._lines()
        self.frames = tuple(self._frame(line) for line in names)
        seen = [frame.name for frame in self.frames]
        if twice := sorted({name for name in seen if seen.count(name) > 1})[:3]:
            raise DataError(f"{self._list}: {', '.join(twice)} stand in it twice")
        absent = [p for f in self.frames for p in (f.image, f.label) if not p.is_file()]
        if absent:
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            shown = ", ".join(map(str, absent[:3]))
            raise DataError(f"{self._list} names files that are not there: {shown}{more}")

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB) and label (mode L: 0..20, void 255) of the same size.

        Raises:
            DataError: unreadable, of another mode, of differing sizes, or with another class. The
                file is named.
        """
        frame = self.frames[index]
        image = read_image(frame.image, "JPEG", ("RGB",))
        label = read_png(frame.label, ("L", "P"))
        require_one_size(image, label, (frame.image, frame.label))
        indices = Image.frombytes("L", label.size, label.tobytes())
        unknown = {i: n for i, n in enumerate(indices.histogram()) if n and 20 < i < VOID}
        if unknown:
            error = UnknownLabelsError(
                f"{frame.label}: expected classes 0..20 and 255 (void), got {[*unknown][:5]}"
            )
            error.pixels = unknown
            raise error
        return image, indices

    @property
    def _list(self) -> Path:
        return self.root / LISTS / f"{self.split}.txt"

    def _lines(self) -> list[str]:
        folder = self.root / LISTS
        if not (self.root / IMAGES).is_dir() or not folder.is_dir():
            raise DataError(
                f"no Pascal VOC data: looked for {IMAGES} and {LISTS} in {self.root.absolute()}. "
                f"{HOW_TO_GET}"
            )
        if not self._list.is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "none"
            raise ConfigError(f"split: {self._list} is not there; lists are: {known}. {HOW_TO_GET}")
        lines = self._list.read_text(encoding="utf-8").splitlines()
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise DataError(f"{self._list} is empty")
        return names

    def _frame(self, line: str) -> VocFrame:
        words = line.split()
        if len(words) == 2:
            image, label = (self.root / word.lstrip("/") for word in words)
            return VocFrame(image.stem, image, label)
        if len(words) != 1:
            raise DataError(f"{self._list}: expected a name or two paths in a line, got {line!r}")
        labels = AUGMENTED if self.split.endswith("aug") else LABELS
        return VocFrame(
            line, self.root / IMAGES / f"{line}.jpg", self.root / labels / f"{line}.png"
        )
