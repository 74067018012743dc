"""Pascal-Context, its 59 most frequent classes, in the layouts that there are.

    JPEGImages/<name>.jpg                        of VOC 2010
    SegmentationClassContext/<name>.png          mmsegmentation's: 0 = other, 1..59
    Context/<name>.png                           PaddleSeg's: the same values
    trainval/<name>.mat                          the original: `LabelMap`, 0..459
    trainval_merged.json                         Pascal in Detail: run lengths, of these numbers
    ImageSets/SegmentationContext/<split>.txt    or ImageSets/Segmentation/<split>_context.txt,
                                                 or, for the original, ImageSets/Main/<split>.txt
                                                 or, for Pascal in Detail, the phase that it says

The first of these labels and lists that is there is taken. All have the same classes in the same
order, that of the original numbers: alphabetical. What is none of them does not count.

Source: R. Mottaghi et al., The Role of Context for Object Detection and Semantic Segmentation in
the Wild, CVPR 2014; https://www.cs.stanford.edu/~roozbeh/pascal-context. Which 59 of the 459
numbers: H. Zhang's detail-api, as PyTorch-Encoding, mmsegmentation and PaddleSeg use it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.data.classes import bit_palette, make_classes
from common.data.labels import Labelling, read_label, read_mat
from common.data.photo_set import PhotoFrame, PhotoSet, some
from common.data.sets.pascal_detail import DetailedImage, label_of, read_details
from common.data.transforms.images import VOID
from common.errors import ConfigError, DataError

IMAGES, PNGS = "JPEGImages", ("SegmentationClassContext", "Context")
MERGED = "trainval_merged.json"
MATS = ("trainval", "context_raw/trainval", "context_raw/trainval/trainval")
LISTS = ("SegmentationContext/{}.txt", "Segmentation/{}_context.txt")
ORIGINAL = 459  # classes
# Number in the original, and class; in the order of the classes.
_TABLE = """
2 aeroplane, 9 bag, 18 bed, 19 bedclothes, 22 bench, 23 bicycle, 25 bird, 31 boat, 33 book,
34 bottle, 44 building, 45 bus, 46 cabinet, 59 car, 65 cat, 68 ceiling, 72 chair, 80 cloth,
85 computer, 98 cow, 104 cup, 105 curtain, 113 dog, 115 door, 144 fence, 158 floor, 159 flower,
162 food, 187 grass, 189 ground, 207 horse, 220 keyboard, 232 light, 258 motorbike, 259 mountain,
260 mouse, 284 person, 295 plate, 296 platform, 308 pottedplant, 324 road, 326 rock, 347 sheep,
349 shelves, 354 sidewalk, 355 sign, 360 sky, 366 snow, 368 sofa, 397 table, 415 track,
416 train, 420 tree, 424 truck, 427 tvmonitor, 440 wall, 445 water, 454 window, 458 wood
"""
NUMBERS = {int(row.split()[0]): row.split()[1] for row in _TABLE.split(",")}
CLASS_NAMES = tuple(NUMBERS.values())
CLASSES = make_classes(CLASS_NAMES, None, "Pascal-Context")
HOW_TO_GET = (
    "Get VOC 2010 at http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ and trainval.tar.gz at "
    "https://www.cs.stanford.edu/~roozbeh/pascal-context, unpack that as trainval/ into "
    "VOCdevkit/VOC2010, and give this folder as data.root"
)


def _of_originals() -> Labelling:
    numbers = dict.fromkeys(range(ORIGINAL + 1), VOID)
    numbers |= {number: index for index, number in enumerate(NUMBERS)}
    return Labelling(CLASSES, label_map=numbers)


class PascalContext(PhotoSet):
    """The images of a list, in its order.

    Args:
        root: the folder VOCdevkit/VOC2010.
        split: "train" or "val", or any list that is there.

    Raises:
        ConfigError: there is no such list.
        DataError: no data.
        UnpairedError: an image or a label of the list is not there.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    colors = bit_palette(len(CLASS_NAMES))

    def __init__(self, root: str | Path, split: str) -> None:
        self.details: dict[str, DetailedImage] = {}  # of trainval_merged.json
        self.labels, suffix = self._found(Path(root))
        self.original = suffix == ".mat"
        converted = Labelling(CLASSES, reduce_zero_label=True)
        super().__init__(root, split, converted if suffix == ".png" else _of_originals())
        if suffix == ".json":
            self.details = self._details()
        names = list(self.details) or self._names()
        frames = [
            PhotoFrame(
                name,
                self.root / IMAGES / f"{name}.jpg",
                self.labels if self.details else self.labels / f"{name}{suffix}",
            )
            for name in names
        ]
        absent = {path for f in frames for path in f[1:] if path and not path.is_file()}
        there = [f for f in frames if f.image not in absent and f.label not in absent]
        self._hold(there, {"files that are not there": sorted(map(str, absent))})

    def _found(self, root: Path) -> tuple[Path, str]:
        """Return the folder of the labels, or the file that holds all, and the suffix."""
        for folders, suffix in ((PNGS, ".png"), (MATS, ".mat")):
            for folder in folders:
                if next((root / folder).glob(f"*{suffix}"), None):
                    return root / folder, suffix
        if (root / MERGED).is_file():
            return root / MERGED, ".json"
        raise DataError(
            f"no Pascal-Context data: looked for {', '.join((*PNGS, *MATS))} with labels, and for "
            f"{MERGED}, in {root.absolute()}. {HOW_TO_GET}"
        )

    def _details(self) -> dict[str, DetailedImage]:
        """Return the images of the split in trainval_merged.json, by name."""
        phases = read_details(self.labels)
        if not phases.get(self.split):
            known = ", ".join(phases) or "none"
            raise ConfigError(
                f"split: {self.labels} has no images of the phase {self.split!r}, only of {known}"
            )
        return phases[self.split]

    def _names(self) -> list[str]:
        for path in self._lists():
            if path.is_file():
                return path.read_text(encoding="utf-8").split()
        looked = some([str(path) for path in self._lists()])
        raise ConfigError(f"split: no list of {self.split!r}, looked for {looked}. {HOW_TO_GET}")

    def _lists(self) -> Iterator[Path]:
        shapes = (*LISTS, "Main/{}.txt") if self.original else LISTS
        return (self.root / "ImageSets" / shape.format(self.split) for shape in shapes)

    def _values(self, frame: PhotoFrame, path: Path) -> np.ndarray:
        if self.details:
            return label_of(self.details[frame.name], path)
        return read_mat(path, "LabelMap") if self.original else read_label(path)
