"""The flow of `reproduce`: climb the ladder, then print the summary."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands.entry import check_folder, print_json, verdict_stands
from common.errors import UserError
from common.locks import alone_at
from common.words.language import language, phrase, said
from common.words.typed import command_line


def reproduce(options: argparse.Namespace) -> int:
    """Climb every rung that the options ask for; return the exit code of the run."""
    from commands.reproduce.ladder import new_folder
    from common.settings.load import load_settings

    overrides = [*options.overrides, *(["reproduce.train_both=true"] if options.both else [])]
    name = load_settings(options.config, overrides).name
    folder = options.output or new_folder(name)
    with alone_at(folder):
        if folder.exists():
            raise UserError(f"--output {folder} exists already; give a new folder")
        return _reproduce(options, folder, overrides)


def _reproduce(options: argparse.Namespace, folder: Path, overrides: Sequence[str]) -> int:
    """Climb the rungs in `folder`, which nobody else writes in; return the exit code."""
    from align.report.write import write_run
    from commands.reproduce.ladder import Reproduction
    from common.terminal import screen

    if options.checkpoint and not options.checkpoint.is_file():
        raise UserError(f"--checkpoint {options.checkpoint}: no such file")
    check_folder(options.report, ["reproduce"])
    progress = screen(stderr=True)
    progress.quiet = options.quiet
    reproduction = Reproduction(
        options.config,
        folder,
        fast=options.fast,
        overrides=tuple(overrides),
        checkpoint=options.checkpoint,
        climbing=lambda rung: _climbing(rung, options.quiet),
    )
    reproduction.found.environment["command"] = command_line()
    if reproduction.shortened:
        settings = " ".join(reproduction.shortened)
        line = phrase("--fast sets {settings}", settings=settings)
        progress.print(line, style="dim", soft_wrap=True)
    reproduction.run()
    if options.report:
        with verdict_stands(options.report, "reproduce"):
            write_run(reproduction.found, options.report, "reproduce")
    if options.json:
        print_json({"folder": str(folder), "rungs": [vars(r) for r in reproduction.rungs]})
        return reproduction.exit_code
    _show(reproduction, folder, options.quiet)
    return reproduction.exit_code


@contextmanager
def _climbing(rung: str, quiet: bool) -> Iterator[None]:
    """Show how far a rung is; the training, a command of its own, shows that itself."""
    from align.nets import progress
    from commands.reproduce.ladder import TRAININGS
    from common.terminal import screen, working

    console = screen(stderr=True)
    if rung not in TRAININGS:
        progress.begin("")
        if console.is_terminal and not quiet:
            progress.count_calls()
        with working(said(rung), quiet, progress.progress):
            yield
        return
    if not quiet:
        console.print(f"{said(rung)} ...", style="dim")
    yield


def _show(reproduction: Any, folder: Path, quiet: bool) -> None:
    """Print the ladder, where everything is, and the verdict; `quiet`: the verdict alone."""
    from rich.table import Table

    from align.judge.words import Words, listed, outcome, printed
    from common.terminal import STYLES, screen, verdict

    console = screen()
    words = {0: "good", 1: "differs", 2: "unchecked"}
    if not quiet:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("rung", "", "seconds", "result"):
            side: Any = "right" if column == "seconds" else "left"
            table.add_column(phrase(column) if column else "", overflow="fold", justify=side)
        for rung in reproduction.rungs:
            style = STYLES[rung.exit_code]
            result = outcome(rung.result)[language()]
            how = phrase(words[rung.exit_code]), f"{rung.seconds:.1f}", result
            table.add_row(said(rung.name), *how, style=style if rung.exit_code else None)
        console.print(table)
        console.print(phrase("everything is in {folder}", folder=folder))
        console.print(phrase("report: {path}", path=folder / "report" / "reproduce.html"))
    wrong = [Words.told(rung.name) for rung in reproduction.rungs if rung.exit_code]
    bad = printed(listed(wrong, "also")) if wrong else ""  # names have commas of their own
    word, count = phrase(words[reproduction.exit_code]), len(reproduction.rungs)
    line = phrase("{word}: {count} rungs", word=word, count=count)
    line = phrase("{said}, not good: {names}", said=line, names=bad) if bad else line
    verdict(console, reproduction.exit_code, line)
