"""What a port gave against what a graph gave, within what rounding explains.

In single precision a graph may be off by so many times what the port is: how far that is was
measured, in float32 against float64, at that very tensor and on the same inputs. In float64 it may
be off by less, as much as that is finer, and by what its constants lost when it was written, which
was measured on the graph.
"""

import numpy as np

from align.judge.compare import OTHER_SHAPE, Allowance, compare
from align.judge.comparison import Comparison
from align.witness.apart import largest_difference

MARGIN = 10.0  # kernels that sum in another order; export/make/compare.py allows as much
LEAST = {"float32": 1e-6, "float64": 1e-9}  # of the largest magnitude
CONSTANTS = 4.0  # times what all of them one unit further move, of which a half may be rounded off
FINER = {"float32": 1.0, "float64": 2.0**-29}


def judged(
    into: Comparison,
    reference: np.ndarray,
    port: np.ndarray,
    rounded: np.ndarray | None,
    dtype: str,
    moved: float = 0.0,
) -> Comparison:
    """Fill `into` with the verdict on the port in float64; return it.

    reference: what the graph gave, in `dtype`. rounded: what the port gives in float32; None where
    it did not come to that. moved: how far the graph moves by its constants.
    """
    if reference.dtype.kind == "f":
        reference = reference.astype(np.float64)
    return compare(reference, port, allowance(reference, port, rounded, dtype, moved), into)


def allowance(
    reference: np.ndarray, port: np.ndarray, rounded: np.ndarray | None, dtype: str, moved: float
) -> Allowance:
    """Return how far the port may be off the graph."""
    if rounded is not None and rounded.shape != port.shape:
        return Allowance(rounding=OTHER_SHAPE)
    if reference.dtype.kind != "f":
        # Which of two that are equal is taken hangs on the last bit: one more than was seen.
        others = 0 if rounded is None else int((rounded != port).sum())
        return Allowance(rounding=others + 1.0 if dtype == "float32" else float(others))
    finite = np.isfinite(reference)
    largest = float(np.abs(reference[finite]).max()) if finite.any() else 0.0
    allowed = max(LEAST[dtype] * largest, CONSTANTS * moved)
    if rounded is not None and rounded.dtype.kind == "f":
        allowed = max(allowed, MARGIN * FINER[dtype] * largest_difference(rounded, port))
    return Allowance(kernels=allowed)
