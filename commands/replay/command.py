"""The flow of `replay_batch`: read a step, run it on both frameworks, tell where it begins."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from commands.entry import parser, print_json
from common.errors import ConfigError, ConversionError, UserError
from common.streams import say
from common.words.language import phrase

EXAMPLE = "python tools/replay_batch.py runs/stdc1_toy_paddle/nan/iteration_00000004"
LABEL = 10  # columns


def parse(description: str) -> argparse.Namespace:
    """Read the command line."""
    from commands.guard import add_timeout

    command = parser(description, EXAMPLE)
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="of a step that a training saved, in RUN/nan/"
    )
    command.add_argument(
        "--device", choices=("cpu", "gpu"), default="cpu", help="of the framework of the run"
    )
    command.add_argument("--quiet", action="store_true", help="the verdict alone")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    add_timeout(command.add_argument_group("limits"))
    return command.parse_args()


def replay_batch(options: argparse.Namespace) -> int:
    """Replay the step of a folder; return the exit code.

    1: the first value that is not finite was found. 0: the step is finite, and code of the user's
    has changed since the run. 2: it cannot be read or run, or does not happen again.
    """
    from commands.align.errors import errors_of_nets
    from commands.replay.sides import ReplayedSide, StepReplay, opened
    from commands.replay.verdict import judged
    from common.terminal import working
    from common.training.faults.saved_step import read_step

    step = read_step(options.folder)
    opened(step.folders)
    own_net = step.settings.get("model", {}).get("kind") == "own"
    other: ReplayedSide | None = None
    reason = ""
    words = phrase("replaying iteration {iteration}", iteration=step.iteration + 1)
    with working(words, options.quiet):
        with errors_of_nets(step.framework) if own_net else nullcontext():
            replay = StepReplay(step, options.device)
            own = replay.own_side()
        try:
            if own.first is None or own.first.phase not in ("data", "weights"):
                with errors_of_nets(replay.other):
                    other = replay.other_side()
        except (UserError, ConfigError, ConversionError) as error:
            reason = str(error)
    result = judged(replay, own, other)
    sides = {own.framework: own, replay.other: other}
    if options.json:
        print_json(_as_json(options.folder, step, sides, reason, result))
    else:
        _show(step, sides, reason, result, options.quiet)
    return result.exit_code


def _as_json(folder: Path, step: Any, sides: Any, reason: str, result: Any) -> dict[str, Any]:
    from commands.replay.verdict import as_plain

    return {
        "folder": str(folder),
        "framework": step.framework,
        "iteration": step.iteration + 1,
        "lr": step.lr,
        "losses": {name: repr(value) for name, value in step.losses.items()},
        "images": step.images,
        "compiled": step.compiled,
        "sides": {name: as_plain(side, reason) for name, side in sides.items()},
        "verdict": result.kind,
        "exit_code": result.exit_code,
    }


def _show(step: Any, sides: Any, reason: str, result: Any, quiet: bool) -> None:
    from common.terminal import labelled, screen, verdict
    from common.training.faults.saved_step import told_images

    if not quiet:
        terms = ", ".join(f"{name} {value:g}" for name, value in step.losses.items())
        known = {"name": step.framework, "version": step.version, "lr": f"{step.lr:g}"}
        head = phrase(
            "iteration {iteration} of a run in {name} {version}: {terms}; rate {lr}",
            **{"iteration": step.iteration + 1, "terms": terms, **known},
        )
        say(head)
        rows = [(phrase("images"), told_images(step.images))]
        if step.compiled:
            rows.append((phrase("the net"), phrase("compiled in the run, here as it is written")))
        for name, side in sides.items():
            rows += [(name if not n else "", text) for n, text in enumerate(_lines(side, reason))]
        for line in labelled(rows, LABEL):
            say(line)
    verdict(screen(), result.exit_code, result.words)


def _lines(side: Any, reason: str) -> list[str]:
    from commands.replay.verdict import told_place, told_values

    if side is None:
        return [phrase("was not run: {reason}", reason=reason or phrase("nothing to run"))]
    if side.first is None:
        terms = ", ".join(f"{name} {value:g}" for name, value in side.losses.items())
        return [phrase("all is finite: {terms}", terms=terms)]
    lines = [told_place(side.first), told_values(side.first)]
    if side.first_nan:
        place = told_place(side.first_nan)
        lines.append(phrase("the first NaN stands {at}", at=place))
    return lines
