"""The error of every call as a picture: forced and cumulative, over the band of rounding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align.judge.comparison import DIFFERS, NOISE, UNCHECKED, Comparison
from align.judge.words import ROOT, in_both
from align.report.report import Report
from common.files import write_picture
from common.words.drawn import drawn, lettering, picture_language

SMALLEST = 1e-18  # stands for 0 on the log axis


@lettering()
def error_picture(report: Report, path: Path) -> None:
    """Write a PNG of `report` to `path`: one point per comparison, in call order, log axis."""
    from matplotlib.figure import Figure

    calls = [call for call in report.calls if call.verdict not in (NOISE, UNCHECKED)]
    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    order = np.arange(len(calls))
    errors = np.array([_shown(call.relative_error) for call in calls])
    floors = np.array([_shown(call.floor) for call in calls])
    bad = np.array([call.verdict == DIFFERS for call in calls], dtype=bool)
    axes.fill_between(
        order, SMALLEST, floors, step="mid", color="#d9e6f2", label=drawn("explained by rounding")
    )
    if added := added_up(calls):
        axes.plot(
            *zip(*added, strict=True),
            color="#999999",
            lw=1,
            label=drawn("plain run: errors add up"),
        )
    axes.plot(
        order[~bad], errors[~bad], ".", color="#2a6f97", ms=4, label=drawn("this layer alone")
    )
    if bad.any():
        axes.plot(order[bad], errors[bad], "X", color="#c1121f", ms=8, label=drawn("not aligned"))
    _name_the_worst(axes, calls)
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST / 2, 10)
    axes.set_xlabel(drawn("comparison, in the order of the reference's calls"))
    axes.set_ylabel(drawn("relative error"))
    stage, verdict = (in_both(text)[picture_language()] for text in (report.stage, report.verdict))
    title = drawn("{stage}: {verdict}", stage=stage, verdict=verdict)
    axes.set_title(title, fontsize=9, loc="left", wrap=True)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)  # it would cover findings
    write_picture(figure, path)


def added_up(calls: Sequence[Comparison]) -> list[tuple[int, float]]:
    """Return place and error of what the plain run adds up; NaN between two steps."""
    found: list[tuple[int, float]] = []
    step: int | None = None
    for index, call in enumerate(calls):
        if call.cumulative:
            if found and call.step != step:
                found.append((index, float("nan")))
            step = call.step
            found.append((index, _shown(call.cumulative)))
    return found


def _shown(error: float | None) -> float:
    return min(max(error or 0.0, SMALLEST), 10.0)


def _name_the_worst(axes: Any, calls: list[Comparison]) -> None:
    """Write the paths of the first few layers that differ beside their points."""
    named: set[str] = set()
    for index, call in enumerate(calls):
        if call.verdict != DIFFERS or call.layer in named or len(named) >= 6:
            continue
        named.add(call.layer)
        axes.annotate(
            in_both(call.layer or ROOT)[picture_language()],
            (index, _shown(call.relative_error)),
            xytext=(4, -10 - 9 * (len(named) % 2)),
            textcoords="offset points",
            fontsize=7,
            color="#c1121f",
        )
