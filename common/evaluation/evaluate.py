"""One pass over a validation set, whatever the task."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from common.data import Batch
from common.errors import UserError
from common.evaluation.evaluator import Evaluator
from common.evaluation.side import Predicts
from common.places import told
from common.settings.run import Evaluate


def evaluate(
    side: Predicts,
    batches: Iterable[Batch],
    evaluator: Evaluator,
    *,
    options: Evaluate,
    progress: Callable[[int], bool] | None = None,
) -> dict[str, Any] | None:
    """The scores over all batches; None if `progress` (called with images done) said to stop.

    Raises UserError where the net cannot take an image, which it names with its size.
    """
    evaluator.reset()
    done = 0
    for batch in batches:
        evaluator.update(batch, predicted(side.predict, batch.image, options, done))
        done += len(batch.image)
        if progress and not progress(done):
            return None
    return evaluator.compute()


def predicted(
    predict: Callable[[np.ndarray, Evaluate], np.ndarray],
    image: np.ndarray,
    options: Evaluate,
    first: int,
) -> np.ndarray:
    """Return the classes of images [N, 3, H, W], of which the first is number `first` of the set.

    Raises UserError where the net raises, with the images, their size and what helps.
    """
    try:
        return predict(image, options)
    except UserError:
        raise
    except Exception as error:
        height, width = image.shape[2:]
        raise UserError(
            f"validation image {first}, of size {height} x {width} (height x width): the net "
            f"raises {told(error)}. Validation takes whole images: where the net needs multiples "
            "of 32, say, set evaluate.pad_to_multiple: 32; data.val_short_side or "
            "evaluate.window_hw give other sizes"
        ) from error
