"""The parts of what a training keeps: net, criterion, average, scaler, and a slot each."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from common.errors import UnreadableError


def parts_of(names: Iterable[str]) -> dict[str, int]:
    """Return how many arrays each part has, of names such as velocity.fc.weight."""
    return dict(sorted(Counter(name.partition(".")[0] for name in names).items()))


def require_parts(names: Iterable[str], held: Mapping[str, int], path: Path) -> None:
    """Raise UnreadableError where the arrays of a file are not as many as `held` says.

    A slot that is absent would begin at 0, and no optimizer says so.
    """
    found = parts_of(names)
    for part in sorted({*found, *held}):
        count, told = found.get(part, 0), held.get(part, 0)
        if count != told:
            raise UnreadableError(f"{path}: holds {count} of {told} arrays of {part!r:.40}")
