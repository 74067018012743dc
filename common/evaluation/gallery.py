"""The first images of a validation as one picture: photo, label and prediction, a row each."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.data import Batch
from common.data.transforms.images import Normalisation
from common.evaluation.side import Predicts
from common.settings.run import Evaluate

LONGEST, GAP, PAPER = 512, 4, 255  # pixels of a side, and between pictures; their colour


class Gallery:
    """Looks on while a side predicts, and keeps the first `count` images; it changes nothing.

    Args:
        side: that predicts.
        count: images; 0 keeps none.
        normalisation: of the images.
        colors: uint8 [256, 3] RGB, by class.
    """

    def __init__(
        self, side: Predicts, count: int, normalisation: Normalisation, colors: np.ndarray
    ) -> None:
        self.side, self.count, self.normalisation, self.colors = side, count, normalisation, colors
        self._rows: list[np.ndarray] = []
        self._label = np.zeros((0, 0, 0), np.int64)

    def watching(self, batches: Iterator[Batch]) -> tuple[Predicts, Iterator[Batch]]:
        """Return what predicts, and the batches of a validation, as they are: both are seen."""
        self._rows = []
        return (self, self._seen(batches)) if self.count else (self.side, batches)

    def predict(self, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return what the side predicts."""
        found = self.side.predict(image, options)
        if len(self._rows) < self.count:
            triples = zip(self.normalisation.to_rgb(image), self._label, found, strict=False)
            self._rows += [self._row(*triple) for triple in triples]
        return found

    def picture(self) -> np.ndarray | None:
        """Return the rows, one under another: uint8 [H, W, 3] RGB; None where nothing was seen."""
        rows = self._rows[: self.count]
        if not rows:
            return None
        height = sum(len(row) + GAP for row in rows) - GAP
        whole = np.full((height, max(row.shape[1] for row in rows), 3), PAPER, np.uint8)
        top = 0
        for row in rows:
            whole[top : top + len(row), : row.shape[1]] = row
            top += len(row) + GAP
        return whole

    def _seen(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._label = batch.label
            yield batch

    def _row(self, photo: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        step = -(-max(label.shape) // LONGEST)
        parts: list[Any] = [np.rint(255 * photo[::step, ::step]).astype(np.uint8)]
        for classes in (label, prediction):
            parts.append(self.colors[classes[::step, ::step]])
        gap = np.full((len(parts[0]), GAP, 3), PAPER, np.uint8)
        return np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1)
