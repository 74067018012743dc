"""What the alignment commands share: their options, their two nets, and how they end."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _entry import check_folder, command_line, not_negative, parser, print_json


def arguments(description: str, example: str, table: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that every alignment command has.

    `table`: the nets are rows of the table, on an input of any shape; else a config's.
    """
    command = parser(description, example)
    net = command.add_argument_group("the nets")
    if table:
        net.add_argument("--model", help="row of the table (default: stdc2_seg)")
        net.add_argument("--all", action="store_true", help="every row of the table")
    else:
        command.set_defaults(model=None, all=False, input_shape=None)
    net.add_argument("--weights", metavar="FILE", help="a PyTorch checkpoint for both nets")
    net.add_argument(
        "--seed", type=not_negative, default=0, help="of weights and input (default: 0)"
    )
    group = command.add_argument_group("the run")
    if table:
        group.add_argument("--input-shape", type=int, nargs=4, metavar=("N", "C", "H", "W"))
    group.add_argument("--report", metavar="DIR", help="write page, JSON, CSV, picture, JUnit XML")
    group.add_argument("--json", action="store_true", help="print the report as JSON on stdout")
    return command


def parse(command: argparse.ArgumentParser, argv: list[str] | None = None) -> Any:
    """Parse and refuse what contradicts itself."""
    options = command.parse_args(argv) if argv is not None else command.parse_intermixed_args()
    if options.all and (options.weights or options.model):
        command.error("--all takes neither --model nor --weights")
    return options


def nets(options: Any, name: str | None, overrides: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Return (torch net, Paddle net, row) as the options say."""
    from align import subjects

    if options.weights:
        return subjects.pair_with_weights(options.weights, name)
    name = name or "stdc2_seg"
    torch_net, paddle_net = subjects.seeded_pair(name, options.seed, **overrides)
    return torch_net, paddle_net, name


def image(options: Any, name: str, train: bool) -> Any:
    """Return the seeded input [N, C, H, W] of the options, or of the row."""
    from align import subjects
    from common.pairs import get_pair

    default = get_pair(name).default_input
    shape = tuple(options.input_shape or default)
    subjects.check_input_shape(shape, default[1], train)
    print(f"aligning {name} on {list(shape)} ...", file=sys.stderr)
    return subjects.seeded_input(shape, options.seed)


def align_each(
    options: Any,
    stage: str,
    title: str,
    align: Callable[[Any, Any, str], Any],
    overrides: Mapping[str, Any] | None = None,
) -> int:
    """Align the rows that the options ask for, print their reports, return the worst exit code."""
    from rich.console import Console

    from align import subjects, terminal
    from common.pairs import PAIRS

    check_folder(options.report)
    screen = Console(stderr=options.json, width=None if sys.stdout.isatty() else 160)
    reports = []
    for row in list(PAIRS) if options.all else [options.model]:
        report = _align_row(options, row, overrides or {}, align)
        reports.append(report)
        name = report.settings["model"]
        terminal.print_report(report, screen, f"{name}, {title}")
        if options.report:
            stem = f"{stage}_{name}" if options.all else stage
            written = subjects.write_report(report, Path(options.report), stem)
            screen.print(f"written: {', '.join(map(str, written))}", highlight=False)
    if options.json:
        print_json([report.to_dict() for report in reports])
    codes = {report.exit_code for report in reports}
    return 1 if 1 in codes else max(codes)


def _align_row(
    options: Any, row: str | None, overrides: Mapping[str, Any], align: Callable[..., Any]
) -> Any:
    """Align one row; its nets are gone afterwards."""
    from common.errors import UserError

    start = time.monotonic()
    torch_net, paddle_net, name = nets(options, row, overrides)
    try:
        report = align(torch_net, paddle_net, name)
    except (RuntimeError, ValueError) as error:  # of a net: too small an image, say
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{name} cannot run on this input: {reason}") from error
    report.settings |= {"model": name, "seed": options.seed, "weights": options.weights}
    seconds = round(time.monotonic() - start, 2)
    report.environment |= {"command": command_line(), "seconds": seconds}
    return report
