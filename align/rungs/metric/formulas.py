"""By which of the field's formulas a metric's scores are made, told by the scores alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from align.judge.words import Cause, Words, joined
from align.rungs.metric.made import Pair

MEASURES = {
    "iou": "metric_measure_iou",
    "dice": "metric_measure_dice",
    "recall": "metric_measure_recall",
    "precision": "metric_measure_precision",
}
ABSENT = {
    "skip": "metric_absent_skip",
    "zero": "metric_absent_zero",
    "one": "metric_absent_one",
    "nan": "metric_absent_nan",
    "labelled": "metric_absent_labelled",
    "hit": "metric_absent_hit",
}
POOLS = {
    "counts": "metric_pool_counts",
    "batches": "metric_pool_batches",
    "images": "metric_pool_images",
    "last": "metric_pool_last",
}
# Kinds of words by the field of a formula, and those of its values.
FIELDS = {
    "measure": ("metric_measure", MEASURES),
    "absent": ("metric_absent", ABSENT),
    "pool": ("metric_pool", POOLS),
    "first": ("metric_first", {}),
    "times": ("metric_times", {}),
}
CLOSE = 1e-6


@dataclass(frozen=True)
class Formula:
    """A mean over classes: of which measure, what absent classes count, and over what batches.

    `first`: the first class that counts. `times`: 100 for percent.
    """

    measure: str
    absent: str
    pool: str
    first: int
    times: int


@dataclass(frozen=True)
class ScoreSeen:
    """A score, one number or one a class, after `seen` batches of classes (prediction, label)."""

    value: np.ndarray
    seen: Sequence[Pair]


def cause_of(
    theirs: Sequence[ScoreSeen], ours: Sequence[ScoreSeen], classes: int, void: int | None
) -> Cause | None:
    """Say in what two metrics' formulas differ, where each is one that fits all its scores."""
    tables = _Tables(classes, void)
    left = [one for one in _formulas() if tables.fits(one, theirs)]
    right = [one for one in _formulas() if tables.fits(one, ours)]
    pairs = [(one, other, _apart(one, other)) for one, other in product(left, right)]
    if not pairs:
        return None
    reference, port, apart = min(pairs, key=lambda pair: len(pair[2]))
    return joined(_said(name, getattr(port, name), getattr(reference, name)) for name in apart)


def _said(name: str, port: str | int, reference: str | int) -> Cause:
    kind, values = FIELDS[name]
    ours, theirs = (Words(values[v]) if v in values else v for v in (str(port), str(reference)))
    return Cause(kind, port=ours, reference=theirs)


def _apart(one: Formula, other: Formula) -> list[str]:
    return [name for name in FIELDS if getattr(one, name) != getattr(other, name)]


def _formulas() -> Iterator[Formula]:
    for values in product(MEASURES, ABSENT, POOLS, (0, 1), (1, 100)):
        yield Formula(*values)


class _Tables:
    """Confusion tables of batches, each counted once."""

    def __init__(self, classes: int, void: int | None) -> None:
        self.classes, self.void = classes, void
        self._counted: dict[int, np.ndarray] = {}

    def fits(self, formula: Formula, scores: Sequence[ScoreSeen]) -> bool:
        """Tell whether `formula` gives every one of `scores`."""
        return bool(scores) and all(self._gives(formula, score) for score in scores)

    def _gives(self, formula: Formula, score: ScoreSeen) -> bool:
        tables = [self._of_images(pair) for pair in score.seen]
        last = tables[-1].sum(0)
        groups = {
            "counts": [sum(table.sum(0) for table in tables)],
            "batches": [table.sum(0) for table in tables],
            "images": [image for table in tables for image in table],
            "last": [last],
        }[formula.pool]
        value = score.value.astype(np.float64).ravel()
        found = [_scored(formula, np.asarray(group), value.size > 1) for group in groups]
        with np.errstate(invalid="ignore"):
            expected = np.mean(found, axis=0) * formula.times
        close = CLOSE * formula.times
        same_size = np.shape(expected) in ((), value.shape)
        return same_size and bool(np.allclose(value, expected, 0, close, equal_nan=True))

    def _of_images(self, pair: Pair) -> np.ndarray:
        """Return counts [N, label, prediction] of every image of a batch."""
        if id(pair) not in self._counted:
            self._counted[id(pair)] = np.stack(
                [self._count(*one) for one in zip(*pair, strict=True)]
            )
        return self._counted[id(pair)]

    def _count(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        keep = label != self.void if self.void is not None else np.ones(label.shape, bool)
        cells = label[keep].astype(np.int64) * self.classes + prediction[keep]
        return np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)


def _scored(formula: Formula, counts: np.ndarray, by_class: bool) -> np.ndarray:
    """Return the score of a table of counts [label, prediction]: one number, or one a class."""
    counts = counts.astype(np.float64)
    hit, labelled, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    over = {
        "iou": labelled + predicted - hit,
        "dice": (labelled + predicted) / 2,
        "recall": labelled,
        "precision": predicted,
    }[formula.measure]
    otherwise = {"zero": 0.0, "one": 1.0}.get(formula.absent, np.nan)
    each = np.divide(hit, over, out=np.full(len(hit), otherwise), where=over > 0)[formula.first :]
    if by_class:
        return each
    kept = {"labelled": labelled, "hit": hit}.get(formula.absent)
    if kept is not None:
        each = each[kept[formula.first :] > 0]
    elif formula.absent == "skip":
        each = each[~np.isnan(each)]
    return np.asarray(each.mean() if each.size else np.nan)
