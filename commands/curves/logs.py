"""Logs of trainings as series by iteration: ours, PaddleSeg's, mmsegmentation's, any JSON lines.

A validation of mmsegmentation 0.x names the number of its images as its iteration: it is taken to
stand where the lines of the training around it say. Scores in percent become shares.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.documents import json_of
from common.errors import UnreadableError
from common.files import require_file

LOSS, RATE, MIOU = "loss", "lr", "mean_iou"
SERIES = (LOSS, RATE, MIOU)
OURS, PADDLESEG, MMSEG, MMENGINE, LINES = (
    *("torch2paddle-seg", "PaddleSeg", "mmsegmentation 0.x"),
    *("mmsegmentation 1.x", "JSON lines"),
)
ROUNDED = {PADDLESEG: 5e-7, MMSEG: 5e-6}  # how far a rate is off that such a log prints
FARTHEST = 2**53  # iterations
_ITERATION = ("iteration", "iter", "step", "global_step")
_NAMES = {
    LOSS: ("loss", "train/loss", "train_loss", "total_loss"),
    RATE: ("lr", "train/lr", "learning_rate"),
    MIOU: ("mean_iou", "mIoU", "miou", "validation/mean_iou", "val/mIoU"),
}
_TRAIN = re.compile(
    r"\[TRAIN\].{0,200}?\biter: (\d{1,15})(?:/\d+)?, loss: (\S+?), lr: (\S+?)(?:,|\s|$)"
)
_EVAL = re.compile(r"\[EVAL\] #Images: \d{1,15} mIoU: (\S+)")


@dataclass
class RunCurves:
    """One training. `series` are {iteration: value} by name; values may be NaN."""

    name: str
    path: Path
    kind: str
    series: dict[str, dict[int, float]] = field(default_factory=lambda: {k: {} for k in SERIES})

    @property
    def interval(self) -> int:
        """Iterations between two lines of the log; 0 where there is one."""
        places = sorted(self.series[LOSS])
        steps = [after - before for before, after in pairwise(places)]
        return min(steps, default=0)


def read_run(path: Path) -> RunCurves:
    """Read a log, or that of a run's folder.

    Raises UnreadableError where there is none, or it holds no loss.
    """
    file = path / "log.jsonl" if path.is_dir() else path
    try:
        text = require_file(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnreadableError(
            f"{file}: {error.strerror or error}; give a run's folder, or a log"
        ) from None
    run = RunCurves(_name_of(path), path, LINES)
    _read_text(run, text) if _TRAIN.search(text) else _read_rows(run, _rows(file, text))
    if not run.series[LOSS]:
        raise UnreadableError(
            f"{file}: holds no loss by iteration. Read are log.jsonl of a run, PaddleSeg's log, "
            "mmsegmentation's .log.json and scalars.json, and lines of JSON with `iteration` (or "
            "iter, step), `loss`, `lr`, `mean_iou`"
        )
    scores = run.series[MIOU]
    if any(value > 1 for value in scores.values()):
        run.series[MIOU] = {place: value / 100 for place, value in scores.items()}
    return run


def _name_of(path: Path) -> str:
    """The name of the run's folder where the log is called as all logs are."""
    generic = path.stem in ("log", "scalars", "train", "vis_data")
    return path.parent.name if generic and path.parent.name else path.name


def _read_text(run: RunCurves, text: str) -> None:
    run.kind, place = PADDLESEG, 0
    for line in text.splitlines():
        if found := _TRAIN.search(line):
            place = int(found[1])
            run.series[LOSS][place], run.series[RATE][place] = _number(found[2]), _number(found[3])
        elif found := _EVAL.search(line):
            run.series[MIOU][place] = _number(found[1])


def _rows(file: Path, text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of lines of JSON; a last line that a kill cut off is left out."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json_of(line)
        except ValueError:
            if number == len(lines) - 1:
                return
            raise UnreadableError(f"{file}, line {number + 1}: is no JSON") from None
        if isinstance(row, Mapping):
            yield row


def _read_rows(run: RunCurves, rows: Iterator[Mapping[str, Any]]) -> None:
    found = list(rows)
    run.kind = _kind_of(found)
    known = [
        row for row in found if any(name in row for names in _NAMES.values() for name in names)
    ]
    for number, row in enumerate(known):
        place = _iteration(row)
        if run.kind == MMSEG and _value(row, LOSS) is None:
            place = _between(known, number)
        if place is None:
            continue
        for series in SERIES:
            value = _value(row, series)
            if value is not None and not (series == RATE and _value(row, LOSS) is None):
                run.series[series][place] = value


def _kind_of(rows: Sequence[Mapping[str, Any]]) -> str:
    if any("mode" in row and "iter" in row for row in rows):
        return MMSEG
    if any("aAcc" in row and "step" in row for row in rows):
        return MMENGINE
    return OURS if any("iteration" in row and "lr" in row for row in rows) else LINES


def _iteration(row: Mapping[str, Any]) -> int | None:
    for name in _ITERATION:
        if isinstance(row.get(name), int) and abs(row[name]) < FARTHEST:
            return int(row[name])
    return None


def _value(row: Mapping[str, Any], series: str) -> float | None:
    """A number of a line; NaN where it holds null, as our logs do; None where it has none."""
    for name in _NAMES[series]:
        if name in row:
            value = row[name]
            if value is None:
                return math.nan
            return _as_float(value) if isinstance(value, int | float) else None
    return None


def _between(rows: Sequence[Mapping[str, Any]], number: int) -> int | None:
    """The iteration of a validation: of the line before it, or halfway where one was left out."""
    places = [
        (place, _iteration(row))
        for place, row in enumerate(rows)
        if _value(row, LOSS) is not None and _iteration(row) is not None
    ]
    before = [found for place, found in places if place < number and found is not None]
    after = [found for place, found in places if place > number and found is not None]
    if not before:
        return None
    steps = [b - a for a, b in pairwise(before)]
    usual = min(steps, default=0)
    gap = after[0] - before[-1] if after else 0
    return before[-1] + (usual if usual and gap == 2 * usual else 0)


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
