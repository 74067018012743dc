"""One pass over a validation set by several processes: each predicts its share of the batches."""

from collections.abc import Callable, Iterator

import numpy as np

from common.data import Batch
from common.evaluation.evaluate import predicted
from common.evaluation.evaluator import Additive, Evaluator
from common.evaluation.side import Predicts
from common.processes.group import ProcessGroup
from common.processes.stop import StopRequest
from common.settings.run import Evaluate


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
                own = batch.label, predicted(side.predict, batch.image, options, place)
                if added:
                    evaluator.update(batch, own[1])
        if not added:
            _show_all(evaluator, own, group)
        done = min(done + group.size * options.batch_size, frames)
        progress(done)
        if stop.signal is not None and done < frames:
            return None
    if isinstance(evaluator, Additive):
        evaluator.take(group.gather(evaluator.counted()))
    return evaluator.compute()


def _show_all(
    evaluator: Evaluator, own: tuple[np.ndarray, np.ndarray] | None, group: ProcessGroup
) -> None:
    """Show the evaluator (label, prediction) of all processes by their number."""
    shapes = group.gather(None if own is None else own[0].shape)
    content = b"" if own is None else np.stack(own).astype(np.int32).tobytes()
    for shape, told in zip(shapes, group.gather_bytes(content), strict=True):
        if shape is not None:
            label, prediction = np.frombuffer(told, np.int32).astype(np.int64).reshape(2, *shape)
            images = np.zeros((shape[0], 3, 0, 0), np.float32)  # no evaluator looks at them
            evaluator.update(Batch(images, label), prediction)
