"""A report on the screen: the worst calls per part of the net, the divergences, one verdict."""

from rich.console import Console
from rich.table import Table

from align.judge import NOISE, UNCHECKED, Comparison
from align.report import Report

SHOWN = 12
_STYLES = {0: "green", 1: "red", 2: "yellow"}


def print_report(report: Report, console: Console, title: str | None = None) -> None:
    """Print `report`; without a terminal the same as plain lines."""
    if title:
        console.print(f"[bold]{title}[/bold]", highlight=False)
    if report.calls:
        console.print(_table(report))
    for note in report.notes[:SHOWN]:
        console.print(f"note: {note}", style="dim", highlight=False, markup=False)
    _print_some(console, [str(found) for found in report.divergences], "red")
    for divergence in report.divergences[:1]:
        if divergence.paddle_source:
            console.print(f"  port      {divergence.paddle_source}", highlight=False, markup=False)
            console.print(f"  reference {divergence.torch_source}", highlight=False, markup=False)
    console.print(report.verdict, style=f"bold {_STYLES[report.exit_code]}", markup=False)


def _print_some(console: Console, lines: list[str], style: str) -> None:
    for line in lines[:SHOWN]:
        console.print(f"- {line}", style=style, highlight=False, markup=False)
    if len(lines) > SHOWN:
        console.print(f"  and {len(lines) - SHOWN} more (--report DIR writes all)", style=style)


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("part")
    table.add_column("compared", justify="right")
    table.add_column("worst", justify="right")
    table.add_column("allowed", justify="right")
    table.add_column("adds up to", justify="right")
    table.add_column("at")
    for part, calls in _by_part(report.calls).items():
        judged = [call for call in calls if call.verdict not in (NOISE, UNCHECKED)]
        worst = max(judged, key=_severity, default=calls[0])
        added = max((call.cumulative or 0.0 for call in calls), default=0.0)
        table.add_row(
            part or "(root)",
            str(len(calls)),
            f"{worst.relative_error:.1e}",
            f"{worst.floor:.1e}",
            f"{added:.1e}" if added else "",
            f"{worst.layer[len(part) :].lstrip('.') or '.'} {worst.where}",
            style=None if worst.relative_error <= worst.floor else "red",
        )
    return table


def _severity(call: Comparison) -> tuple[bool, float]:
    return (call.relative_error > call.floor, call.relative_error)


def _by_part(calls: list[Comparison]) -> dict[str, list[Comparison]]:
    """Group the comparisons by top-level module, and a deep one's by one level more."""
    parts: dict[str, list[Comparison]] = {}
    for call in calls:
        parts.setdefault(call.layer.split(".")[0], []).append(call)
    return parts
