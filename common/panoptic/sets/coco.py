"""COCO panoptic 2017 as it lies on disk.

    train2017/<12 digits>.jpg                    118287 images
    val2017/<12 digits>.jpg                      5000
    annotations/panoptic_train2017.json          segments
    annotations/panoptic_train2017/<12 digits>.png   their ids, as colours

How many images there are is what the annotation file lists: a part of the set is a set.
"""

from pathlib import Path

from PIL import Image

from common.data.photos import read_photo
from common.data.transforms.images import VOID
from common.errors import ConfigError, DataError
from common.panoptic.sets.annotations import read_annotations, require_categories
from common.panoptic.sets.base import PanopticFrame, PanopticSet, without_absent
from common.panoptic.sets.coco_categories import (
    CATEGORIES,
    CLASS_NAMES,
    CLASS_OF,
    NUM_THINGS,
    palette,
)
from common.words.typed import as_typed

SPLITS = ("train", "val")
HOW_TO_GET = (
    "Get train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip at "
    "https://cocodataset.org/#download, unpack all three into that folder, and the two zips that "
    "are in annotations/ there, or make a small set: python tools/make_toy_cityscapes.py DIR "
    "--layout coco_panoptic"
)


class CocoPanoptic(PanopticSet):
    """The images of "train" or "val", in the order of their ids.

    Args:
        root: the folder that holds train2017/, val2017/ and annotations/.
        split: "train" or "val".

    Raises:
        ConfigError: unknown split.
        DataError: no data, or annotations of another format.
        UnpairedError: an image or a PNG is not there, or an image has no annotation.
        UnknownLabelsError: a category outside the table.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    ignore_index = VOID
    colors = palette()
    things = tuple(range(NUM_THINGS))
    class_of = CLASS_OF

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in SPLITS:
            raise ConfigError(f"split: expected {' or '.join(SPLITS)}, got {split!r}")
        self.root, self.split = Path(root), split
        folder, listed = self.root / f"{split}2017", self.root / "annotations"
        maps, file = (listed / f"panoptic_{split}2017{end}" for end in ("", ".json"))
        places = (folder, file, maps)
        if missing := [str(place.relative_to(root)) for place in places if not place.exists()]:
            raise DataError(
                f"no COCO panoptic data: no {' and no '.join(missing)} in {self.root.absolute()}. "
                f"{as_typed(HOW_TO_GET)}"
            )
        found = read_annotations(file)
        names = {row.id: row.name for row in CATEGORIES}
        require_categories(found.categories, names, file)
        frames = [
            PanopticFrame(
                Path(row.file_name).stem,
                folder / row.file_name,
                maps / row.png,
                row.image_id,
                file,
                row.size_hw,
                row.segments,
            )
            for row in found.images
        ]
        self._hold(*without_absent(frames, found.without))

    def _photo(self, path: Path) -> Image.Image:
        return read_photo(path)
