"""What a pickle that cannot be read is said to the user."""

from pathlib import Path
from typing import Any

from common.errors import UnreadableError
from convert.formats.pickles.globals import RefusedError
from convert.formats.recipes import for_code
from convert.formats.stored import DamagedError


class refusals:
    """Turns what the machine finds into one message to the user."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, RefusedError):
            raise UnreadableError(_refusal(self._path, error)) from None
        if isinstance(error, DamagedError):
            raise UnreadableError(
                f"{self._path}: cannot be read: {error}; download or save it again"
            ) from None


def _refusal(path: Path, error: RefusedError) -> str:
    """Word which global is asked for, and the lines that make a file that can be read."""
    head = f"{path}: reading it would run code: it asks for {error.name[:200]}. Nothing was run. "
    return head + for_code(path, error.name, error.place)
