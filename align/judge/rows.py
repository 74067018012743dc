"""Names the first row, a box with its score and label, that one side has and the other has not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align.judge.words import Cause, joined

NEAR = 1e-6  # of rows that are one, relative to the largest magnitude of their column
MOST_ROWS, MOST_COLUMNS = 2048, 64
SAID = 4  # values of a row that are told, of each tensor


@dataclass(frozen=True)
class Beside:
    """Tensors that were handed on together: the reference's and the port's [rows, ...], by name.

    `names` are "0.boxes" or "boxes": what stands before the last dot is the list or the dict that
    holds them.
    """

    names: Sequence[str]
    expected: Sequence[np.ndarray]
    found: Sequence[np.ndarray]


def rows_apart(beside: Beside, index: int) -> Cause | None:
    """Say which row the two sides do not share, in the table of which tensor `index` is a column.

    None where there is none, where no row is the same, and of large tables.
    """
    columns = _columns(beside, index)
    theirs = [beside.expected[i] for i in columns]
    ours = [beside.found[i] for i in columns]
    if any(array.ndim == 0 for array in (*theirs, *ours)):  # a loss has no rows
        return None
    counts = len(theirs[0]) if theirs else 0, len(ours[0]) if ours else 0
    if not all(counts) or max(counts) > MOST_ROWS:
        return None
    near = _near(theirs, ours)
    if not near.any():
        return None
    names = [beside.names[i].rpartition(".")[2] for i in columns]
    missing, added = ~near.any(axis=1), ~near.any(axis=0)
    if missing.any():
        row = int(missing.argmax())
        said = Cause("row_missing", row=row, values=_say(names, theirs, row), count=counts[1])
        return joined([said, _overlap(theirs, ours, row)])
    if added.any():
        row = int(added.argmax())
        said = Cause("row_added", row=row, values=_say(names, ours, row), count=counts[0])
        return joined([said, _overlap(ours, theirs, row)])
    apart = ~near[np.arange(min(counts)), np.arange(min(counts))]
    if not apart.any():
        return None
    row = int(apart.argmax())
    other = int(near[row].argmax())
    return Cause("row_moved", row=row, values=_say(names, theirs, row), ours=other)


def _columns(beside: Beside, index: int) -> list[int]:
    """Return the tensors with as many rows as tensor `index` on both sides, in the same table.

    What is known by its place alone, as in a list of one tensor for each image, is a table itself.
    """
    table, _, own = beside.names[index].rpartition(".")
    if own.isdigit() or not own:
        one, other = beside.expected[index], beside.found[index]
        alone = one.ndim and other.ndim and one.shape[1:] == other.shape[1:]
        return [index] if alone else []
    size = beside.expected[index].shape[:1], beside.found[index].shape[:1]
    return [
        i
        for i, (name, one, other) in enumerate(
            zip(beside.names, beside.expected, beside.found, strict=True)
        )
        if name.rpartition(".")[0] == table
        and one.ndim == other.ndim > 0
        and (one.shape[:1], other.shape[:1]) == size
        and one.shape[1:] == other.shape[1:]
        and np.prod(one.shape[1:], dtype=int) <= MOST_COLUMNS
        and one.dtype.kind in "fiub"
        and other.dtype.kind in "fiub"
    ]


def _near(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> np.ndarray:
    """Return which rows of both sides are one [reference's rows, port's rows]."""
    near = np.ones((len(theirs[0]), len(ours[0])), bool)
    for one, other in zip(theirs, ours, strict=True):
        scale = float(np.abs(one).max(initial=0.0, where=np.isfinite(one))) or 1.0
        left, right = one.reshape(len(one), -1), other.reshape(len(other), -1)
        for column in range(left.shape[1]):
            here, there = left[:, None, column], right[None, :, column]
            with np.errstate(invalid="ignore"):  # equal infinities
                near &= (np.abs(here * 1.0 - there) <= NEAR * scale) | (here == there)
    return near


def _say(names: Sequence[str], arrays: Sequence[np.ndarray], row: int) -> str:
    """Return the values of a row."""
    said = []
    for name, array in zip(names, arrays, strict=True):
        values = array[row].reshape(-1)
        if values.size <= SAID:
            words = ", ".join(f"{value:.6g}" for value in values.tolist())
            title = "" if name.isdigit() or not name else f"{name} "
            said.append(f"{title}{words if array.ndim == 1 else f'[{words}]'}")
    return ", ".join(said)


def _overlap(own: Sequence[np.ndarray], others: Sequence[np.ndarray], row: int) -> Cause | None:
    """Say with which row of the other side a box overlaps most; None without boxes."""
    for boxes, against in zip(own, others, strict=True):
        if boxes.shape[1:] != (4,) or boxes.dtype.kind != "f":
            continue
        box = boxes[row]
        low, high = np.maximum(box[:2], against[:, :2]), np.minimum(box[2:], against[:, 2:])
        inner = (high - low).clip(0).prod(-1)
        area = (box[2:] - box[:2]).prod() + (against[:, 2:] - against[:, :2]).prod(-1) - inner
        overlaps = np.divide(inner, area, out=np.zeros(len(inner)), where=area > 0)
        best = int(overlaps.argmax())
        if overlaps[best] > 0:
            return Cause("row_overlaps", other=best, overlap=float(overlaps[best]))
    return None
