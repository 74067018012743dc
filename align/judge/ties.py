"""Two sides' choices on their own scores: the same, apart by a tie within rounding, or apart.

Each side's scores may be off by what rounding explains. Then what either side has at one place of
its order lies within twice that of what the other has there, by the scores of one side; and values
that are held against each other lie within twice that where the sides decide otherwise. Where
the scores of both sides are equal to the bit at a comparison, rounding explains nothing: `>` is not
`>=`. Equal scores in a sort are a tie: neither framework promises their order.
"""

from dataclasses import dataclass

import numpy as np

from align.judge.words import Cause


@dataclass(frozen=True)
class Apart:
    """Where two sides choose otherwise: within rounding where `tied`, else `cause` is the first."""

    tied: bool
    cause: Cause
    index: tuple[int, ...]
    ours: float
    theirs: float


def orders_apart(
    function: str,
    scores: tuple[np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray],
    floor: float,
) -> Apart | None:
    """Compare two orders of candidates, as far as both go.

    Args:
        function: its name in the port.
        scores: the reference's and the port's [..., candidates], of one shape.
        places: the reference's and the port's [..., chosen], best first.
        floor: how far rounding moves a score.

    Returns:
        None where they are the same; else the first that rounding does not explain, or the first.
    """
    many = min(places[0].shape[-1], places[1].shape[-1])
    theirs, ours = (each[..., :many].astype(np.int64) for each in places)
    wrong = theirs != ours
    if not wrong.any():
        return None
    apart = [_gaps(each, theirs, ours) for each in scores]
    beyond = wrong & ((apart[0] > 2 * floor) | (apart[1] > 2 * floor))
    tied = not beyond.any()
    index = _first(wrong if tied else beyond)
    here, there = int(ours[index]), int(theirs[index])
    row = index[:-1]
    said = {
        "function": function,
        "count": int(wrong.sum()),
        "total": int(wrong.size),
        "place": list(index),
        "ours": here,
        "theirs": there,
        "ours_here": float(scores[1][(*row, here)]),
        "theirs_here": float(scores[1][(*row, there)]),
        "ours_there": float(scores[0][(*row, here)]),
        "theirs_there": float(scores[0][(*row, there)]),
        "gap": max(float(each[index]) for each in apart),
        "floor": 2 * floor,
    }
    return Apart(tied, Cause("order_tied" if tied else "order_apart", **said), index, here, there)


def decisions_apart(
    function: str,
    sides: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    results: tuple[np.ndarray, np.ndarray],
    floor: float,
    equality: bool,
) -> Apart | None:
    """Compare what two comparisons decide.

    Args:
        function: its name in the port.
        sides: the reference's (left, right) and the port's.
        results: what the reference decided and the port, bool of one shape.
        floor: how far rounding moves the distance of the two sides.
        equality: whether they ask if both sides are equal, which on one side they may be exactly.

    Returns:
        As `orders_apart`.
    """
    wrong = results[0] != results[1]
    if not wrong.any():
        return None
    with np.errstate(invalid="ignore"):  # equal infinities, which are no distance apart
        gaps = [np.broadcast_to(np.subtract(*each), wrong.shape) for each in sides]
    equal = [np.broadcast_to(np.equal(*each), wrong.shape) for each in sides]
    exactly = equal[0] & equal[1]
    far = (np.abs(gaps[0]) > 2 * floor) | (np.abs(gaps[1]) > 2 * floor)
    beyond = wrong & (far | exactly)
    tied = not beyond.any()
    index = _first(wrong if tied else beyond)
    values = [[float(np.broadcast_to(v, wrong.shape)[index]) for v in each] for each in sides]
    said = {
        "function": function,
        "count": int(wrong.sum()),
        "total": int(wrong.size),
        "place": list(index),
        "left": values[1][0],
        "right": values[1][1],
    }
    if exactly[index] and not tied:
        cause = Cause("decision_exact", **said)
    else:
        said |= {"reference_left": values[0][0], "reference_right": values[0][1]}
        said |= {"gap": max(abs(float(each[index])) for each in gaps), "floor": 2 * floor}
        cause = Cause("decision_tied" if tied else "decision_apart", **said)
    return Apart(tied, cause, index, float(results[1][index]), float(results[0][index]))


def _gaps(scores: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far the scores of two candidates are apart at each place of an order."""
    first, second = (np.take_along_axis(scores, places, -1) for places in (one, other))
    with np.errstate(invalid="ignore"):
        return np.abs(first - second)


def _first(where: np.ndarray) -> tuple[int, ...]:
    """Return the index of the first that is true; () of a single value."""
    flat = int(where.argmax())
    return tuple(int(i) for i in np.unravel_index(flat, where.shape))
