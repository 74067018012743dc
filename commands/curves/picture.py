"""The curves of several trainings over each other, with the band of the references."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.curves.band import CurveVerdict
from commands.curves.logs import LOSS, MIOU, RATE, RunCurves
from common.errors import UserError
from common.files import make_folder, whole_file
from common.words.drawn import drawn, lettering, written

SUFFIXES = (".png", ".svg", ".pdf")
RUN, BAND = "#c1121f", "#2a6f97"
FEW = 40  # values that are shown as points too


@lettering()
def draw_curves(
    run: RunCurves, references: Sequence[RunCurves], verdicts: Sequence[CurveVerdict], path: Path
) -> None:
    """Write loss, rate and mIoU, one below the other; UserError where it cannot be written."""
    from matplotlib.figure import Figure

    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a picture ends with {', '.join(SUFFIXES)}")
    judged = {verdict.name: verdict for verdict in verdicts}
    shown = [name for name in (LOSS, RATE, MIOU) if run.series[name]]
    figure = Figure(figsize=(8, 2.6 * len(shown)), dpi=110, layout="constrained")
    labels = {LOSS: drawn("loss"), RATE: drawn("rate"), MIOU: "mIoU"}
    names, _ = written([run.name, *(other.name for other in references)])
    for axes, name in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        _draw(axes, [run, *references], names, name, judged.get(name))
        axes.set_ylabel(labels[name])
    axes.set_xlabel(drawn("iteration"))
    make_folder(path.parent)
    with whole_file(path) as draft:
        figure.savefig(draft, format=path.suffix.lower()[1:])


def _draw(
    axes: Any,
    runs: Sequence[RunCurves],
    names: Sequence[str],
    series: str,
    verdict: CurveVerdict | None,
) -> None:
    """One curve: the references pale, their band, the run, a line where it leaves the band."""
    if verdict and verdict.places and verdict.judged:
        band = (verdict.places, verdict.low, verdict.high)
        axes.fill_between(*band, color=BAND, alpha=0.2, linewidth=0, label=drawn("band"))
    for number, (run, name) in reversed(list(enumerate(zip(runs, names, strict=True)))):
        places = sorted(run.series[series])
        values = [run.series[series][place] for place in places]
        style = ".-" if len(places) < FEW else "-"
        look: dict[str, Any] = {"color": RUN, "lw": 1.4} if number == 0 else {"lw": 0.8}
        axes.plot(places, values, style, label=name, **look)
    if verdict and verdict.judged and verdict.outside:
        axes.axvline(verdict.outside[0], color=RUN, linestyle=":", linewidth=1)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
