"""What a run says of images that it left out, and the file that names them."""

import json
from pathlib import Path

from common.data.broken import CanSkip, name_of
from common.documents import json_in
from common.errors import UnreadableError
from common.files import whole_file
from common.training.reporter import Reporter

FILE = "broken_images.json"


class BrokenImages:
    """Those of a training set, told once each, and all of them in a file of the run's folder."""

    def __init__(self, dataset: CanSkip, folder: Path, reporter: Reporter) -> None:
        self.dataset, self.path, self.reporter = dataset, folder / FILE, reporter
        self.told: set[int] = set()

    def look(self) -> None:
        """Tell of those that were met since; UserError where the file cannot be written."""
        new = sorted(self.dataset.broken.keys() - self.told)
        if not new:
            return
        for index in new:
            self.reporter.message(f"left out: {self.dataset.broken[index]}")
        self.told.update(new)
        named = {name_of(self.dataset, index): self.dataset.broken[index] for index in self.told}
        with whole_file(self.path) as draft:
            found = {**read_broken(self.path.parent), **named}
            draft.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def sum_up(self) -> None:
        """Say at the end how many there were, those of an interrupted run among them."""
        if found := read_broken(self.path.parent):
            self.reporter.message(
                f"left out of {len(self.dataset)} training images: {len(found)} that cannot be "
                f"read, each replaced by the next one; {self.path} names them"
            )


def read_broken(folder: Path) -> dict[str, str]:
    """Return {image: reason} of a run's folder. Raises UnreadableError for a damaged file."""
    path = folder / FILE
    try:
        found: dict[str, str] = json_in(path) if path.exists() else {}
    except ValueError as error:
        raise UnreadableError(f"{path}: damaged: {error}; remove it") from None
    return found
