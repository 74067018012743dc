"""Carvana (cars in front of a wall) as milesial/Pytorch-UNet has it on disk.

    imgs/<name>.jpg
    masks/<name>_mask.gif    0 = background, one other value = car

There is no split: a random part of the images is for validation.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.data.photo_set import drawn
from common.data.photos import require_one_size
from common.data.read_image import read_image
from common.errors import DataError, UnknownLabelsError

IMAGES, MASKS, SUFFIX = "imgs", "masks", "_mask"
KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".gif": "GIF"}
HOW_TO_GET = (
    "Get train_hq.zip and train_masks.zip at "
    "https://www.kaggle.com/c/carvana-image-masking-challenge/data (free, login needed) and unpack "
    f"them into {IMAGES}/ and {MASKS}/ of that folder"
)


class CarvanaFrame(NamedTuple):
    """An image and its mask."""

    name: str
    image: Path
    label: Path


class Carvana:
    """The images of "train" or "val", sorted by name.

    Args:
        root: the folder that holds imgs/ and masks/.
        split: "train" or "val".
        val_share: of the images, cut to a whole number, are for validation; 0.1 is the authors'.
        split_seed: of the draw. It is not torch's, with which the authors draw theirs.

    Raises:
        ConfigError: unknown split, or one without images.
        DataError: no data, an image without mask, a mask without image.
    """

    class_names: tuple[str, ...] = ("background", "car")
    num_classes = 2
    ignore_index = 255
    colors = np.zeros((256, 3), np.uint8)
    colors[1] = (0, 0, 142)

    def __init__(
        self, root: str | Path, split: str, val_share: float = 0.1, split_seed: int = 0
    ) -> None:
        self.root = Path(root)
        frames = self._open()
        chosen = drawn(len(frames), val_share, split_seed, split)
        self.frames = tuple(frames[index] for index in chosen)

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Image (mode RGB) and label (mode L: 0 and 1) of the same size.

        Raises:
            DataError: unreadable, of another mode, of differing sizes, or with a third value. The
                file is named.
        """
        frame = self.frames[index]
        image = read_image(frame.image, KINDS[frame.image.suffix.lower()], ("RGB",))
        mask = read_image(frame.label, KINDS[frame.label.suffix.lower()], ("1", "L", "P"))
        require_one_size(image, mask, (frame.image, frame.label))
        values = np.asarray(mask).astype(np.uint8)  # of a palette the indices
        kinds = np.unique(values[values > 0])
        if kinds.size > 1:
            raise UnknownLabelsError(
                f"{frame.label}: expected 0 and one other value, got {kinds[:5].tolist()}"
            )
        return image, Image.fromarray((values > 0).astype(np.uint8))

    def _open(self) -> list[CarvanaFrame]:
        folders = [self.root / IMAGES, self.root / MASKS]
        if not all(folder.is_dir() for folder in folders):
            raise DataError(
                f"no Carvana data: looked for {IMAGES} and {MASKS} in {self.root.absolute()}. "
                f"{HOW_TO_GET}"
            )
        images, masks = (_by_name(folder) for folder in folders)
        masks = {name.removesuffix(SUFFIX): path for name, path in masks.items()}
        for what, lonely in (
            ("image without mask", sorted(images.keys() - masks.keys())),
            ("mask without image", sorted(masks.keys() - images.keys())),
        ):
            if lonely:
                raise DataError(
                    f"{self.root}: {what}: {', '.join(lonely[:3])} ({len(lonely)} in all); the "
                    f"mask of {IMAGES}/x.jpg is {MASKS}/x{SUFFIX}.gif"
                )
        if not images:
            raise DataError(f"{folders[0]} holds no image. {HOW_TO_GET}")
        return [CarvanaFrame(name, images[name], masks[name]) for name in sorted(images)]


def _by_name(folder: Path) -> dict[str, Path]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in KINDS]
    return {path.stem: path for path in sorted(files) if not path.name.startswith(".")}
