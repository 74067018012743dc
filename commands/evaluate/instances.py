"""Average precision of a validation: as plain values, as tables; and its file of results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from commands.evaluate.scores import number
from common.data import SegmentationDataset
from common.documents import write_text
from common.errors import UserError
from common.files import make_folder
from common.metrics.mask_ap import FIGURES
from common.words.language import phrase

FILE = "instances.json"


def table_of(scores: Mapping[str, Any]) -> Table:
    """Return AP by class of masks and boxes, then COCO's twelve figures of both, for people."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(phrase("class"))
    for head in ("mask AP", "box AP"):
        table.add_column(phrase(head), justify="right")
    for name, value in scores["ap_by_class"].items():
        table.add_row(name, number(value), number(scores["box_ap_by_class"][name]))
    for figure in FIGURES:
        own = (number(scores[f"{prefix}{figure.lower()}"]) for prefix in ("", "box_"))
        table.add_row(figure, *own)
    return table


class SavedObjects:
    """Writes what was found as COCO's results: DIR/instances.json, with the set's own categories.

    Raises UserError where there is an earlier one, without `force`.
    """

    def __init__(
        self, folder: Path, dataset: SegmentationDataset, evaluator: Any, force: bool = False
    ) -> None:
        self.path, self.evaluator = folder / FILE, evaluator
        if self.path.exists() and not force:
            raise UserError(
                f"--save {folder}: holds instances.json already; give another folder, or --force "
                "to write it anew"
            )
        self.categories = dataset.source.category_ids  # type: ignore[attr-defined]  # of instances

    def close(self) -> Path:
        """Write the results that the evaluator holds, and return their path."""
        found: Any = self.evaluator
        while not hasattr(found, "results"):
            found = found.evaluator
        rows = [row | {"category_id": self.categories[row["category_id"]]} for row in found.results]
        make_folder(self.path.parent)
        write_text(self.path, json.dumps(rows))
        return self.path
