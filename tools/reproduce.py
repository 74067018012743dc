"""The whole ladder on one config: convert, align every rung, train, evaluate, summarise."""

import argparse
from pathlib import Path

from _entry import parser, print_json, run


def main() -> int:
    """Reproduce and print the summary."""
    options = _parse()
    from rich.console import Console
    from rich.table import Table

    from align.reproduce import Reproduction, new_folder
    from common.config import load_settings
    from common.errors import UserError

    name = load_settings(options.config, options.overrides).name
    folder = options.output or new_folder(name)
    if folder.exists():
        raise UserError(f"--output {folder} exists already; give a new folder")
    if options.checkpoint and not options.checkpoint.is_file():
        raise UserError(f"--checkpoint {options.checkpoint}: no such file")
    progress = Console(stderr=True)
    reproduction = Reproduction(
        options.config,
        folder,
        fast=options.fast,
        overrides=tuple(options.overrides),
        checkpoint=options.checkpoint,
        say=lambda rung: progress.print(f"{rung} ...", style="dim", highlight=False),
    )
    reproduction.run()
    if options.json:
        print_json({"folder": str(folder), "rungs": [vars(r) for r in reproduction.rungs]})
        return reproduction.exit_code
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("rung", "", "seconds", "result"):
        table.add_column(
            column, overflow="fold", justify="right" if column == "seconds" else "left"
        )
    words = {0: "[green]good[/]", 1: "[red]differs[/]", 2: "[yellow]unchecked[/]"}
    for rung in reproduction.rungs:
        table.add_row(rung.name, words[rung.exit_code], f"{rung.seconds:.1f}", rung.result)
    screen = Console(width=None if Console().is_terminal else 160)
    screen.print(table)
    screen.print(f"everything is in {folder}", highlight=False)
    return reproduction.exit_code


def _parse() -> argparse.Namespace:
    arguments = parser(__doc__ or "", "python tools/reproduce.py configs/stdc1_toy.yml --fast")
    arguments.add_argument("config", type=Path, help="a file of configs/")
    arguments.add_argument("overrides", nargs="*", metavar="key.sub=value")
    arguments.add_argument(
        "--checkpoint", type=Path, help="a PyTorch checkpoint (default: seeded weights)"
    )
    arguments.add_argument("--fast", action="store_true", help="every rung, on very little")
    arguments.add_argument("--output", type=Path, help="folder of the run (default: in runs/)")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    return arguments.parse_intermixed_args()


if __name__ == "__main__":
    run(main)
