"""Whether one more training lies within the noise of several: a band for each iteration.

The band is a prediction interval of Student's t for one more draw beside n seeds. Its spread is
pooled over neighbouring lines of the log, whose noise is alike, and its level is shared among the
lines (Bonferroni), so that a run of the same recipe leaves it anywhere in one case of a hundred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEVEL = 0.01  # of a false alarm, for each curve
SEEDS = 3  # at least: of fewer nobody knows the spread
NEIGHBOURS = 2  # lines of the log before and after


@dataclass
class CurveVerdict:
    """One curve of a run beside the references.

    Attributes:
        name: of the series.
        places: the iterations that all have, in order.
        values: of the run.
        low, high: the band; where there is none, of the references.
        outside: iterations at which the run lies outside, in order.
        judged: False where nothing says how far apart two runs may be.
        why: in words, what could not be compared.
    """

    name: str
    places: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    judged: bool = False
    why: str = ""

    @property
    def outside(self) -> list[int]:
        """Iterations at which the run is not within the band; what is NaN never is."""
        rows = zip(self.places, self.values, self.low, self.high, strict=True)
        return [place for place, value, low, high in rows if not low <= value <= high]

    @property
    def farthest(self) -> float:
        """The largest distance from the middle of the band, relative to it."""
        rows = zip(self.values, self.low, self.high, strict=True)
        return max((_relative(value, (low + high) / 2) for value, low, high in rows), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "iterations": len(self.places),
            "from": self.places[0] if self.places else None,
            "to": self.places[-1] if self.places else None,
            "judged": self.judged,
            "first_outside": self.outside[0] if self.judged and self.outside else None,
            "outside": len(self.outside) if self.judged else None,
            "farthest": _finite(self.farthest),
            "why": self.why,
        }


Series = Mapping[int, float]


def common_places(run: Series, references: Sequence[Series]) -> list[int]:
    """Iterations that the run and all references have."""
    return sorted(set(run).intersection(*references))


def band_of_seeds(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high) [iterations] of one more run beside `rows` [seeds, iterations]."""
    from scipy.stats import t  # takes longer to import than the rest of this command

    seeds, count = rows.shape
    squares = ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
    freedom = (seeds - 1) * _around(np.ones(count))
    spread = np.sqrt(_around(squares) / freedom * (1 + 1 / seeds))
    reach = t.ppf(1 - LEVEL / (2 * count), freedom) * spread
    middle = rows.mean(axis=0)
    return middle - reach, middle + reach


def _around(values: np.ndarray) -> np.ndarray:
    """Return the sums over each place and its neighbours."""
    places = range(len(values))
    return np.array([values[max(k - NEIGHBOURS, 0) : k + NEIGHBOURS + 1].sum() for k in places])


def in_band(
    name: str, run: Series, references: Sequence[Series], tolerance: float | None
) -> CurveVerdict:
    """Judge a curve; without enough seeds by `tolerance`, a share of the references' mean."""
    verdict = CurveVerdict(name, common_places(run, references))
    if not verdict.places:
        return verdict
    rows = np.array([[series[place] for place in verdict.places] for series in references])
    verdict.values = [run[place] for place in verdict.places]
    if not np.isfinite(rows).all():
        verdict.low = verdict.high = rows.mean(axis=0).tolist()
        place = verdict.places[int(np.argwhere(~np.isfinite(rows).all(axis=0))[0, 0])]
        verdict.why = f"a reference is not finite at iteration {place}"
        return verdict
    if len(references) >= SEEDS:
        low, high = band_of_seeds(rows)
        verdict.judged = True
    elif tolerance is not None:
        reach = tolerance * np.abs(rows).max(axis=0)
        low, high = rows.min(axis=0) - reach, rows.max(axis=0) + reach
        verdict.judged = True
    else:
        low, high = rows.min(axis=0), rows.max(axis=0)
        verdict.why = f"{len(references)} of {SEEDS} seeds"
    verdict.low, verdict.high = low.tolist(), high.tolist()
    return verdict


def same_rate(
    run: Series, references: Sequence[Series], slack: float, one_step: bool
) -> CurveVerdict:
    """Judge the rate, which has no noise: equal but for how logs round it (`slack`).

    one_step: the logs are of different kinds, and one may name the rate before, one after the step.
    """
    verdict = CurveVerdict("lr", common_places(run, references), judged=True)
    expected = {place: references[0][place] for place in verdict.places}
    verdict.values = [run[place] for place in verdict.places]
    for place, value in expected.items():
        reach = 1e-6 * abs(value) + slack + (_change(references[0], place) if one_step else 0.0)
        verdict.low.append(value - reach)
        verdict.high.append(value + reach)
    wrong = [v for series in references for p, v in series.items() if not np.isfinite(v)]
    if wrong:
        verdict.judged, verdict.why = False, "a rate of a reference is not finite"
    return verdict


def _change(series: Series, place: int) -> float:
    """How much a rate moves in one step around a place of its log."""
    places = sorted(series)
    number = places.index(place)
    pairs = [(a, b) for a, b in ((number - 1, number), (number, number + 1)) if a >= 0]
    return max(
        (
            abs(series[places[b]] - series[places[a]]) / (places[b] - places[a])
            for a, b in pairs
            if b < len(places)
        ),
        default=0.0,
    )


def _relative(value: float, middle: float) -> float:
    return abs(value - middle) / (abs(middle) or 1.0)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
