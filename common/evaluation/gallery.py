"""The first images of a validation as one picture: photo, label and prediction, a row each."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from common.data import Batch
from common.data.batch import Target
from common.data.transforms.images import Normalisation
from common.evaluation.side import Predicts
from common.settings.run import Evaluate

Pictures = Sequence[np.ndarray]  # uint8 [H, W, 3] each
# (targets, predictions) of a batch -> pictures of both, one an image
Paint = Callable[[Target, np.ndarray], tuple[Pictures, Pictures]]
LONGEST, GAP, PAPER = 512, 4, 255  # pixels of a side, and between pictures; their colour


class Gallery:
    """Looks on while a side predicts, and keeps the first `count` images; it changes nothing.

    Args:
        side: that predicts.
        count: images; 0 keeps none.
        normalisation: of the images.
        paint: what paints targets and predictions, see `Paint`.
    """

    def __init__(
        self, side: Predicts, count: int, normalisation: Normalisation, paint: Paint
    ) -> None:
        self.side, self.count, self.normalisation, self.paint = side, count, normalisation, paint
        self._rows: list[np.ndarray] = []
        self._target: Target = np.zeros((0, 0, 0), np.int64)

    def watching(self, batches: Iterator[Batch]) -> tuple[Predicts, Iterator[Batch]]:
        """Return what predicts, and the batches of a validation, as they are: both are seen."""
        self._rows = []
        return (self, self._seen(batches)) if self.count else (self.side, batches)

    def predict(self, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return what the side predicts."""
        found = self.side.predict(image, options)
        if len(self._rows) < self.count:
            painted = self.paint(self._target, found)
            triples = zip(self.normalisation.to_rgb(image), *painted, strict=True)
            self._rows += [_row(*triple) for triple in triples]
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
            self._target = batch.target
            yield batch


def _row(photo: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return a photo [H, W, 3], 0..1, beside two pictures uint8 of its size."""
    step = -(-max(photo.shape) // LONGEST)
    parts = [np.rint(255 * photo[::step, ::step]).astype(np.uint8)]
    parts += [picture[::step, ::step] for picture in (truth, prediction)]
    gap = np.full((len(parts[0]), GAP, 3), PAPER, np.uint8)
    return np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1)
