"""Panoptic scores of a validation: as plain values, as a table, as one line; and its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from commands.evaluate.ids import names_of
from commands.evaluate.scores import number
from common.data import SegmentationDataset
from common.errors import UserError
from common.metrics.quality import QUALITIES
from common.panoptic.files import PredictionFiles, category_rows
from common.settings.run import Settings
from common.words.language import phrase

GROUPS = {"": "all classes", "_things": "things", "_stuff": "stuff"}  # ending of a score: its name


def table_of(scores: Mapping[str, Any]) -> Table:
    """Return PQ, SQ, RQ and IoU by class, and the means of all, things and stuff, for people."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(phrase("class"))
    for head in ("PQ", "SQ", "RQ", "IoU"):
        table.add_column(head, justify="right")
    for name, iou in scores["iou"].items():
        own = [scores[f"{score}_by_class"][name] for score in QUALITIES]
        table.add_row(name, *(number(value) for value in (*own, iou)))
    for ending, group in GROUPS.items():
        own = [scores[f"{score}{ending}"] for score in QUALITIES]
        mean = [scores["mean_iou"]] if not ending else []
        table.add_row(phrase(group), *(number(value) for value in (*own, *mean)))
    return table


class SavedSegments:
    """Writes predictions as panopticapi reads them: DIR/panoptic.json and DIR/panoptic/NAME.png.

    Where the config resizes validation images, ids are brought back to the original size. Raises
    UserError where there is an earlier one, without `force`.
    """

    def __init__(
        self, folder: Path, dataset: SegmentationDataset, settings: Settings, force: bool = False
    ) -> None:
        path = folder / "panoptic.json"
        if path.exists() and not force:
            raise UserError(
                f"--save {folder}: holds panoptic.json already; give another folder, or --force to "
                "write it anew"
            )
        self.path, self.dataset = path, dataset
        self.names, self.written = names_of(dataset), 0
        divisor = settings.evaluate.post.options["label_divisor"]
        classes, data = settings.classes(), settings.data
        self.files = PredictionFiles(path, divisor, data.categories)
        self.categories = category_rows(data.categories, classes.names, data.things, classes.colors)

    def add(self, prediction: np.ndarray) -> None:
        """Write the next frames, int64 [N, 2, H, W]: see `AskPanoptic`."""
        for found, _ in prediction:
            if self.dataset.transforms:
                size = self.dataset.source.read(self.written)[0].size
                image = Image.fromarray(found.astype(np.int32))
                found = np.asarray(image.resize(size, Image.Resampling.NEAREST)).astype(np.int64)
            # Its frames are a panoptic set's, which a config of this task always has.
            frame = self.dataset.source.frames[self.written]  # type: ignore[attr-defined]
            name = self.names[self.written].replace("/", "_")
            self.files.add(found, frame.image_id, name)
            self.written += 1

    def close(self) -> Path:
        """Write the list of all, and return its path."""
        self.files.close(self.categories)
        return self.path
