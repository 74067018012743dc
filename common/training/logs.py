"""Files that a run grows: lines of JSON, and events for TensorBoard and VisualDL.

`log.jsonl` holds what a resumed run repeats to the bit; times go to `speed.jsonl`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.documents import with_null
from common.errors import UserError
from common.files import require_file, whole_file, writing_in
from common.settings.run import Log
from common.training.events import Events


class RunLog:
    """The logs of one run folder.

    Args:
        folder: of the run; made if absent.
        iteration: where the run (re)starts: later lines of an earlier process are cut off.
        validated: iteration of the last validation that the run knows of.
        log: which events are written.

    `notes` says what of earlier logs is left out. Raises UserError where they cannot be written, or
    what writes them is not installed.
    """

    def __init__(
        self, folder: Path, iteration: int, validated: int, log: Log | None = None
    ) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            said = [_cut(folder / n, iteration, validated) for n in ("log.jsonl", "speed.jsonl")]
            self.notes = [note for note in said if note]
            self._events = Events(folder, iteration, log or Log())
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None

    def losses(self, row: Mapping[str, Any], speed: Mapping[str, Any]) -> None:
        """Write an interval: iteration, lr and mean terms of the loss; its speed apart."""
        self._append("log.jsonl", row)
        self._append("speed.jsonl", {"iteration": row["iteration"], **speed})
        for key, value in {**row, **speed}.items():
            if key != "iteration":
                self._events.scalar(f"train/{key}", value, row["iteration"])
        self._events.flush()

    def validation(self, row: Mapping[str, Any]) -> None:
        """Write a validation: iteration, and the scores of an `Evaluator`."""
        self._append("log.jsonl", row)
        for key, score in row.items():
            if isinstance(score, Mapping):
                for name, value in score.items():
                    tag = f"{key}/{name.replace(' ', '_')}"
                    self._events.scalar(tag, value, row["iteration"])
            elif key != "iteration":
                self._events.scalar(f"validation/{key}", score, row["iteration"])
        self._events.flush()

    def picture(self, iteration: int, picture: np.ndarray | None) -> None:
        """Write a validation's images beside their classes: uint8 [H, W, 3] RGB, or none."""
        if picture is not None:
            self._events.picture("validation/photo_label_prediction", picture, iteration)
            self._events.flush()

    def close(self) -> None:
        """Finish the event files."""
        self._events.close()

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        path = self.folder / name
        with writing_in(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(with_null(row), allow_nan=False) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; what is none, as one that a kill cut off, is left out."""
    return [row for row in _rows(path) if row is not None]


def _rows(path: Path) -> list[dict[str, Any] | None]:
    """Return a row for each line of a log: an object that says its iteration; None for another."""
    lines = require_file(path).read_bytes().split(b"\n") if path.exists() else []
    return [_row(line) for line in lines if line.strip()]


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_row = isinstance(row, dict) and type(row.get("iteration")) is int
    return row if is_row else None


def is_validation(row: Mapping[str, Any]) -> bool:
    """Whether a line of `log.jsonl` is a validation; others have the rate."""
    return "lr" not in row


def _cut(path: Path, iteration: int, validated: int) -> str:
    """Take away what comes after a place; return what is to be said of lines that are none.

    One at the end is what a kill leaves. Others are somebody's: the log as it was stays beside it.
    """
    rows = _rows(path)
    said = ""
    if any(row is None for row in rows[:-1]):
        aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
        with whole_file(aside) as draft:
            draft.write_bytes(require_file(path).read_bytes())
        bad = sum(row is None for row in rows)
        said = f"{path}: {bad} lines are none of a log and are left out; as it was: {aside}"
    kept = [
        row
        for row in rows
        if row and row["iteration"] <= (validated if is_validation(row) else iteration)
    ]
    with whole_file(path) as draft:
        draft.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return said
