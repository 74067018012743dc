"""One pass over a validation set by several processes: each predicts its share of the batches."""

from collections.abc import Callable, Iterator

import numpy as np

from common.data import Batch
from common.data.batch import Target
from common.evaluation.evaluate import predicted
from common.evaluation.evaluator import Additive, Evaluator
from common.evaluation.side import Predicts
from common.processes.batches import packed, unpacked
from common.processes.group import ProcessGroup
from common.processes.stop import StopRequest
from common.settings.run import Evaluate

_Seen = tuple[Target, np.ndarray]  # target, prediction


def evaluate_together(
    side: Predicts,
    batches: Iterator[Batch],
    evaluator: Evaluator,
    *,
    options: Evaluate,
    frames: int,
    stop: StopRequest,
    progress: Callable[[int], None],
) -> dict | None:
    """The scores over the batches of all processes, the same on each; None where a signal stops.

    batches: of this process, as `validation_batches` shares them out. frames: of the whole set.
    progress: called with how many are done. What an evaluator counts is added; one that cannot be
    added gets every batch on every process, in the order in which one process alone would see them.
    """
    group, done = stop.group, 0
    evaluator.reset()
    count = -(-frames // options.batch_size)
    added = isinstance(evaluator, Additive)
    for first in range(0, count, group.size):
        own = None
        with stop.together():
            if first + group.rank < count:
                batch = next(batches)
                place = (first + group.rank) * options.batch_size
                prediction = predicted(side.predict, batch.image, options, place)
                own = batch.target, prediction
                if added:
                    evaluator.update(batch, prediction)
        if not added:
            _show_all(evaluator, own, group)
        done = min(done + group.size * options.batch_size, frames)
        progress(done)
        if stop.signal is not None and done < frames:
            return None
    if isinstance(evaluator, Additive):
        evaluator.take(group.gather(evaluator.counted()))
    return evaluator.compute()


def _show_all(evaluator: Evaluator, own: _Seen | None, group: ProcessGroup) -> None:
    """Show the evaluator (target, prediction) of all processes by their number."""
    for told in group.gather_bytes(b"" if own is None else packed(own)):
        if told:
            target, prediction = unpacked(told)
            images = np.zeros((len(prediction), 3, 0, 0), np.float32)  # no evaluator looks at them
            evaluator.update(Batch(images, target), prediction)
