"""One discrete step of a net's code: from scores to places, or to yes and no.

A sort, a top-k, an argmax, a comparison of floating values. What comes after it jumps where two
scores are equal up to rounding, and no allowance of rounding says how far: so the step itself is
judged, on the scores of both sides, and what comes after it is given the reference's choice.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from align.record.draws import CallKey

ChoiceKind = Literal["order", "compare"]
ORDER: ChoiceKind = "order"
COMPARE: ChoiceKind = "compare"

# More steps than this are not kept, nor scores of more values each, nor more bytes of all.
MOST_CHOICES, MOST_VALUES, MOST_BYTES = 20_000, 1 << 20, 1 << 27
Left = Literal["many", "large"]  # why a step is not kept

FILL = 1e4  # times as large as all other scores: what stands for a score, and is none


@dataclass(frozen=True, eq=False)
class Choice:
    """What one discrete step of a call was given, and what it gave.

    Attributes:
        function: its name, as code calls it, or the sign of a comparison.
        kind: ORDER or COMPARE.
        sense: of an order "largest" or "smallest", which comes first; of a comparison "above"
            or "equal". "a < b" is told as "b > a".
        operands: floating; of an order the scores, candidates on the last axis; of a comparison
            its two sides, any shapes that broadcast.
        result: of an order the candidates' places [..., chosen], best first; of a comparison bool.
        calls: the calls that were running, outermost first.
    """

    function: str
    kind: ChoiceKind
    sense: str
    operands: tuple[np.ndarray, ...]
    result: np.ndarray
    calls: tuple[CallKey, ...] = ()

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        return sum(array.nbytes for array in (*self.operands, self.result))

    def turned(self) -> "Choice":
        """Return the same comparison told the other way about: not (a > b) as b > a."""
        left, right = self.operands
        return Choice(self.function, self.kind, self.sense, (right, left), ~self.result, self.calls)

    def is_like(self, other: "Choice") -> bool:
        """Tell whether both do one thing to operands of the same shapes."""
        return (
            (self.kind, self.sense) == (other.kind, other.sense)
            and [a.shape for a in self.operands] == [a.shape for a in other.operands]
            and (self.kind == ORDER or self.result.shape == other.result.shape)
        )


def order(
    function: str, scores: np.ndarray, places: np.ndarray, axis: int | None, largest: bool
) -> Choice:
    """Return the choice of a sort, a top-k or an argmax along `axis`.

    places: as the function gave them; those of an argmax may lack the axis. Without an axis the
    scores are one row.
    """
    if axis is None:
        scores, places, axis = scores.reshape(-1), places.reshape(-1), 0
    if places.ndim < scores.ndim:
        places = np.expand_dims(places, axis)
    sense = "largest" if largest else "smallest"
    scores, places = np.moveaxis(scores, axis, -1), np.moveaxis(places, axis, -1)
    return Choice(function, ORDER, sense, (scores,), places)


# What a comparison says: (its sign, its sides exchanged, its result turned over, the sense).
COMPARISONS = {
    **dict.fromkeys(("gt", "greater", "greater_than"), (">", False, False, "above")),
    **dict.fromkeys(("ge", "greater_equal"), (">=", False, False, "above")),
    **dict.fromkeys(("lt", "less", "less_than"), ("<", True, False, "above")),
    **dict.fromkeys(("le", "less_equal"), ("<=", True, False, "above")),
    **dict.fromkeys(("eq", "equal"), ("==", False, False, "equal")),
    **dict.fromkeys(("ne", "not_equal"), ("!=", False, True, "equal")),
}


def comparison(function: str, left: np.ndarray, right: np.ndarray, result: np.ndarray) -> Choice:
    """Return the choice of a comparison, by one of the names of `COMPARISONS`."""
    sign, exchanged, turned, sense = COMPARISONS[function]
    left, right = (side.reshape(()) if side.size == 1 else side for side in (left, right))
    sides = (right, left) if exchanged else (left, right)
    return Choice(sign, COMPARE, sense, sides, ~result if turned else result)


def as_function_gave(function: str, result: np.ndarray) -> np.ndarray:
    """Return what a comparison decided as `function`, one of `COMPARISONS`, gives it."""
    return ~result if COMPARISONS[function][2] else result


def by_call(choices: Iterable[Choice], judged: Collection[str]) -> dict[CallKey, list[Choice]]:
    """Return {call of a path in `judged`: the choices of its own code, in order}."""
    found: dict[CallKey, list[Choice]] = {}
    for choice in choices:
        key = next((key for key in reversed(choice.calls) if key[0] in judged), None)
        if key is not None:
            found.setdefault(key, []).append(choice)
    return found


def are_fills(scores: np.ndarray) -> np.ndarray:
    """Tell which of `scores` [any shape] are fills: bool of that shape.

    Code fills what is not to be chosen with the least number there is, whose own rounding would
    explain any score. A fill is one finite magnitude, `FILL` times beyond all others that are left.
    """
    sizes, left = np.abs(scores), np.isfinite(scores)
    fills = np.zeros(scores.shape, bool)
    while True:
        largest = sizes.max(initial=0.0, where=left)
        rest = left & (sizes <= largest / FILL)
        beyond = left & ~rest
        if not sizes[rest].any() or (sizes[beyond] != largest).any():
            return fills
        fills, left = fills | beyond, rest
