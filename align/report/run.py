"""A run of a command: its stages, its account, its training. What a page shows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from align.judge.words import Words, kinds_of
from align.report.parts import SCHEMA_VERSION
from align.report.report import ALIGNED, COULD_NOT_CHECK, NOT_ALIGNED, Report
from common.documents import STRICT, plain, write_json
from common.environment import environment

MODED = ("forward", "backward")  # stages that run in eval or in train mode


@dataclass
class Rung:
    """One step of the ladder: what was done, with which result."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    exit_code: int
    result: str
    seconds: float | None = None


@dataclass
class Run:
    """Everything that one command found.

    Attributes:
        title: what was run, in the words of the command.
        rungs: the ladder, in the order in which it was climbed.
        reports: the stages' reports; `names` are those of their rungs.
        account: `convert.Account.to_dict()` without the values of dropped tensors.
        training: {"log": rows of log.jsonl, "framework": ...}; empty without a training.
        environment: as `common.environment.environment` gives it, with the command line.
    """

    __pydantic_config__: ClassVar = STRICT

    title: str
    rungs: list[Rung] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=environment)

    @classmethod
    def of(cls, report: Report) -> "Run":
        """Return a run of one stage."""
        model = report.settings.get("model")
        stage = Words.told(report.stage)
        if report.stage in MODED and isinstance(train := report.settings.get("train"), bool):
            stage = Words.told(f"{report.stage}, {'train' if train else 'eval'} mode")
        title = Words("title_stage", name=model, stage=stage) if model else stage
        seconds = report.environment.get("seconds")
        rung = Rung(report.stage, report.exit_code, report.verdict, seconds)
        return cls(title, [rung], [report], [report.stage], environment=dict(report.environment))

    def add(self, report: Report, name: str, seconds: float | None = None) -> None:
        """Add the report of a rung."""
        self.rungs.append(Rung(name, report.exit_code, report.verdict, seconds))
        self.reports.append(report)
        self.names.append(name)

    @property
    def exit_code(self) -> int:
        """1 if any rung found a difference, 2 if any could not check or there is none, else 0."""
        return worst_code([rung.exit_code for rung in self.rungs])

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain data (docs/report_json.md)."""
        rungs = [asdict(rung) for rung in self.rungs]
        head = {"schema": SCHEMA_VERSION, "kind": "run", "exit_code": self.exit_code}
        rest = {
            "title": self.title,
            "rungs": rungs,
            "names": self.names,
            "account": self.account,
            "training": self.training,
            "environment": self.environment,
        }
        kinds = kinds_of([self.title, *(rung.result for rung in self.rungs)])
        words = {"words": kinds} if kinds else {}
        reports = [report.to_dict() for report in self.reports]
        return {**head, **plain(rest), **words, "reports": reports}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the run to `path`, whole or not at all."""
        write_json(Path(path), self.to_dict())


def worst_code(codes: Sequence[int]) -> int:
    """Return 1 where any is, else 2 where any is or there is none, else 0."""
    if NOT_ALIGNED in codes:
        return NOT_ALIGNED
    return COULD_NOT_CHECK if COULD_NOT_CHECK in codes or not codes else ALIGNED


def without_values(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return `convert.Account.to_dict()` without the bytes of dropped tensors."""
    rows = [
        {key: value for key, value in row.items() if key != "value"}
        for row in account.get("source_tensors", [])
    ]
    return {**account, "source_tensors": rows}
