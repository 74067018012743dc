"""Settings in which runs differ, of those that say theirs: folders with a settings.json."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.documents import json_in
from common.errors import UserError

FILE = "settings.json"
# What a seed is for, what a run is called, and what says or saves but trains nothing.
FREE = ("name", "seed", "output", "log", "data.workers", "train.log_interval")
SAVED = ("train.eval_interval", "train.checkpoint_interval")  # leave the curves as they are
UNSET = "unset"


def differing_settings(paths: Sequence[Path]) -> dict[str, list[Any]]:
    """Return {key: its value in each run that says its settings}, where values differ.

    paths: folders of runs or files in them. Fewer than two with settings: nothing is known.
    """
    found = [flat for flat in map(_settings_of, paths) if flat]
    keys = sorted({key for flat in found for key in flat})
    values = {key: [flat.get(key, UNSET) for flat in found] for key in keys if not _free(key)}
    return {key: row for key, row in values.items() if any(one != row[0] for one in row)}


def of_more_than_seeds(references: Sequence[Path]) -> list[str]:
    """Return the settings that widen a band of references beyond the noise of their seeds."""
    return [key for key in differing_settings(references) if key not in SAVED]


def _free(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in FREE)


def _settings_of(path: Path) -> dict[str, Any]:
    """Return the settings beside a log, flat; empty where none can be read."""
    folder = path if path.is_dir() else path.parent
    try:
        read = json_in(folder / FILE)
    except (OSError, ValueError, UserError):
        return {}
    return dict(_flat("", read)) if isinstance(read, Mapping) else {}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), below)
    elif value is not None:
        yield prefix, value
