"""A folder of photos and a folder of labels of the same names.

    <root>/images/0001.jpg     labels/0001.png

Which photos are for what is told in one of three ways: two lists of names, sub-folders of both
(`images/train/`, `labels/train/`), or a share that is drawn.
"""

from collections.abc import Sequence
from pathlib import Path

from common.data.labels import SUFFIXES, Labelling
from common.data.photo_set import PhotoFrame, PhotoSet, drawn, files_by_name
from common.data.photos import PHOTO_SUFFIXES
from common.errors import ConfigError, DataError


class FolderPair(PhotoSet):
    """The photos of a split, sorted by name or in the order of its list.

    Args:
        root: the folder that holds both.
        split: "train" or "val"; with sub-folders the name of any.
        labelling: what the values of the labels mean.
        image_folder, label_folder: relative to the root.
        label_suffix: what a label's name has behind that of its photo, "_mask" say.
        train_list, val_list: files with a name a line, relative to the root.
        val_share: of the photos, cut to a whole number, are for validation.
        split_seed: of that draw.

    Raises:
        ConfigError: the split is told in two ways, or in none.
        DataError: no data, a list that cannot be read, two files of one name.
        UnpairedError: a photo without label, a label without photo.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        labelling: Labelling,
        image_folder: str = "images",
        label_folder: str = "labels",
        label_suffix: str = "",
        train_list: str | None = None,
        val_list: str | None = None,
        val_share: float | None = None,
        split_seed: int = 0,
    ) -> None:
        super().__init__(root, split, labelling)
        self.folders = self.root / image_folder, self.root / label_folder
        self._require_folders(*self.folders)
        lists = {"train": train_list, "val": val_list}
        listed = any(lists.values())
        if listed and val_share is not None:
            raise ConfigError("data.val_share and data.train_list are both set: give one of them")
        if not listed and val_share is None:
            self.folders = self._subfolders()
        images = files_by_name(self.folders[0], PHOTO_SUFFIXES, deep=True)
        labels = self._labels(label_suffix)
        paired = [PhotoFrame(n, images[n], labels[n]) for n in images if n in labels]
        problems = {
            "photos without label": [str(images[name]) for name in images if name not in labels],
            "labels without photo": [str(labels[name]) for name in labels if name not in images],
        }
        if val_share is not None:
            paired = [paired[i] for i in drawn(len(paired), val_share, split_seed, split)]
        elif listed:
            paired, absent = self._listed(lists.get(split), paired)
            problems["names of the list that are no photo"] = absent
        self._hold(paired, problems)

    def _require_folders(self, *folders: Path) -> None:
        absent = [str(folder.absolute()) for folder in folders if not folder.is_dir()]
        if absent:
            raise DataError(
                f"no folder {' and no folder '.join(absent)}; data.image_folder and "
                "data.label_folder say what they are called below data.root"
            )

    def _subfolders(self) -> tuple[Path, Path]:
        images, labels = (folder / self.split for folder in self.folders)
        if not images.is_dir() and not labels.is_dir():
            raise ConfigError(
                f"data: nothing says which photos are for {self.split}: make {images} and "
                f"{labels}, or give data.train_list and data.val_list, or data.val_share (0.1, say)"
            )
        self._require_folders(images, labels)
        return images, labels

    def _labels(self, suffix: str) -> dict[str, Path]:
        found = files_by_name(self.folders[1], SUFFIXES, deep=True)
        return {name.removesuffix(suffix): path for name, path in found.items()}

    def _listed(
        self, path: str | None, paired: Sequence[PhotoFrame]
    ) -> tuple[list[PhotoFrame], list[str]]:
        """Return the photos of a list, and its names of which there is no photo."""
        if path is None:
            raise ConfigError(
                f"data.{self.split}_list is not set, and the other list is: give both"
            )
        try:
            text = (self.root / path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"data.{self.split}_list: {self.root / path} cannot be read ({error}); expected "
                "the name of a photo a line"
            ) from None
        names = [line.strip() for line in text.splitlines() if line.strip()]
        named = {key: frame for frame in paired for key in _keys(frame)}
        return [named[n] for n in names if n in named], [n for n in names if n not in named]


def _keys(frame: PhotoFrame) -> tuple[str, str]:
    """Return how a list may call a photo: without its suffix, and with it."""
    return frame.name, f"{frame.name}{frame.image.suffix}"
