"""Whether an exported net computes what the training net does: two arrays and what rounding does.

The truth is the training net in float64, with exact resizes. The training net in float32 is off
from it by its own rounding; the exported net sums in another order and may be off MARGIN times as
far, on the same inputs. Classes may differ only where the two best logits are closer than that.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MARGIN = 10.0
LEAST = 1e-6  # of the largest magnitude: eight roundings of float32, where the net rounds less
# What rounding may explain at most: beyond, any export would be equal. Of the largest magnitude,
# and the share of pixels whose class it may choose.
NOTHING_LEFT, UNDECIDED = 1e-3, 0.5


@dataclass(frozen=True)
class Difference:
    """One output of one engine on one input.

    Attributes:
        engine, input: which.
        error: largest difference to float64; `training_error`: that of the training net in
            float32; `allowed`; all in units of `largest`, the largest magnitude of the truth.
        classes_differ: pixels with another class, of `pixels`.
        unexplained: those among them whose two best logits are further apart than rounding is.
    """

    engine: str
    input: str
    shape: tuple[int, ...]
    error: float
    training_error: float
    allowed: float
    largest: float
    classes_differ: int
    unexplained: int
    pixels: int
    equal: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"shape": list(self.shape)}


def allowed_error(truth: np.ndarray, training: np.ndarray) -> float:
    """Return how far float32 may be off the truth, as a number."""
    return max(MARGIN * _distance(training, truth), LEAST * float(np.abs(truth).max()))


def allowed_share(logits: np.ndarray, training: np.ndarray, output: str) -> float:
    """Return how far an output may be off the truth, of its largest magnitude (softmax: of 1)."""
    if output != "softmax":
        return allowed_error(logits, training) / (float(np.abs(logits).max()) or 1.0)
    return allowed_error(softmax(logits), softmax(training.astype(np.float64)))


def undecided_share(logits: np.ndarray, training: np.ndarray) -> float:
    """Return of which share of the pixels rounding may choose the class."""
    return float((margins(logits) <= 2 * allowed_error(logits, training)).mean())


def compare(
    engine: str, name: str, given: np.ndarray, logits: np.ndarray, training: np.ndarray, output: str
) -> Difference:
    """Judge what an engine gave.

    Args:
        given: of the exported model: as `output` says.
        logits: the truth in float64 [N, C, H, W], before softmax or argmax.
        training: the same of the training net in float32.
    """
    allowed, largest = allowed_error(logits, training), float(np.abs(logits).max())
    if output == "argmax":
        return _of_classes(engine, name, given, logits, training, allowed, largest)
    truth = softmax(logits) if output == "softmax" else logits
    if output == "softmax":
        training = softmax(training.astype(np.float64))
        allowed, largest = allowed_error(truth, training), 1.0
    if given.shape != truth.shape or not np.isfinite(given).all():
        return _wrong(engine, name, given, truth)
    error = _distance(given, truth)
    differ = given.argmax(1) != truth.argmax(1)
    return Difference(
        engine,
        name,
        given.shape,
        error / (largest or 1.0),
        _distance(training, truth) / (largest or 1.0),
        allowed / (largest or 1.0),
        largest,
        int(differ.sum()),
        int((differ & (margins(truth) > 2 * allowed)).sum()),
        differ.size,
        bool(error <= allowed),
    )


def _of_classes(
    engine: str,
    name: str,
    given: np.ndarray,
    logits: np.ndarray,
    training: np.ndarray,
    allowed: float,
    largest: float,
) -> Difference:
    truth = logits.argmax(1)
    if given.shape != truth.shape:
        return _wrong(engine, name, given, truth)
    differ = given != truth
    unexplained = int((differ & (margins(logits) > 2 * allowed)).sum())
    scale = largest or 1.0
    return Difference(
        engine,
        name,
        given.shape,
        0.0,
        _distance(training, logits) / scale,
        allowed / scale,
        largest,
        int(differ.sum()),
        unexplained,
        differ.size,
        unexplained == 0,
    )


def _wrong(engine: str, name: str, given: np.ndarray, truth: np.ndarray) -> Difference:
    infinite = float("inf")
    size = truth.size
    return Difference(
        engine, name, given.shape, infinite, 0.0, 0.0, 0.0, size, size, size, equal=False
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits [N, C, H, W]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


def margins(logits: np.ndarray) -> np.ndarray:
    """Return how far the best is ahead of the second best of logits [N, C, H, W]: [N, H, W]."""
    if logits.shape[1] == 1:
        return np.full_like(logits[:, 0], np.inf)
    best = np.partition(logits, -2, axis=1)
    result: np.ndarray = best[:, -1] - best[:, -2]
    return result


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())
