"""ADE20K, the 150 classes of its scene parsing challenge, as it lies on disk.

    ADEChallengeData2016/images/training/ADE_train_00000001.jpg           20210 images
    ADEChallengeData2016/annotations/training/ADE_train_00000001.png      0 = other, 1..150
    ADEChallengeData2016/images/validation/, annotations/validation/      2000

What is 0 in the files, "other", does not count; 1..150 are the classes 0..149.
"""

from pathlib import Path

from common.data.labels import Labelling
from common.data.photo_set import PhotoFrame, PhotoSet, files_by_name
from common.data.sets.ade20k_classes import CLASSES
from common.errors import ConfigError, DataError

IMAGES, LABELS = "images", "annotations"
SPLITS = {"train": "training", "val": "validation"}
HOW_TO_GET = (
    "Get http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip and give the "
    "folder ADEChallengeData2016 as data.root"
)


class Ade20k(PhotoSet):
    """The images of "train" or "val", sorted by name.

    Args:
        root: the folder ADEChallengeData2016.
        split: "train" or "val".

    Raises:
        ConfigError: unknown split.
        DataError: no data.
        UnpairedError: an image without label, a label without image.
    """

    class_names: tuple[str, ...] = CLASSES.names
    num_classes = len(CLASSES)
    colors = CLASSES.colors

    def __init__(self, root: str | Path, split: str) -> None:
        super().__init__(root, split, Labelling(CLASSES, reduce_zero_label=True))
        if split not in SPLITS:
            raise ConfigError(f"split: expected {' or '.join(SPLITS)}, got {split!r}")
        folders = [self.root / part / SPLITS[split] for part in (IMAGES, LABELS)]
        if absent := [str(folder.absolute()) for folder in folders if not folder.is_dir()]:
            raise DataError(f"no ADE20K data: no folder {' and no '.join(absent)}. {HOW_TO_GET}")
        images = files_by_name(folders[0], (".jpg",))
        labels = files_by_name(folders[1], (".png",))
        self._hold(
            [PhotoFrame(name, images[name], labels[name]) for name in images if name in labels],
            {
                "images without label": [str(p) for n, p in images.items() if n not in labels],
                "labels without image": [str(p) for n, p in labels.items() if n not in images],
            },
        )
