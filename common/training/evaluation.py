"""Validation by STDC's protocol: one scale, whole frames, exact integer counts.

Source: MichaelFan01/STDC-Seg, evaluation.py, MscEvalV0.
"""

from collections.abc import Callable, Iterable

from common.data import Batch
from common.metrics import ConfusionMatrix
from common.training.side import Side


def scaled_size(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width at which the net sees a frame: cut to whole pixels, at least one."""
    height, width = size_hw
    return max(int(height * scale), 1), max(int(width * scale), 1)


def evaluate(
    side: Side,
    batches: Iterable[Batch],
    *,
    num_classes: int,
    scale: float,
    ignore_index: int = 255,
    progress: Callable[[int], bool] | None = None,
) -> ConfusionMatrix | None:
    """Counts over all batches; None if `progress` (called with images done) said to stop."""
    counts, done = ConfusionMatrix(num_classes, ignore_index), 0
    for batch in batches:
        counts.update(side.predict(batch.image, scale), batch.label)
        done += len(batch.label)
        if progress and not progress(done):
            return None
    return counts
