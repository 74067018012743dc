"""The flow of `chain`: the last checkpoint of the reproduction guide, on eight images."""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from commands import entry, numbers
from commands.chain.lite import IMAGES, write_lite
from commands.chain.steps import Step, run_step, training_lines
from commands.parser import complain
from common.errors import UserError
from common.files import make_folder, whole_file, whole_folder
from common.locks import alone_at
from common.streams import say
from common.terminal import screen, verdict
from common.words.language import phrase

Run = Callable[[str, list[str]], Step]
PICTURES = ("ids", "overlay", "sheet")


def parse(description: str, example: str) -> argparse.Namespace:
    """Read the command line."""
    command = entry.parser(description, example)
    entry.add_config(command, "a file of configs/, or your own")
    command.add_argument(
        "--steps", type=numbers.positive, default=4, help="of training (%(default)s)"
    )
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="new folder of the chain (runs/<name>_chain)"
    )
    command.add_argument("--threads", type=numbers.positive, help="of the kernels on the CPU")
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_intermixed_args()


def chain(options: argparse.Namespace) -> int:
    """Run the chain, say how each step ended, and return the exit code."""
    from commands.subjects.named.config import read_config

    settings = read_config(options.config, options.overrides)
    folder = options.output or Path("runs") / f"{settings.name}_chain"
    with alone_at(folder):
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} is there already; give another --output, or remove it")
        return _chain(options, settings, folder)


def _chain(options: argparse.Namespace, settings: Any, folder: Path) -> int:
    """Run the chain in `folder`, which nobody else writes in."""
    make_folder(folder)
    config = write_lite(settings, folder, options.steps)
    quiet, beside = options.quiet or options.json, options.config.resolve().parent

    def run(name: str, arguments: list[str]) -> Step:
        return run_step(name, arguments, beside, quiet)

    steps: list[Step] = []
    for step in steps_of(config, folder, run, options.threads):
        steps.append(step)
        if not quiet:
            _show(step, folder)
        elif step.code:
            complain(step.said.rstrip())
    write_results(steps, folder / "results.log")
    return _tell(options, steps, folder)


def steps_of(config: Path, folder: Path, run: Run, threads: int | None) -> Iterator[Step]:
    """Yield train, evaluate, export and predict as they end; the first that fails is the last.

    A step whose exit code is 0 and that did not do what it should has failed, too.
    """
    more = [] if threads is None else ["--threads", str(threads)]
    trained = run("train", [str(config), f"output={folder / 'run'}", *more])
    yield _checked(trained, _has_trained)
    if trained.code:
        return
    weights = str(trained.result["weights"])
    scored = run("evaluate", [str(config), "--weights", weights, *more])
    yield _checked(scored, lambda result: 0 <= result["mean_iou"] <= 1)
    if scored.code:
        return
    exported = run(
        "export", [str(config), "--weights", weights, "-o", str(folder.resolve() / "exported")]
    )
    yield _checked(exported, lambda result: bool(result["equal"]))
    if exported.code:
        return
    photos = _photos(folder)
    results = ["--output", str(folder / "predictions"), *more]
    shown = run("predict", ["--model", str(folder / "exported"), str(photos), *results])
    count = len(list(photos.glob("*.png")))
    yield _checked(shown, lambda result: _has_pictures(result, count))


def _photos(folder: Path) -> Path:
    """Return the folder of the lite images; of data of the user's own one of blank ones."""
    if (folder / "data" / "images").is_dir():
        return folder / "data" / "images"
    from PIL import Image

    with whole_folder(folder / "blank") as draft:
        for number in range(IMAGES):
            Image.new("RGB", (96, 64), (30 * number,) * 3).save(draft / f"{number}.png")
    return folder / "blank"


def _checked(step: Step, did: Callable[[Mapping[str, Any]], bool]) -> Step:
    """Return the step, failed where its exit code says otherwise than its result."""
    try:
        good = bool(did(step.result))
    except (KeyError, TypeError):
        good = False
    if step.code == 0 and not good:
        step.code = entry.CHECKED_BAD
    return step


def _has_trained(result: Mapping[str, Any]) -> bool:
    lines = training_lines(Path(result["folder"]))
    return result["finished"] and len(lines) > 0 and Path(result["weights"]).is_file()


def _has_pictures(result: Mapping[str, Any], count: int) -> bool:
    paths = [item["outputs"][kind] for item in result["items"] for kind in PICTURES]
    shares = [sum(item["classes"].values()) for item in result["items"]]
    whole = all(math.isclose(share, 1, abs_tol=1e-3) for share in shares)
    return len(result["items"]) == count and whole and all(Path(path).is_file() for path in paths)


def _show(step: Step, folder: Path) -> None:
    """Print what a step came to."""
    if step.name == "train":
        for line in training_lines(folder / "run"):
            say(line)
    if step.name == "evaluate" and "mean_iou" in step.result:
        say(f"[EVAL] mIoU: {step.result['mean_iou']:.4f}, images: {step.result['images']}")
    say(_ended(step))


def _ended(step: Step) -> str:
    """Return the line of a step, in the words of the guide's chain test."""
    how = "failed" if step.code else "successfully"
    return f"Run {how} with command - {step.command}"


def write_results(steps: list[Step], path: Path) -> None:
    """Write a line a step."""
    with whole_file(path) as draft:
        draft.write_text("".join(f"{_ended(step)}\n" for step in steps), encoding="utf-8")


def _tell(options: argparse.Namespace, steps: list[Step], folder: Path) -> int:
    """Print the verdict; return the exit code: 0, or that of the step that failed."""
    last = steps[-1]
    names = ", ".join(phrase(step.name) for step in steps if not step.code)
    if last.code:
        step = {"step": phrase(last.name), "code": last.code, "command": last.command}
        words = phrase("the chain broke at {step} (exit code {code}): {command}", **step)
    else:
        words = phrase("the chain holds: {names}, on {count} images", names=names, count=IMAGES)
    if options.json:
        rows = [{"name": s.name, "command": s.command, "exit_code": s.code} for s in steps]
        result = {"folder": str(folder), "steps": rows, "exit_code": last.exit_code}
        speed = training_lines(folder / "run")
        entry.print_json({**result, "training": speed, "verdict": words})
    else:
        verdict(screen(), min(last.exit_code, 2), words)
    return last.exit_code
