"""What a run tells whoever watches. The base class listens to nothing."""

from collections.abc import Mapping
from typing import Any

ReportedRow = Mapping[str, Any]


class Reporter:
    """Every method may be overridden; none has to be."""

    def start(self, settings: list[tuple[str, str]], notes: list[str], total: int) -> None:
        """A run begins: its settings, what differs from the recipe, its iterations."""

    def message(self, text: str) -> None:
        """Something worth knowing happened."""

    def step(self, row: ReportedRow) -> None:
        """An iteration is done.

        Keys: iteration, loss, lr, images_per_s, step_s, data_s, left_s (seconds to the end).
        """

    def log(self, row: ReportedRow) -> None:
        """An interval of the log is complete: the keys of `step`, its mean loss and terms."""

    def validating(self, done: int, total: int) -> None:
        """So many validation images are done."""

    def validation(self, row: ReportedRow) -> None:
        """A validation is complete: iteration, the scores of an `Evaluator`, best."""

    def close(self) -> None:
        """The run is over, by whatever way."""
