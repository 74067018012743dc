"""What a page needs of the free parts of a document (settings, account, training, machine).

Keys that are not named here may be there and hold anything.
"""

from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from common.documents import load_object
from common.errors import UnreadableError

Number = float | None


class Environment(TypedDict, total=False):
    """Of `common.environment.environment`, and what commands add."""

    versions: dict[str, str]
    platform: str
    processors: int | None
    threads: str | None
    started: str
    command: str
    seconds: float


class StepPart(TypedDict, total=False):
    """A row of `settings["steps"]` of a training."""

    step: int
    loss: Number
    lr: Number
    gradient_norm: Number
    worst: Number


class SettingsPart(TypedDict, total=False):
    """Of a report."""

    steps: list[StepPart]
    free_run: list[Number]


class LogRow(TypedDict, total=False):
    """A row of `log.jsonl`."""

    iteration: int
    loss: Number
    lr: Number
    mean_iou: Number


class Training(TypedDict, total=False):
    """Of a run."""

    framework: str
    log: list[LogRow]


class _Source(TypedDict):
    key: str
    shape: list[int]
    dtype: str
    became: str


class SourcePart(_Source, total=False):
    """A row of an account's `source_tensors`."""

    to: str | None
    also: list[str]
    reason: str | None


class _Target(TypedDict):
    key: str
    shape: list[int]
    dtype: str
    change: str


class Target(_Target, total=False):
    """A row of an account's `target_tensors`."""

    source: str | None
    reason: str | None


class VerificationPart(TypedDict, total=False):
    """Of an account; empty where the nets were not run."""

    worst: float
    allowed: float


class AccountPart(TypedDict, total=False):
    """Of a run."""

    source_tensors: list[SourcePart]
    target_tensors: list[Target]
    verification: VerificationPart
    notes: list[str]


SCHEMA_VERSION = 2


def load_json(path: Path) -> dict[str, Any]:
    """Return the document in `path`; UnreadableError where there is none."""
    advice = "give a file that --report wrote"
    data = load_object(path, advice)
    if "schema" not in data:
        raise UnreadableError(f'{path}: is no report: it has no key "schema"; {advice}')
    return data


def check_version(data: Any) -> None:
    """Raise UnreadableError where `data` is not a document of this version."""
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA_VERSION or isinstance(found, bool):
        raise UnreadableError(
            f"the report has schema {found!r}, this version reads {SCHEMA_VERSION}; "
            "make it again, or use the version of the toolkit that wrote it"
        )
