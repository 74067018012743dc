"""Cityscapes panoptic as it lies on disk.

    leftImg8bit/<split>/<city>/<frame>_leftImg8bit.png
    gtFine/cityscapes_panoptic_<split>.json            segments, categories are label ids
    gtFine/cityscapes_panoptic_<split>/<frame>_gtFine_panoptic.png   their ids, as colours
    gtFine/<split>/<city>/<frame>_gtFine_instanceIds.png   where the two above are not

The two are what createPanopticImgs of cityscapesScripts writes (and `write_cityscapes_panoptic`
here); `..._<split>_trainId`, whose categories are train ids, is taken where it stands alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from common.data.read_image import read_png
from common.data.sets.cityscapes import IMAGE_SUFFIX, IMAGES, LABELS, images_of, open_split
from common.data.sets.cityscapes_labels import CLASS_NAMES, TRAINED, VOID, palette
from common.errors import ConfigError, DataError
from common.panoptic.segments import Segment
from common.panoptic.sets.annotations import read_annotations, require_categories
from common.panoptic.sets.base import PanopticFrame, PanopticSet, without_absent
from common.panoptic.sets.instances import read_instances, segments_of_instances

SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val")}
INSTANCES = {"instanceIds": "_gtFine_instanceIds.png"}
KINDS = ("", "_trainId")  # of annotation files: ends of their names
OF_LABELS = "_gtFine"  # stands in the names of images, too, as createPanopticImgs lists them


def files_of(root: Path, split: str, kind: str = "") -> tuple[Path, Path]:
    """Return the annotation file of train or val, and the folder of its PNGs."""
    name = f"cityscapes_panoptic_{split}{kind}"
    return root / LABELS / f"{name}.json", root / LABELS / name


class CityscapesPanoptic(PanopticSet):
    """A split of Cityscapes with its segments, sorted by city and frame.

    Args:
        root: the folder that holds leftImg8bit/ and gtFine/.
        split: train, val or trainval.

    Raises:
        ConfigError: unknown split.
        DataError: no data, or annotations of another format, or half of them.
        UnpairedError: a file is listed and not there, or an image is not listed.
        UnknownLabelsError: a category outside the table.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    ignore_index = VOID
    colors = palette()
    things = tuple(row.train_id for row in TRAINED if row.has_instances)
    class_of: Mapping[int, int] = {row.id: row.train_id for row in TRAINED}

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in SPLITS:
            raise ConfigError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        self.root, self.split = Path(root), split
        parts = SPLITS[split]
        kinds = [kind for kind in KINDS if all(_there(self.root, part, kind) for part in parts)]
        if not kinds:
            self._hold([frame for part in parts for frame in _made(self.root, part)], {})
            return
        if kinds[0]:
            self.class_of = {row.train_id: row.train_id for row in TRAINED}
        found = [self._listed(part, kinds[0]) for part in parts]
        frames = [frame for listed, _ in found for frame in listed]
        self._hold(*without_absent(frames, [path for _, paths in found for path in paths]))

    def read_ids(self, index: int) -> np.ndarray:
        """Return the ids of a frame, uint32 [H, W], checked; raises as `read_panoptic`."""
        frame = self.frames[index]
        return read_instances(frame.label) if frame.listed is None else super().read_ids(index)

    def segments_in(self, index: int, ids: np.ndarray) -> list[Segment]:
        """Return the segments of a frame that have pixels in `ids`; see `PanopticSet`."""
        made = self.frames[index].listed is None
        return segments_of_instances(ids) if made else super().segments_in(index, ids)

    def _photo(self, path: Path) -> Image.Image:
        return read_png(path, ("RGB",))

    def _listed(self, part: str, kind: str) -> tuple[list[PanopticFrame], list[str]]:
        """Return what the annotation file of train or val lists, and images that it does not."""
        file, maps = files_of(self.root, part, kind)
        found = read_annotations(file)
        require_categories(found.categories, _names(kind), file)
        images = {name: path for (_, name), path in images_of(self.root, part).items()}
        frames, folder = [], self.root / IMAGES / part
        for row in found.images:
            name = row.file_name.removesuffix(IMAGE_SUFFIX).removesuffix(OF_LABELS)
            image = images.pop(name, folder / name.partition("_")[0] / f"{name}{IMAGE_SUFFIX}")
            label, about = maps / row.png, (row.size_hw, row.segments)
            frames.append(PanopticFrame(name, image, label, row.image_id, file, *about))
        return sorted(frames, key=lambda frame: frame.name), sorted(map(str, images.values()))


def _names(kind: str) -> dict[int, str]:
    """Return the names of the categories of an annotation file of that kind."""
    return {row.train_id if kind else row.id: row.name for row in TRAINED}


def _there(root: Path, part: str, kind: str) -> bool:
    """Return whether the annotations of train or val are there; DataError where half of them is."""
    file, folder = files_of(root, part, kind)
    if file.is_file() != folder.is_dir():
        there, missing = (file, folder) if file.is_file() else (folder, file)
        raise DataError(
            f"{there} is there and {missing} is not: they belong together; make both anew, or take "
            "it away, and the segments are read from *_gtFine_instanceIds.png"
        )
    return file.is_file()


def _made(root: Path, part: str) -> Iterable[PanopticFrame]:
    """Return the frames of train or val with their instance ids."""
    return (
        PanopticFrame(frame.name, frame.image, frame.label, frame.name)
        for frame in open_split(root, part, INSTANCES)[1]
    )
