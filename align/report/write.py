"""Writes reports and runs: page, JSON, JUnit XML, CSV, picture; every file whole or not at all."""

import csv
import io
import os
from dataclasses import asdict
from pathlib import Path

from align.report.junit import junit_text
from align.report.report import Report
from align.report.run import Run
from common.documents import write_text


def write_page(found: Report | Run, path: str | os.PathLike[str]) -> None:
    """Write a report or a run to `path` as one page that needs no other file."""
    from align.report.html.page import render

    write_text(Path(path), render(_run_of(found)))


def write_junit(found: Report | Run, path: str | os.PathLike[str]) -> None:
    """Write it to `path` as JUnit XML: a suite for each stage, a case for each layer."""
    write_text(Path(path), junit_text(_run_of(found)))


def write_run(run: Run, folder: Path, name: str) -> list[Path]:
    """Write page, JSON and JUnit XML into `folder`; return the paths."""
    page, document, cases = (folder / f"{name}{suffix}" for suffix in (".html", ".json", ".xml"))
    write_page(run, page)
    run.to_json(document)
    write_junit(run, cases)
    return [page, document, cases]


def write_report(report: Report, folder: Path, name: str) -> list[Path]:
    """Write what `write_numbers` writes, the page, and JUnit XML; return the paths."""
    numbers = write_numbers(report, folder, name)
    page, cases = folder / f"{name}.html", folder / f"{name}.xml"
    write_page(report, page)
    write_junit(report, cases)
    return [page, *numbers, cases]


def write_numbers(report: Report, folder: Path, name: str) -> list[Path]:
    """Write `report` as JSON, every comparison as CSV, and the picture; return the paths."""
    from align.report.picture import error_picture

    document, table, picture = (folder / f"{name}{suffix}" for suffix in (".json", ".csv", ".png"))
    report.to_json(document)
    text = io.StringIO()
    rows = [asdict(call) for call in report.calls]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["layer"])
    writer.writeheader()
    writer.writerows(rows)
    write_text(table, text.getvalue())
    error_picture(report, picture)
    return [document, table, picture]


def _run_of(found: Report | Run) -> Run:
    return Run.of(found) if isinstance(found, Report) else found
