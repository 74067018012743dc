"""Made batches that show what a metric does at its edges, in the shapes and types of the user's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.judge.words import Words

OF_VOID = ("made_all_void", "made_void")  # kinds of the cases in whose labels there is void
Pair = tuple[np.ndarray, np.ndarray]  # classes [N, ...] that are predicted, and the label


@dataclass(frozen=True)
class MadeCase:
    """Batches that a metric gets one after the other, from new.

    `words` say what they show. `batches` are what the metric gets, `classes` the same with the
    prediction as classes.
    """

    words: Words
    batches: list[Pair]
    classes: list[Pair]

    @property
    def names(self) -> list[str]:
        """What reports call the batches."""
        numbers = ["", *(f" {number}" for number in range(1, len(self.batches)))]
        return [f"made batch{number} ({self.words})" for number in numbers]


@dataclass(frozen=True)
class Kind:
    """What batches of the user's are: (prediction, label) of so many classes.

    `prediction` has the label's shape, or one axis of classes more, behind the first. `void` is
    the label that does not count, None where there is none, or the label's type cannot hold it.
    """

    prediction: np.ndarray
    label: np.ndarray
    classes: int
    void: int | None

    @property
    def has_logits(self) -> bool:
        """Tell whether predictions have an axis of classes."""
        return self.prediction.ndim == self.label.ndim + 1

    def shares(self, label: np.ndarray) -> float:
        """Return into how many shares the pixels of a label part a mean over classes."""
        return float(label.size * self.classes)

    def given(self, pair: Pair) -> Pair:
        """Return a pair of classes as the metric gets it."""
        predicted, label = (array.copy() for array in pair)
        label = label.astype(self.label.dtype)
        if not self.has_logits:
            return predicted.astype(self.prediction.dtype), label
        planes = [predicted == index for index in range(self.prediction.shape[1])]
        return np.stack(planes, 1).astype(self.prediction.dtype), label


def kind_of(
    batches: Sequence[Any], num_classes: int | None, ignore_index: int | None
) -> Kind | None:
    """Return what the user's batches are; None where they are not (prediction, label) of classes.

    Without `num_classes` it is the axis of the prediction, or what occurs in the batches.
    """
    pairs = [tuple(batch) for batch in batches]
    if not pairs or any(len(p) != 2 or not all(_is_array(a) for a in p) for p in pairs):
        return None
    prediction, label = pairs[0]
    is_map = label.dtype.kind in "iu" and label.ndim >= 2 and label.size > 0
    logits = prediction.ndim == label.ndim + 1 and prediction.dtype.kind in "fiu"
    fits = (prediction.shape[0], *prediction.shape[2:]) if logits else prediction.shape
    if not is_map or fits != label.shape or (not logits and prediction.dtype.kind not in "iu"):
        return None
    if num_classes is None and logits:
        num_classes = int(prediction.shape[1])
    values = [a[a != ignore_index] for p in pairs for a in (p[1:] if logits else p)]
    if num_classes is None:
        num_classes = max((int(v.max()) + 1 for v in values if v.size), default=0)
    if not 2 <= num_classes <= label.size or (logits and prediction.shape[1] != num_classes):
        return None
    held = np.iinfo(label.dtype)
    can_be = ignore_index is not None and held.min <= ignore_index <= held.max
    void = ignore_index if can_be else None
    return Kind(prediction, label, num_classes, void)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def made_cases(kind: Kind) -> Iterator[MadeCase]:
    """Yield the edges: classes that are absent, void, a perfect prediction, batches that differ."""
    draw = _Drawn(kind)
    last, every = kind.classes - 1, range(kind.classes)
    but_last, but_first = [c for c in every if c != last], [c for c in every if c]
    absent = {
        "made_absent": (but_last, but_last),
        "made_absent_from_label": (every, but_last),
        "made_absent_from_prediction": (but_last, every),
    }
    for name, sides in absent.items():
        yield _case(kind, Words(name, index=last), [draw.pair(*sides)])
    yield _case(kind, Words("made_absent", index=0), [draw.pair(but_first, but_first)])
    one = draw.pair([0], [0])
    yield _case(kind, Words("made_single"), [one])
    label = draw.pair(every, every)[1]
    yield _case(kind, Words("made_perfect"), [(label, label)])
    later = [draw.pair(every, every), draw.pair(but_last, but_last), one]
    yield _case(kind, Words("made_later"), later)
    if kind.void is not None:
        predicted, label = draw.pair(every, every)
        yield _case(kind, Words("made_all_void"), [(predicted, np.full_like(label, kind.void))])
        later = [draw.pair(every, every), draw.pair(every, every, 0.9), draw.pair(but_last, every)]
        yield _case(kind, Words("made_void"), [draw.pair(every, every, 0.5), *later])


def _case(kind: Kind, words: Words, pairs: list[Pair]) -> MadeCase:
    return MadeCase(words, [kind.given(pair) for pair in pairs], pairs)


class _Drawn:
    """Seeded maps: classes of unequal size, of which about a third are predicted wrongly."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.random = kind, np.random.default_rng(0)

    def _map(self, classes: Sequence[int]) -> np.ndarray:
        """Return a map in which each of `classes` occurs, later ones oftener."""
        size = self.kind.label.size
        weights = np.arange(1, len(classes) + 1) / (len(classes) * (len(classes) + 1) / 2)
        drawn = self.random.choice(np.array(classes, np.int64), size, p=weights)
        drawn[: len(classes)] = classes
        return np.array(self.random.permutation(drawn).reshape(self.kind.label.shape))

    def pair(self, predicted: Sequence[int], labelled: Sequence[int], void: float = 0.0) -> Pair:
        """Return classes that are predicted and the label, `void` of which does not count."""
        label, other = self._map(labelled), self._map(predicted)
        right = (self.random.random(label.shape) < 0.65) & np.isin(label, list(predicted))
        prediction = np.where(right, label, other)
        missing = np.setdiff1d(list(predicted), prediction)
        prediction.flat[: len(missing)] = missing
        if void:
            assert self.kind.void is not None
            label[self.random.random(label.shape) < void] = self.kind.void
        return prediction, label
