"""The flow of `tools/benchmark.py`: one net, every way to run it, in one table."""

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from commands import entry, numbers
from commands.deploy.measure.ways import EXPORTED, WAYS, Measured, Task, measured, merged
from common.streams import messages
from common.words.language import phrase
from common.words.texts import error_said

EXAMPLE = "python tools/benchmark.py configs/stdc1.yml --size 512 1024"
SIZES = ((512, 1024), (768, 1536))  # of STDC's paper: Cityscapes at 0.5 and 0.75


def parse() -> argparse.Namespace:
    """Read the command line."""
    command = entry.parser(
        "Measure latency and images a second as the papers do (batch 1, warm-up, median), "
        "parameters, products and peak memory: eager Paddle, the exported net, ONNX Runtime and "
        "the reference in PyTorch, each in a process of its own.",
        EXAMPLE,
    )
    entry.add_config(command)
    command.add_argument("--weights", help=".pdparams or .pth (default: seeded ones)")
    command.add_argument(
        "--size",
        nargs=2,
        type=numbers.positive,
        action="append",
        metavar=("HEIGHT", "WIDTH"),
        help="several times for several sizes (default: 512 1024 and 768 1536)",
    )
    command.add_argument("--batch", type=numbers.positive, default=1)
    command.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    command.add_argument(
        "--runs", type=numbers.positive, default=20, help="that count (default 20)"
    )
    command.add_argument("--warm-up", type=numbers.positive, default=3, help="runs before them")
    command.add_argument(
        "--rounds", type=numbers.positive, default=1, help="processes of each way, in turn"
    )
    command.add_argument(
        "--threads", type=numbers.positive, default=os.cpu_count() or 1, help="of the kernels"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return command.parse_intermixed_args()


def run(options: argparse.Namespace) -> int:
    """Measure and print; return the exit code: 2 where a way could not be measured."""
    from common.environment import environment

    ways, absent = possible(options.ways)
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {way: f"{name} is not installed" for way, name in absent.items()}
    for size in sizes(options):
        found, errors = measure_size(options, ways, size)
        rows += [row_of(way, size, options.batch, result) for way, result in found.items()]
        failed |= errors
    result = {
        "net": str(options.config),
        "weights": options.weights,
        "batch": options.batch,
        "threads": options.threads,
        "rows": rows,
        "not_measured": failed,
        "environment": environment(),
    }
    if options.json:
        entry.print_json(result)
    else:
        show(result)
    return entry.CHECKED_GOOD if rows and set(failed) <= set(absent) else entry.COULD_NOT_CHECK


def possible(asked: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the ways that can be measured here, and {way: what is missing} of the others."""
    needs = {"onnxruntime": ("paddle2onnx", "onnxruntime"), "torch": ("torch",)}
    needs["torch_channels_last"] = ("torch",)
    missing = {
        way: name for way in asked for name in needs.get(way, ("paddle",)) if not find_spec(name)
    }
    return [way for way in asked if way not in missing], missing


def sizes(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Return the sizes to measure, as the net takes them."""
    from commands.deploy.subject_paddle import subject_of
    from commands.subjects.named.config import read_config
    from export.deployment import fitting

    step = subject_of(read_config(options.config, options.overrides), None).size_step
    given = options.size or SIZES
    return [(fitting(height, step), fitting(width, step)) for height, width in given]


def measure_size(
    options: argparse.Namespace, ways: Sequence[str], size: tuple[int, int]
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Return {way: what was measured} and {way: why it was not} for one size."""
    from common.errors import UserError

    found: dict[str, list[Measured]] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        exports = [way for way in ways if way in EXPORTED]
        if exports:
            _tell(options, phrase("exporting {size}", size=f"{size[0]}x{size[1]}"))
            _export(options, size, Path(folder) / "export", exports)
        for task in _tasks(options, ways, size, Path(folder) / "export"):
            if task.way in failed:
                continue
            _tell(options, phrase("measuring {way}", way=WAYS[task.way]))
            try:
                found.setdefault(task.way, []).append(measured(task))
            except UserError as error:
                failed[task.way] = str(error)
                found.pop(task.way, None)
    return {way: merged(runs) for way, runs in found.items() if runs}, failed


def _tasks(
    options: argparse.Namespace, ways: Sequence[str], size: tuple[int, int], folder: Path
) -> Iterator[Task]:
    for _ in range(options.rounds):
        for way in ways:
            yield Task(
                way,
                str(options.config),
                tuple(options.overrides),
                options.weights,
                str(folder) if way in EXPORTED else None,
                (options.batch, 3, *size),
                options.threads,
                options.warm_up,
                options.runs,
            )


def _export(
    options: argparse.Namespace, size: tuple[int, int], folder: Path, engines: Sequence[str]
) -> None:
    from commands.deploy.subject_paddle import subject_of
    from commands.subjects.named.config import read_config
    from export.make.job_paddle import export_net

    subject = subject_of(read_config(options.config, options.overrides), options.weights)
    deployment = subject.deployment(
        batch=options.batch, height=size[0], width=size[1], net_size=True
    )
    formats = ("paddle", "onnx") if "onnxruntime" in engines else ("paddle",)
    export_net(subject.build, deployment, folder, formats)


def _tell(options: argparse.Namespace, words: str) -> None:
    if not options.quiet:
        print(f"{words} ...", file=messages(), flush=True)


def row_of(way: str, size: tuple[int, int], batch: int, found: Measured) -> dict[str, Any]:
    """Return one row of the table as plain values."""
    return {
        "way": way,
        "height": size[0],
        "width": size[1],
        "median_ms": found.median_s * 1e3,
        "min_ms": min(found.seconds) * 1e3,
        "images_per_s": batch / found.median_s,
        "peak_mb": found.peak_bytes / 1e6,
        "parameters": found.parameters,
        "macs": found.macs,
    }


def show(result: dict[str, Any]) -> None:
    """Print the table for people."""
    from rich.table import Table

    from common.terminal import labelled, screen

    console = screen()
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for head in ("size", "median ms", "min ms", "images/s", "peak MB"):
        table.add_column(phrase(head), justify="right")
    for row in result["rows"]:
        numbers = (row["median_ms"], row["min_ms"], row["images_per_s"], row["peak_mb"])
        shown = [f"{number:.1f}" for number in numbers]
        table.add_row(WAYS[row["way"]], f"{row['height']}x{row['width']}", *shown)
    console.print(table)
    counted = [row for row in result["rows"] if row["macs"]]
    rows = [(phrase("parameters"), f"{row['parameters'] / 1e6:.2f} M") for row in counted[:1]]
    rows += [
        (f"{phrase('products')}, {row['height']}x{row['width']}", f"{row['macs'] / 1e9:.2f} G")
        for row in counted
    ]
    rows.append((phrase("threads"), str(result["threads"])))
    rows += [
        (WAYS[way], phrase("not measured: {why}", why=error_said(why)))
        for way, why in result["not_measured"].items()
    ]
    for line in labelled(rows):
        console.print(line)
