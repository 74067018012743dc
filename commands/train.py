"""The flow of the two training commands: their command line, and how a run ends."""

import argparse
import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from commands import entry, numbers
from common.processes.place import LAUNCHERS, place_of
from common.streams import say
from common.words.language import phrase
from common.words.texts import help_said
from common.words.typed import command_line

SIDES = {"PyTorch": "torch", "Paddle": "paddle"}
EXAMPLE = "python tools/{} configs/stdc1_toy.yml train.iterations=100 --resume auto"
ENDING = (
    "stop: Ctrl-C or SIGTERM finishes the step, saves a checkpoint and exits with 130 or 143; "
    "`--resume auto` goes on from there\nexit: 1 the loss became NaN or infinite"
)


def parse(framework: str) -> argparse.Namespace:
    """Read the command line, and set the number of threads before a framework is loaded."""
    command = entry.parser(f"Train a net in {framework}.", EXAMPLE.format(Path(sys.argv[0]).name))
    launcher = f"{help_said('several processes:')} {LAUNCHERS[SIDES[framework]]}"
    command.epilog = f"{command.epilog}\n{help_said(ENDING)}\n{launcher}"
    command.set_defaults(framework=framework)
    entry.add_config(command)
    command.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    command.add_argument(
        "--resume", metavar="auto|FILE", help="the newest sound checkpoint, or a given one"
    )
    command.add_argument(
        "--threads",
        type=numbers.positive,
        default=max((os.cpu_count() or 1) // place_of(SIDES[framework]).local_size, 1),
        help="of the framework's kernels on the CPU; results are equal to the bit for one number",
    )
    command.add_argument(
        "--show-schedule", action="store_true", help="print the learning rates; train nothing"
    )
    command.add_argument("--report", metavar="DIR", help="write page, JSON and JUnit XML")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    # Overrides may stand before, between and after the options.
    options = command.parse_intermixed_args()
    # Paddle's kernels follow MKL's number, and it warns of any other of OpenMP's than 1.
    name = "MKL_NUM_THREADS" if framework == "Paddle" else "OMP_NUM_THREADS"
    os.environ[name] = str(options.threads)
    return options


def train_torch(options: argparse.Namespace) -> int:
    """Read settings, data and weights, then train in PyTorch."""
    return _train(options, "torch")


def train_paddle(options: argparse.Namespace) -> int:
    """Read settings, data and weights, then train in Paddle."""
    return _train(options, "paddle")


def _train(options: argparse.Namespace, framework: str) -> int:
    from commands.align.errors import errors_of_nets
    from commands.subjects.named.config import SECTIONS, own_section, read_config
    from commands.subjects.named.frameworks import parts_of, processes_of
    from commands.train_start import initialised

    settings = read_config(options.config, options.overrides)
    group = processes_of(settings, framework, options.device)
    parts = parts_of(settings, framework)
    if options.show_schedule:
        return show_schedule(options, parts)
    data = parts.data()
    side = parts.side(options.device)
    settings = parts.settings  # weights of classes that were to come from the data are numbers now
    if group.several:
        side.group = group
        group.synchronise(side.net, settings.processes.sync_norm)
    guides: dict[str, Any] = {
        "initialise": lambda: initialised(settings, side.net, framework),
        "rate": parts.rate(side.net, side.criterion),
        "evaluator": parts.evaluator(data),
    }
    own = any(own_section(settings, name) for name in SECTIONS)
    with errors_of_nets(settings.model.name) if own else nullcontext():
        code = run(options, settings, side, data, **guides)
    group.leave()
    return code


def run(options: argparse.Namespace, settings: Any, side: Any, data: Any, **guides: Any) -> int:
    """Train, say how it ended, and return the exit code; `guides` go to `train`."""
    from common.training import Reporter, train
    from common.training.screen import TrainingScreen

    first = side.group.is_first
    if first:
        entry.check_folder(options.report, ["train"])
    reporter = TrainingScreen() if first and not options.quiet else Reporter()
    start = time.monotonic()
    outcome = train(settings, side, data, resume=options.resume, reporter=reporter, **guides)
    code = 128 + outcome.stopped_by if outcome.stopped_by else entry.CHECKED_GOOD
    if first:
        _tell(options, settings.name, summary(outcome), time.monotonic() - start)
    return code


def _tell(
    options: argparse.Namespace, name: str, result: Mapping[str, Any], seconds: float
) -> None:
    """Print and write what the training came to."""
    if options.report:
        with entry.verdict_stands(options.report, "train"):
            written = write_report(options, name, result, seconds)
            if not options.json and not options.quiet:
                say(phrase("written: {paths}", paths=", ".join(map(str, written))))
    if options.json:
        entry.print_json(result)
    else:
        show(result, options.quiet)


SHOWN, BAR = 16, 40  # rates of a schedule, columns of the largest


def show_schedule(options: argparse.Namespace, parts: Any) -> int:
    """Print rates of the whole run, as they are without a plateau's reductions."""
    from commands.subjects.named.config import own_section
    from common.settings.own import InOptimizer

    settings = parts.settings
    rate = settings.learning_rate
    if own_section(settings, "schedule") or isinstance(settings.schedule, InOptimizer):
        side = parts.side(options.device)
        rate = parts.rate(side.net, side.criterion)
    last = settings.train.iterations - 1
    steps = sorted({round(number * last / (SHOWN - 1)) for number in range(SHOWN)})
    rates = [(step + 1, rate(step, 0)) for step in steps]
    if options.json:
        entry.print_json({"schedule": settings.schedule.name, "rates": rates})
        return entry.CHECKED_GOOD
    largest = max(value for _, value in rates) or 1.0
    for iteration, value in rates:
        label = phrase("iteration {iteration}", iteration=iteration)
        say(f"{label:<20} {value:.3e} {'#' * round(BAR * value / largest)}".rstrip())
    return entry.CHECKED_GOOD


def summary(outcome: Any) -> dict[str, Any]:
    """Return the outcome as plain values, with IoU by class of the last validation."""
    from common.training.faults.broken_images import read_broken
    from common.training.logs import is_validation, read_log

    validations = [row for row in read_log(outcome.folder / "log.jsonl") if is_validation(row)]
    return {
        "folder": str(outcome.folder),
        "iteration": outcome.iteration,
        "finished": outcome.stopped_by is None,
        "stopped_early": outcome.stopped_early,
        "best_mean_iou": outcome.best.mean_iou if outcome.best else None,
        "best_metric": outcome.best.metric if outcome.best else None,
        "best_pq": outcome.best.pq if outcome.best else None,
        "best_ap": outcome.best.ap if outcome.best else None,
        "best_iteration": outcome.best.iteration if outcome.best else None,
        "validation": validations[-1] if validations else None,
        "broken_images": len(read_broken(outcome.folder)),
        "weights": str(outcome.weights) if outcome.weights else None,
        "checkpoint": str(outcome.checkpoint),
    }


def write_report(
    options: argparse.Namespace, name: str, result: Mapping[str, Any], seconds: float
) -> list[Path]:
    """Write the page of a training, its JSON and JUnit XML; return the paths."""
    from align.judge.words import Words
    from align.report.run import Run, Rung
    from align.report.write import write_run
    from common.training.logs import read_log

    run = Run(Words("title_train", name=name, framework=options.framework))
    code = entry.CHECKED_GOOD if result["finished"] else entry.COULD_NOT_CHECK
    run.rungs.append(Rung("train", code, said(result), round(seconds, 1)))
    log = read_log(Path(result["folder"]) / "log.jsonl")
    run.training = {"framework": options.framework, "log": log}
    run.environment |= {"command": command_line(), "seconds": round(seconds, 1)}
    return write_run(run, Path(options.report), "train")


def said(result: Mapping[str, Any]) -> Any:
    """Return what the training came to, in one line, as Words."""
    from align.judge.words import Words

    if not result["finished"]:
        return Words("stopped", iteration=result["iteration"])
    best = result["best_mean_iou"]
    proof = Words("training_not_validated")
    if result["best_metric"] is not None:
        proof = Words(
            "best_metric", metric=result["best_metric"], value=math.nan if best is None else best
        )
    elif result["best_pq"] is not None:
        proof = Words("best_pq", pq=result["best_pq"], value=best)
    elif result["best_ap"] is not None:
        proof = Words("best_ap", ap=result["best_ap"])
    elif best is not None:
        proof = Words("best_mean_iou", value=best)
    return Words("training_done", iterations=result["iteration"], proof=proof)


def show(result: Mapping[str, Any], quiet: bool = False) -> None:
    """Print the result for people; `quiet`: the verdict alone."""
    from align.judge.words import printed
    from common.terminal import screen, verdict

    console = screen()
    if not quiet:
        _show_files(console, result)
    verdict(console, entry.CHECKED_GOOD if result["finished"] else 2, printed(said(result)))


LABEL = 12  # columns


def _show_files(console: Any, result: Mapping[str, Any]) -> None:
    from common.terminal import labelled

    rows: list[tuple[str, str]] = []
    if result["validation"]:
        from common.training.screen import class_table

        validation = result["validation"]
        named = {"mask AP": "ap_by_class", "box AP": "box_ap_by_class"}
        named |= {"PQ": "pq_by_class", "IoU": "iou"}
        console.print(class_table({k: validation[n] for k, n in named.items() if n in validation}))
        label, key = ("mIoU", "mean_iou") if "mean_iou" in validation else ("mask AP", "ap")
        undefined = phrase("undefined (a class occurs nowhere)")
        shown = undefined if validation[key] is None else f"{validation[key]:.4f}"
        rows.append((phrase(label), _at(shown, validation["iteration"])))
    bests = {"best_metric": "best metric", "best_pq": "best PQ", "best_ap": "best mask AP"}
    bests["best_mean_iou"] = "best mIoU"
    for key, label in bests.items():
        if result[key] is not None:
            rows.append((phrase(label), _at(f"{result[key]:.4f}", result["best_iteration"])))
            break
    if result["weights"]:
        rows.append((phrase("weights"), result["weights"]))
    rows.append((phrase("checkpoint"), result["checkpoint"]))
    for line in labelled(rows, LABEL):
        say(line)


def _at(value: str, iteration: int) -> str:
    return phrase("{value} in iteration {iteration}", value=value, iteration=iteration)
