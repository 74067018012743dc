"""The flow of `compare_runs`: read logs, judge the first by the others, tell, draw."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands import numbers
from commands.curves.band import SEEDS, CurveVerdict, in_band, same_rate
from commands.curves.logs import LOSS, MIOU, RATE, ROUNDED, RunCurves, read_run
from commands.curves.settings import differing_settings, of_more_than_seeds
from commands.entry import CHECKED_BAD, CHECKED_GOOD, COULD_NOT_CHECK, parser, print_json
from common.errors import UserError
from common.files import check_outputs
from common.streams import say
from common.words.language import phrase

EXAMPLE = """python tools/compare_runs.py runs/stdc1_toy_paddle runs/stdc1_toy_torch \\
      runs/stdc1_toy_torch_1 runs/stdc1_toy_torch_2 -o curves.png
  python tools/compare_runs.py paddleseg.log mmseg.log.json --tolerance 0.1"""
LABEL = 8  # columns


def parse(description: str) -> argparse.Namespace:
    """Read the command line."""
    command = parser(
        f"{description} The first run is judged by the others. Three or more of them, which differ "
        "in their seed, give the band in which one more of their kind lies; fewer need "
        "--tolerance. Folders of runs, PaddleSeg's text logs, mmsegmentation's JSON, JSON lines.",
        EXAMPLE,
    )
    command.add_argument("run", type=Path, metavar="RUN", help="the port's: a folder or a log")
    command.add_argument(
        "references", type=Path, nargs="+", metavar="REFERENCE", help="PyTorch's, a seed each"
    )
    command.add_argument(
        "--tolerance",
        type=numbers.tolerance,
        metavar="SHARE",
        help="without three seeds: how far loss and mIoU may be apart, as a share (0.1)",
    )
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the picture: .png, .svg or .pdf"
    )
    command.add_argument("--force", action="store_true", help="replace an existing output")
    command.add_argument("--quiet", action="store_true", help="the verdict alone")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_args()


def compare_runs(options: argparse.Namespace) -> int:
    """Judge the run of the options by the references; return the exit code.

    0: all that both have lies in the band. 1: something lies outside. 2: nothing says how far runs
    may be apart, a value of both is NaN, the references differ in more than their seeds, or they
    have no iteration in common (UserError).
    """
    from commands.curves.picture import draw_curves

    if options.output:
        check_outputs([options.output], [options.run, *options.references], options.force)
    run, references = read_run(options.run), [read_run(path) for path in options.references]
    _refuse_twice([run, *references])
    verdicts = judged(run, references, options.tolerance)
    if options.output:
        draw_curves(run, references, verdicts, options.output)
    code, words = code_of(verdicts), said(verdicts, len(references))
    mixed = of_more_than_seeds(options.references) if options.tolerance is None else []
    if code == CHECKED_GOOD and mixed:
        code, words = COULD_NOT_CHECK, _mixed(mixed)
    if options.json:
        print_json(_as_json(run, references, verdicts, code))
    else:
        _show(options, [run, *references], verdicts, code, words)
    return code


def _refuse_twice(runs: Sequence[RunCurves]) -> None:
    places = [run.path.resolve() for run in runs]
    if len(set(places)) < len(places):
        twice = next(
            run.path for run, place in zip(runs, places, strict=True) if places.count(place) > 1
        )
        raise UserError(f"{twice}: is given twice; a run beside itself says nothing")


def judged(
    run: RunCurves, references: Sequence[RunCurves], tolerance: float | None
) -> list[CurveVerdict]:
    """Return a verdict of each curve that the run and all references have; the loss first.

    Raises UserError where there is no iteration in common.
    """
    curves = {name: _series(run, references, name) for name in (LOSS, RATE, MIOU)}
    found = [in_band(LOSS, *curves[LOSS], tolerance)]
    if not found[0].places:
        spans = "; ".join(
            f"{one.path}: {min(one.series[LOSS])} to {max(one.series[LOSS])}, every {one.interval}"
            for one in (run, *references)
        )
        raise UserError(f"no iteration stands in all logs ({spans}); log at common intervals")
    if _all_have(RATE, run, references):
        slack = max(ROUNDED.get(one.kind, 0.0) for one in (run, *references))
        kinds = {one.kind for one in (run, *references)}
        found.append(same_rate(*curves[RATE], slack, len(kinds) > 1))
    if _all_have(MIOU, run, references):
        found.append(in_band(MIOU, *curves[MIOU], tolerance))
    return [verdict for verdict in found if verdict.places]


def _series(
    run: RunCurves, references: Sequence[RunCurves], name: str
) -> tuple[Mapping[int, float], list[Mapping[int, float]]]:
    return run.series[name], [other.series[name] for other in references]


def _all_have(name: str, run: RunCurves, references: Sequence[RunCurves]) -> bool:
    return all(one.series[name] for one in (run, *references))


def code_of(verdicts: Sequence[CurveVerdict]) -> int:
    """Return the exit code of all curves."""
    if any(verdict.judged and verdict.outside for verdict in verdicts):
        return CHECKED_BAD
    return CHECKED_GOOD if all(verdict.judged for verdict in verdicts) else COULD_NOT_CHECK


def said(verdicts: Sequence[CurveVerdict], references: int) -> str:
    """Return the verdict in one line."""
    bad = [verdict for verdict in verdicts if verdict.judged and verdict.outside]
    if bad:
        first = min(bad, key=lambda verdict: verdict.outside[0])
        known = {"curve": _curve(first.name), "iteration": first.outside[0]}
        return phrase("outside the band: {curve} first at iteration {iteration}", **known)
    open_ones = [verdict for verdict in verdicts if not verdict.judged]
    if any("not finite" in verdict.why for verdict in open_ones):
        why = next(verdict.why for verdict in open_ones if "not finite" in verdict.why)
        return phrase("could not check: {why}", why=why)
    if open_ones:
        return phrase(
            "could not check: {count} references say too little of the noise; give {seeds} seeds, "
            "or --tolerance",
            count=references,
            seeds=SEEDS,
        )
    names = ", ".join(_curve(verdict.name) for verdict in verdicts)
    return phrase("inside the band: {curves}", curves=names)


def _mixed(keys: Sequence[str]) -> str:
    return phrase(
        "could not check: the references differ in {keys}, so their band is not the noise of seeds",
        keys=", ".join(keys),
    )


def _curve(name: str) -> str:
    return {LOSS: phrase("loss"), RATE: phrase("rate"), MIOU: "mIoU"}[name]


def _as_json(
    run: RunCurves, references: Sequence[RunCurves], verdicts: Sequence[CurveVerdict], code: int
) -> dict[str, Any]:
    def about(one: RunCurves) -> dict[str, str]:
        return {"path": str(one.path), "format": one.kind}

    return {
        "run": about(run),
        "references": [about(one) for one in references],
        "curves": {verdict.name: verdict.to_dict() for verdict in verdicts},
        "settings_that_differ": differing_settings([run.path, *(o.path for o in references)]),
        "exit_code": code,
    }


def _show(
    options: argparse.Namespace,
    runs: Sequence[RunCurves],
    verdicts: Sequence[CurveVerdict],
    code: int,
    words: str,
) -> None:
    from common.terminal import labelled, screen, verdict

    if not options.quiet:
        for one in runs:
            say(phrase("{path}: {kind}, {count} losses", **_about(one)))
        if len({one.interval for one in runs}) > 1:
            intervals = ", ".join(str(one.interval) for one in runs)
            say(
                phrase(
                    "note: the logs have lines every {intervals} iterations; where a line is a "
                    "mean over its interval, they are means of different steps",
                    intervals=intervals,
                )
            )
        for key, values in differing_settings([one.path for one in runs]).items():
            shown = ", ".join(str(value) for value in values)
            say(phrase("note: the runs differ in {key}: {values}", key=key, values=shown))
        for line in labelled([(_curve(v.name), _line(v)) for v in verdicts], LABEL):
            say(line)
        if options.output:
            say(phrase("written: {paths}", paths=options.output))
    verdict(screen(), code, words)


def _about(one: RunCurves) -> dict[str, Any]:
    return {"path": one.path, "kind": one.kind, "count": len(one.series[LOSS])}


def _line(verdict: CurveVerdict) -> str:
    """Say one curve: how many iterations, and what they show."""
    shown = {"count": len(verdict.places), "first": verdict.places[0], "last": verdict.places[-1]}
    head = phrase("{count} iterations in common, {first} to {last}", **shown)
    if not verdict.judged:
        far = phrase("at most {share} apart", share=f"{verdict.farthest:.2%}")
        return f"{head}; {far}" + (f" ({verdict.why})" if verdict.why else "")
    if not verdict.outside:
        inside = phrase(
            "inside the band, at most {share} from its middle", share=f"{verdict.farthest:.2%}"
        )
        return f"{head}; {inside}"
    number = verdict.places.index(verdict.outside[0])
    values = {
        "count": len(verdict.outside),
        "iteration": verdict.outside[0],
        "value": f"{verdict.values[number]:.6g}",
        "low": f"{verdict.low[number]:.6g}",
        "high": f"{verdict.high[number]:.6g}",
    }
    out = phrase(
        "{count} outside, first at iteration {iteration}: {value}, band {low} to {high}", **values
    )
    return f"{head}; {out}"
