"""Photos and labels that a text file lists, in PaddleSeg's layout.

    <root>/train.txt     a line a photo: `images/0001.jpg labels/0001.png`
    <root>/val.txt

Paths are relative to the root. What stands between the two is `separator`; a path that has spaces
needs another one than a space. A list for tests may leave the labels out.
"""

from pathlib import Path

from common.data.labels import Labelling
from common.data.photo_set import PhotoFrame, PhotoSet
from common.errors import ConfigError, DataError


class ImageList(PhotoSet):
    """The photos of a list, in its order.

    Args:
        root: what the paths in the list are relative to.
        split: "train", "val" or "test".
        labelling: what the values of the labels mean.
        train_path, val_path, test_path: the lists, relative to the root, else to where the command
            runs.
        separator: what stands between image and label.

    Raises:
        ConfigError: another split, or one without a list.
        DataError: the list cannot be read, is empty, or a line holds something else.
        UnpairedError: it names files that are not there, or a line of some has no label.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        labelling: Labelling,
        train_path: str = "train.txt",
        val_path: str = "val.txt",
        test_path: str | None = None,
        separator: str = " ",
    ) -> None:
        super().__init__(root, split, labelling)
        self.separator = separator
        lists = {"train": train_path, "val": val_path, "test": test_path}
        if split not in lists:
            raise ConfigError(
                f"split: expected {', '.join(lists)}, got {split!r}; set data.train_split: train "
                "and data.val_split: val, where a config that it builds on says otherwise"
            )
        self.list = self._found(lists[split])
        lines = self._lines()
        alone = [] if split == "test" else [row for row in lines if len(self._parts(row[1])) == 1]
        if len(alone) == len(lines):
            alone = []  # another separator rather than labels that are missing
        frames = [self._frame(*row) for row in lines if row not in alone]
        files = dict.fromkeys(path for f in frames for path in (f.image, f.label) if path)
        absent = {path for path in files if not _is_file(path)}
        there = [f for f in frames if f.image not in absent and f.label not in absent]
        missing = [str(path) for path in files if path in absent]
        problems = {
            f"{self.list} names files that are not there": missing,
            f"{self.list} has lines without a label": [f"line {n}: {line}" for n, line in alone],
        }
        self._hold(there, problems)

    def _found(self, path: str | None) -> Path:
        """Return where the list is that the config calls `path`."""
        if path is None:
            raise ConfigError(f"data.{self.split}_path is not set: which list is it?")
        places = dict.fromkeys((self.root / path, Path(path)))
        for place in places:
            if _is_file(place):
                return place
        looked = " and ".join(str(place.absolute()) for place in places)
        raise DataError(
            f"data.{self.split}_path: no list {path}, looked for {looked}; a line of it is an "
            f"image and its label, relative to data.root ({self.root})"
        )

    def _lines(self) -> list[tuple[int, str]]:
        try:
            text = self.list.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.list}: cannot be read as UTF-8 text ({error})") from None
        lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
        held = [(number, line) for number, line in lines if line]
        if not held:
            raise DataError(f"{self.list}: is empty; expected an image and its label a line")
        return held

    def _frame(self, number: int, line: str) -> PhotoFrame:
        parts = self._parts(line)
        if not (len(parts) == 2 or (len(parts) == 1 and self.split == "test")):
            shown = line[:200]
            raise DataError(
                f"{self.list}, line {number}: expected an image and its label with "
                f"{self.separator!r} between them, got {len(parts)}: {shown!r}; data.separator "
                "says what stands between them, where that is something else or paths have spaces; "
                "an image without label stands in the list of data.test_path alone"
            )
        if nameless := [part for part in parts if not Path(part).name]:
            raise DataError(f"{self.list}, line {number}: {nameless[0]!r} names no file")
        label = self.root / parts[1] if len(parts) == 2 else None
        return PhotoFrame(Path(parts[0]).with_suffix("").as_posix(), self.root / parts[0], label)

    def _parts(self, line: str) -> list[str]:
        parts = [part.strip() for part in line.split(self.separator)]
        return [part for part in parts if part]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # of a name that none can have
        return False
