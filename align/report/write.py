"""Writes reports: JSON, page, JUnit XML, CSV, picture."""

from pathlib import Path
from typing import Any


def write_report(report: Any, folder: Path, name: str) -> list[Path]:
    """Write what `write_numbers` writes, the page, and JUnit XML; return the paths."""
    numbers = write_numbers(report, folder, name)
    page, cases = folder / f"{name}.html", folder / f"{name}.xml"
    report.to_html(page)
    report.to_junit(cases)
    return [page, *numbers, cases]


def write_numbers(report: Any, folder: Path, name: str) -> list[Path]:
    """Write `report` as JSON, every comparison as CSV, and the picture; return the paths."""
    import csv
    import io
    from dataclasses import asdict

    from align.report.picture import error_picture
    from common.documents import write_text

    json_path, csv_path = folder / f"{name}.json", folder / f"{name}.csv"
    report.to_json(json_path)
    text = io.StringIO()
    rows = [asdict(call) for call in report.calls]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["layer"])
    writer.writeheader()
    writer.writerows(rows)
    write_text(csv_path, text.getvalue())
    picture = folder / f"{name}.png"
    error_picture(report, picture)
    return [json_path, csv_path, picture]
