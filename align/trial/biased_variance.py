"""A difference of the frameworks that is known: torch averages the unbiased variance, Paddle not.

A running variance of Paddle's own BatchNorm is (n - 1) / n of torch's in every update. Where it is
exactly that, it is a note and no divergence; anything beyond stays one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from align.judge.words import Words
from align.record.trace import Call, Dropped

# The prediction holds to rounding: constants are rounded on the reference as Paddle's are.
PRECISION = 1e-9


def biased(
    momentum: Any, calls: Sequence[Call], before: np.ndarray, port: np.ndarray
) -> float | None:
    """Return (n - 1) / n of the last call where `port` [C] is what biased averages predict.

    `calls` are those of the reference's BatchNorm of that momentum, in order, inputs
    [N, C, ...]; `before` [C] is the running variance before them. None where the prediction does
    not hold.
    """
    inputs = [call.inputs[0] for call in calls if call.inputs and call.inputs[0].ndim > 1]
    if not inputs or len(inputs) != len(calls) or not isinstance(momentum, float):
        return None
    predicted, factor = np.asarray(before, np.float64), 1.0
    for values in inputs:
        variance = _variance(values)
        if variance is None:
            return None
        predicted = (1.0 - momentum) * predicted + momentum * variance
        count = values.size // values.shape[1]
        factor = (count - 1) / count
    if predicted.shape != port.shape:
        return None
    apart = float(np.abs(predicted - port).max(initial=0.0))
    return factor if apart <= PRECISION * float(np.abs(predicted).max(initial=0.0)) else None


def _variance(values: np.ndarray | Dropped) -> np.ndarray | None:
    """Return the variance of each channel of `values` [N, C, ...]."""
    if isinstance(values, Dropped):
        return values.variance
    found: np.ndarray = values.var(axis=(0, *range(2, values.ndim)), dtype=np.float64)
    return found


def in_words(factors: dict[str, float]) -> list[Words]:
    """Say it once for all layers of the port, given as {path: factor}."""
    if not factors:
        return []
    names = ", ".join(list(factors)[:4]) + (", ..." if len(factors) > 4 else "")
    low, high = min(factors.values()), max(factors.values())
    size = f"{low:.6g}" if low == high else Words("from_to", low=low, high=high)
    said = {"count": len(factors), "names": names, "factor": size, "precision": PRECISION}
    return [Words("biased_variances", **said)]
