"""One pass over a validation set, whatever the task."""

from collections.abc import Callable, Iterable
from typing import Any

from common.data import Batch
from common.evaluation.evaluator import Evaluator
from common.evaluation.side import Predicts
from common.settings.run import Evaluate


def evaluate(
    side: Predicts,
    batches: Iterable[Batch],
    evaluator: Evaluator,
    *,
    options: Evaluate,
    progress: Callable[[int], bool] | None = None,
) -> dict[str, Any] | None:
    """The scores over all batches; None if `progress` (called with images done) said to stop."""
    evaluator.reset()
    done = 0
    for batch in batches:
        evaluator.update(batch, side.predict(batch.image, options))
        done += len(batch.image)
        if progress and not progress(done):
            return None
    return evaluator.compute()
