"""What a config names, with where it is written: reports point there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from align.nets.calls import written_at
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
