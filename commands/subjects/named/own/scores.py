"""Metrics of the user's own: for the metric rung, and for validations of a training."""

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from align.rungs.data import as_array
from commands.subjects.callables import users_errors
from commands.subjects.named.config import Own
from common.data import Batch
from common.errors import UserError
from common.evaluation.evaluator import Evaluator
from common.metrics import ConfusionMatrix

READ = ("compute", "accumulate", "result", "counts")


class Score:
    """A metric of (prediction, label), both whole numbers [N, H, W].

    A function returns the score of a batch. A class, of which a new one is made each time, has
    `update(prediction, label)` and one of `READ`; an object of such a class is copied. `to_tensor`
    gives it what it takes. Raises UserError where it is none of these.
    """

    def __init__(self, own: Own, to_tensor: Callable[[np.ndarray], Any]) -> None:
        self.own, self.to_tensor = own, to_tensor
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.total, self.images = 0.0, 0
        self.made: Any = self.own() if isinstance(self.own.found, type) else self._copied()
        self.is_function = not hasattr(self.made, "update")
        if self.is_function and not callable(self.made):
            raise UserError(f"{self.own}: has no update(prediction, label) and is not called")

    def _copied(self) -> Any:
        """Return a function as it is, of an object what it was when its module was loaded."""
        if not hasattr(self.own.found, "update"):
            return self.own.found
        try:
            return copy.deepcopy(self.own.found)
        except Exception as error:
            raise UserError(f"{self.own}: cannot be copied ({error}); name its class") from error

    def update(self, prediction: np.ndarray, label: np.ndarray) -> Any:
        """Take a batch; return a function's score of it, else that of all batches so far."""
        arrays = self.to_tensor(prediction), self.to_tensor(label)
        if not self.is_function:
            with users_errors(str(self.own)):
                self.made.update(*arrays)
            return self._read()
        value = self.own(*arrays)
        if (number := as_number(value)) is not None:
            self.total += number * len(label)
            self.images += len(label)
        return value

    def result(self) -> Any:
        """Return the score of all batches: of a function its mean over the images."""
        if self.is_function:
            return self.total / self.images if self.images else None
        return self._read()

    def _read(self) -> Any:
        for name in READ:
            if hasattr(self.made, name):
                value = getattr(self.made, name)
                with users_errors(f"{self.own}, {name}"):
                    return value() if callable(value) else value
        raise UserError(f"{self.own}: has none of {', '.join(READ)}, which say its score")


def as_number(value: Any) -> float | None:
    """Return a score as a number, None where it is several."""
    if value is None or isinstance(value, str | dict | tuple | list):
        return None
    array = as_array(value)
    return float(array.reshape(())) if array.size == 1 and array.dtype.kind in "iufb" else None


class MetricOfLogits(Protocol):
    """What the metric rung compares: a metric of a net's logits."""

    def update(self, logits: np.ndarray, label: np.ndarray) -> None:
        """Take a batch: logits [N, C, H, W] and label [N, H, W]."""
        ...

    def compute(self) -> Any:
        """Return what is compared after every batch."""
        ...

    def scores(self) -> dict[str, Any]:
        """Return the scores of all batches by name, for graders."""
        ...


class CountsOfClasses:
    """Exact counts of a framework's argmax over the classes."""

    def __init__(
        self, classes: int, ignore_index: int, argmax: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self.matrix, self.argmax = ConfusionMatrix(classes, ignore_index), argmax

    def update(self, logits: np.ndarray, label: np.ndarray) -> None:
        """Count one batch."""
        self.matrix.update(self.argmax(logits), label)

    def compute(self) -> np.ndarray:
        """Return the counts so far."""
        return self.matrix.counts

    def scores(self) -> dict[str, Any]:
        """Return pixel accuracy, and mIoU of what occurs."""
        return {
            "pixel_accuracy": self.matrix.pixel_accuracy(),
            "mIoU": self.matrix.mean_iou("skip"),
        }


class ScoreOfClasses:
    """The user's metric of a framework's argmax over the classes."""

    def __init__(self, score: Score, argmax: Callable[[np.ndarray], np.ndarray]) -> None:
        self.score, self.argmax, self.now = score, argmax, None

    def update(self, logits: np.ndarray, label: np.ndarray) -> None:
        """Take one batch."""
        self.now = self.score.update(self.argmax(logits), label)

    def compute(self) -> Any:
        """Return a function's score of the last batch, else that of all so far."""
        return self.now

    def scores(self) -> dict[str, Any]:
        """Return the score of all batches: "metric", or its values by name."""
        return scores_of(self.score.result())


class WithScore:
    """An evaluator that also has the score of the user's metric, as "metric".

    Where that is a number, the weights of its highest value are a run's best ones.
    """

    def __init__(self, evaluator: Evaluator, score: Score) -> None:
        self.evaluator, self.score = evaluator, score

    def reset(self) -> None:
        """Begin anew."""
        self.evaluator.reset()
        self.score.reset()

    def update(self, batch: Batch, prediction: np.ndarray) -> None:
        """Count a batch; see `Evaluator`."""
        self.evaluator.update(batch, prediction)
        self.score.update(prediction, batch.label)

    def compute(self) -> dict[str, Any]:
        """The scores so far."""
        value = self.score.result()
        number = as_number(value)
        return {
            **self.evaluator.compute(),
            "metric": scores_of(value) if number is None else number,
        }


def scores_of(value: Any) -> dict[str, float | None]:
    """Return a score as "metric", one of several values by name, or by place."""
    if (number := as_number(value)) is not None:
        return {"metric": number}
    if isinstance(value, dict):
        return {str(name): as_number(part) for name, part in value.items()}
    flat = [] if value is None else np.ravel(as_array(value)).tolist()
    return {f"metric_{place}": part for place, part in enumerate(flat)}
