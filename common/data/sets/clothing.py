"""Clothing co-parsing (CCP): photos of people, and what they wear, as MATLAB files.

    photos/0001.jpg                         2098 photos
    annotations/pixel-level/0001.mat        1004 labels: the matrix `groundtruth`, 0..58
    annotations/image-level/1005.mat        tags alone; these photos are not used
    label_list.mat                          the names of the classes

Source: W. Yang, P. Luo, L. Lin, Clothing Co-Parsing by Joint Image Segmentation and Labeling, CVPR
2014; https://github.com/bearpaw/clothing-co-parsing. There is no split: a random part is for
validation.
"""

from pathlib import Path

import numpy as np

from common.data.classes import bit_palette, make_classes
from common.data.labels import Labelling, read_mat
from common.data.photo_set import PhotoFrame, PhotoSet, drawn, files_by_name
from common.errors import DamagedFileError, DataError

PHOTOS, LABELS, NAMES = "photos", "annotations/pixel-level", "label_list.mat"
# label_list.mat of the repository; 0, "null", is whatever no one wears.
_NAMES = """
null accessories bag belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs coat
dress earrings flats glasses gloves hair hat heels hoodie intimate jacket jeans jumper leggings
loafers necklace panties pants pumps purse ring romper sandals scarf shirt shoes shorts skin
skirt sneakers socks stockings suit sunglasses sweater sweatshirt swimwear t-shirt tie tights
top vest wallet watch wedges
"""
CLASS_NAMES = tuple(_NAMES.split())
HOW_TO_GET = "Get it at https://github.com/bearpaw/clothing-co-parsing (git clone)"


class ClothingCoParsing(PhotoSet):
    """The photos of "train" or "val" that have a label of every pixel, sorted by name.

    Args:
        root: the folder that holds photos/ and annotations/.
        split: "train" or "val".
        val_share: of them, cut to a whole number, are for validation.
        split_seed: of the draw.

    Raises:
        ConfigError: unknown split, or one without images.
        DataError: no data, or other classes.
        UnpairedError: a label without photo.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    colors = bit_palette(len(CLASS_NAMES))

    def __init__(
        self, root: str | Path, split: str, val_share: float = 0.1, split_seed: int = 0
    ) -> None:
        classes = make_classes(CLASS_NAMES, None, "clothing co-parsing")
        super().__init__(root, split, Labelling(classes))
        folders = [self.root / PHOTOS, self.root / LABELS]
        if not all(folder.is_dir() for folder in folders):
            raise DataError(
                f"no clothing co-parsing data: looked for {PHOTOS} and {LABELS} in "
                f"{self.root.absolute()}. {HOW_TO_GET}"
            )
        self._require_names()
        photos = files_by_name(folders[0], (".jpg", ".jpeg"))
        labels = files_by_name(folders[1], (".mat",))
        paired = [PhotoFrame(name, photos[name], labels[name]) for name in labels if name in photos]
        lonely = [str(path) for name, path in labels.items() if name not in photos]
        chosen = drawn(len(paired), val_share, split_seed, split)
        self._hold([paired[index] for index in chosen], {"labels without photo": lonely})

    def _values(self, frame: PhotoFrame, path: Path) -> np.ndarray:
        return read_mat(path, "groundtruth")

    def _require_names(self) -> None:
        """Raise DataError where the set has a list of names, and it is another."""
        path = self.root / NAMES
        if not path.is_file():
            return
        from scipy.io import loadmat

        try:
            cells = loadmat(path, variable_names=["label_list"])["label_list"].ravel()
            names = tuple(str(np.asarray(cell).ravel()[0]) for cell in cells)
        except Exception as error:  # whatever scipy makes of a damaged file
            raise DamagedFileError(f"{path}: no list of names ({error}); {HOW_TO_GET}") from None
        if names != CLASS_NAMES:
            pairs = enumerate(zip(names, CLASS_NAMES, strict=False))
            at = next((k for k, (got, own) in pairs if got != own), min(len(names), 59))
            raise DataError(
                f"{path}: {len(names)} names, of which number {at} is not that of clothing "
                f"co-parsing ({', '.join(CLASS_NAMES[at : at + 1])}); of classes of your own make "
                "a set of the kind folders or list"
            )
