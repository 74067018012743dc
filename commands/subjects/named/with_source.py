"""What a config names, with where it is written: reports point there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from align.judge.comparison import DIFFERS
from align.nets.calls import written_at
from align.report.report import Layer, Report
from commands.subjects.named.config import Own


class WithSource:
    """A function that stands for what a section of a config names.

    `source` is file:line of the user's callable, or the config and its key for one of our tables.
    """

    def __init__(
        self, function: Callable[..., Any], own: Own | None, config: Path, section: str
    ) -> None:
        self.function = function
        self.source = f"{config}: {section}" if own is None else written_at(own.found) or str(own)

    def __call__(self, *given: Any) -> Any:
        """Call it."""
        return self.function(*given)


def point_at(report: Report, owns: Sequence[Own | None]) -> Report:
    """Let what differs in a report without nets name the lines of the user's two callables.

    owns: what the config names in torch and in Paddle; None for one of ours. Returns the report.
    """
    lines = [written_at(own.found) if own else "" for own in owns]
    if any(lines):
        where: dict[str, Any] = {
            "torch_source": lines[0] or None,
            "paddle_source": lines[1] or None,
        }
        wrong = {call.layer for call in report.calls if call.verdict == DIFFERS}
        report.layers |= {name: Layer(name, **where) for name in sorted(wrong)}
        report.divergences = [replace(found, **where) for found in report.divergences]
    return report
