"""The whole ladder on one config: convert, align every rung, train, evaluate, summarise."""

import argparse
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import check_folder, command_line, parser, print_json, run


def main() -> int:
    """Reproduce and print the summary."""
    options = _parse()
    from align.report.write import write_run
    from commands.reproduce.ladder import Reproduction, new_folder
    from common.errors import UserError
    from common.settings.load import load_settings
    from common.terminal import screen

    name = load_settings(options.config, options.overrides).name
    folder = options.output or new_folder(name)
    if folder.exists():
        raise UserError(f"--output {folder} exists already; give a new folder")
    if options.checkpoint and not options.checkpoint.is_file():
        raise UserError(f"--checkpoint {options.checkpoint}: no such file")
    check_folder(options.report)
    progress = screen(stderr=True)
    progress.quiet = options.quiet
    reproduction = Reproduction(
        options.config,
        folder,
        fast=options.fast,
        overrides=tuple(options.overrides),
        checkpoint=options.checkpoint,
        say=lambda rung: progress.print(f"{rung} ...", style="dim"),
    )
    reproduction.found.environment["command"] = command_line()
    reproduction.run()
    if options.report:
        write_run(reproduction.found, options.report, "reproduce")
    if options.json:
        print_json({"folder": str(folder), "rungs": [vars(r) for r in reproduction.rungs]})
        return reproduction.exit_code
    _show(reproduction, folder, options.quiet)
    return reproduction.exit_code


def _show(reproduction: Any, folder: Path, quiet: bool) -> None:
    """Print the ladder, where everything is, and the verdict; `quiet`: the verdict alone."""
    from rich.table import Table

    from common.terminal import STYLES, screen, verdict

    console = screen()
    words = {0: "good", 1: "differs", 2: "unchecked"}
    if not quiet:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("rung", "", "seconds", "result"):
            table.add_column(
                column, overflow="fold", justify="right" if column == "seconds" else "left"
            )
        for rung in reproduction.rungs:
            style = STYLES[rung.exit_code]
            row = (rung.name, words[rung.exit_code], f"{rung.seconds:.1f}", rung.result)
            table.add_row(*row, style=style if rung.exit_code else None)
        console.print(table)
        console.print(f"everything is in {folder}")
        console.print(f"report: {folder / 'report' / 'reproduce.html'}")
    bad = [rung.name for rung in reproduction.rungs if rung.exit_code]
    said = f"{words[reproduction.exit_code]}: {len(reproduction.rungs)} rungs"
    more = f", not good: {', '.join(bad)}" if bad else ""
    verdict(console, reproduction.exit_code, said + more)


def _parse() -> argparse.Namespace:
    arguments = parser(__doc__ or "", "python tools/reproduce.py configs/stdc1_toy.yml --fast")
    arguments.add_argument("config", type=Path, help="a file of configs/")
    arguments.add_argument("overrides", nargs="*", metavar="key.sub=value")
    arguments.add_argument(
        "--checkpoint", type=Path, help="a PyTorch checkpoint (default: seeded weights)"
    )
    arguments.add_argument("--fast", action="store_true", help="every rung, on very little")
    arguments.add_argument("--output", type=Path, help="folder of the run (default: in runs/)")
    arguments.add_argument(
        "--report", type=Path, metavar="DIR", help="write the report here too (page, JSON, JUnit)"
    )
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    return arguments.parse_intermixed_args()


if __name__ == "__main__":
    run(main)
