"""Reads the JSON documents, with every mistake named (docs/report_json.md)."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.words import Cause, Words
from align.report.parts import (
    AccountPart,
    Environment,
    SettingsPart,
    Training,
    check_version,
    load_json,
)
from align.report.report import ALIGNED, COULD_NOT_CHECK, NOT_ALIGNED, Report
from align.report.run import Run
from common.documents import checked, is_optional
from common.errors import UnreadableError

# Keys of a report and of a run that follow from their other keys.
_DERIVED_OF_REPORT = ("schema", "kind", "aligned", "exit_code", "verdict", "words")
_DERIVED_OF_RUN = ("schema", "kind", "exit_code", "reports", "words")


def read_report(path: str | os.PathLike[str]) -> Report:
    """Return the report of one stage in the file at `path`.

    Raises UnreadableError where the file is absent, damaged or of another version.
    """
    return report_from(load_json(Path(path)))


def report_from(data: Any) -> Report:
    """Return the report that `data` says; UnreadableError names the first thing that misfits."""
    check_version(data)
    if data.get("kind") != "report":
        raise UnreadableError(f"the document is a {data.get('kind')!r}, not a report of one stage")
    own = {key: value for key, value in data.items() if key not in _DERIVED_OF_REPORT}
    _check_calls(own.get("calls"))
    kinds = _kinds(data)
    report: Report = checked(Report, own)
    checked(SettingsPart, report.settings, "settings")
    checked(Environment, report.environment, "environment")
    for call in report.calls:
        call.cause = call.cause and Cause.from_dict(kinds.get(call.cause), call.cause)
    report.divergences = [
        replace(found, cause=found.cause and Cause.from_dict(kinds.get(found.cause), found.cause))
        for found in report.divergences
    ]
    report.notes = [Words.from_dict(kinds.get(note), note) for note in report.notes]
    for key in ("exit_code", "verdict"):
        if data.get(key) != getattr(report, key):
            raise UnreadableError(
                f"the report says {key} {data.get(key)!r}, its calls say {getattr(report, key)!r}: "
                "it was changed by hand, is not whole, or another version wrote it: make it again"
            )
    return report


def _kinds(data: dict[str, Any]) -> dict[str, Any]:
    """Return {text: what it says} of a document; an older one does not tell."""
    found: dict[str, Any] = checked(dict[str, dict[str, Any]], data.get("words", {}), "words")
    return found


def _check_calls(calls: Any) -> None:
    """Raise where a comparison lacks what is always written: a default is no finding."""
    always = [entry.name for entry in fields(Comparison) if not is_optional(entry)]
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        absent = [name for name in always if isinstance(call, dict) and name not in call]
        if absent:
            raise UnreadableError(f"the report is damaged at calls.{number}: no {absent[0]}")
        if isinstance(call, dict) and call["verdict"] not in (EQUAL, DIFFERS, NOISE, UNCHECKED):
            raise UnreadableError(
                f"the report is damaged at calls.{number}.verdict: {call['verdict']!r}"
            )


def read_run(path: str | os.PathLike[str]) -> Run:
    """Return the run in a JSON file that `--report` wrote: of a command, or of one stage.

    Raises UnreadableError where the file is absent, damaged or of another version.
    """
    data = load_json(Path(path))
    try:
        return run_from(data)
    except UnreadableError as error:
        raise UnreadableError(f"{path}: {error}") from None


def run_from(data: Any) -> Run:
    """Return the run that `Run.to_dict` or `Report.to_dict` made `data` of.

    Raises UnreadableError where it is neither, or damaged.
    """
    check_version(data)
    if data.get("kind") != "run":
        return Run.of(report_from(data))
    own = {key: value for key, value in data.items() if key not in _DERIVED_OF_RUN}
    run: Run = checked(Run, own)
    for kind, part in (
        (AccountPart, "account"),
        (Training, "training"),
        (Environment, "environment"),
    ):
        checked(kind, getattr(run, part), part)
    if any(rung.exit_code not in (ALIGNED, NOT_ALIGNED, COULD_NOT_CHECK) for rung in run.rungs):
        raise UnreadableError("the run is damaged: a rung's exit code is 0, 1 or 2")
    kinds = _kinds(data)
    run.title = Words.from_dict(kinds.get(run.title), run.title)
    for rung in run.rungs:
        rung.result = Words.from_dict(kinds.get(rung.result), rung.result)
    reports = data.get("reports")
    if not isinstance(reports, list) or len(reports) != len(run.names):
        raise UnreadableError(f"the run names {len(run.names)} reports and does not hold them")
    run.reports = [report_from(report) for report in reports]
    if run.exit_code != data.get("exit_code"):
        raise UnreadableError(
            f"the run says exit code {data.get('exit_code')!r}, its rungs say {run.exit_code}"
        )
    return run
