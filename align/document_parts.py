"""What a page needs of the free parts of a document (settings, account, training, machine).

Keys that are not named here may be there and hold anything.
"""

from typing_extensions import TypedDict

Number = float | None


class Environment(TypedDict, total=False):
    """Of `align.environment.environment`, and what commands add."""

    versions: dict[str, str]
    platform: str
    processors: int | None
    threads: str | None
    started: str
    command: str
    seconds: float


class Step(TypedDict, total=False):
    """A row of `settings["steps"]` of a training."""

    step: int
    loss: Number
    lr: Number
    gradient_norm: Number
    worst: Number


class Settings(TypedDict, total=False):
    """Of a report."""

    steps: list[Step]
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


class Source(_Source, total=False):
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


class Verification(TypedDict, total=False):
    """Of an account; empty where the nets were not run."""

    worst: float
    allowed: float


class Account(TypedDict, total=False):
    """Of a run."""

    source_tensors: list[Source]
    target_tensors: list[Target]
    verification: Verification
    notes: list[str]
