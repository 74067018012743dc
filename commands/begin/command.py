"""The flow of `new_reproduction`: ask, write what is missing, say what is to be filled in."""

import argparse
import sys
from pathlib import Path

from commands.begin.answers import answers_of
from commands.begin.check import READY, State, states
from commands.begin.files import write_missing
from commands.entry import CHECKED_BAD, CHECKED_GOOD, print_json
from commands.subjects.named.config import read_config
from common.errors import UserError
from common.locks import alone_inside
from common.words.language import comma, phrase, said
from common.words.texts import error_said
from common.words.typed import command


def new_reproduction(options: argparse.Namespace) -> int:
    """Write config and stubs where there is no config, then check what there is."""
    config, written = config_in(options.dir, options.name), []
    if config is None:
        asks = sys.stdin.isatty() and not options.yes
        answers = answers_of(options, options.dir, input if asks else None)
        with alone_inside(options.dir):
            written = write_missing(options.dir, answers)
        config = options.dir / f"{answers['name']}.yml"
    found = states(read_config(config))
    if options.json:
        rows = [vars(state) for state in found]
        print_json({"config": str(config), "written": list(map(str, written)), "states": rows})
    else:
        _show(config, written, found)
    ready = all(state.code == READY for state in found)
    return CHECKED_GOOD if ready or written else CHECKED_BAD


def config_in(folder: Path, name: str | None) -> Path | None:
    """Return the config in a folder, None for none; UserError where it is one of several."""
    if folder.is_file():
        raise UserError(f"{folder}: is a file; give a folder to begin in")
    named = folder / f"{name}.yml"
    if name is not None:
        return named if named.is_file() else None
    found = [path for path in sorted(folder.glob("*.yml")) if _is_config(path)]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: holds several configs ({listed}); say which by --name")
    return found[0] if found else None


def _is_config(path: Path) -> bool:
    return any(line.startswith("model:") for line in path.read_text("utf-8").splitlines())


def _show(config: Path, written: list[Path], found: list[State]) -> None:
    """Print what was written, the state of each thing, and what to do next."""
    from rich.table import Table

    from common.terminal import STYLES, screen, verdict

    console = screen()
    if written:
        console.print(phrase("written: {paths}", paths=comma().join(map(str, written))))
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    words = {0: "ready", 1: "to fill in", 2: "does not work"}
    below: list[str] = []  # further lines of what a state says
    for state in found:
        style = STYLES[2 if state.code == 1 else 1] if state.code else None
        first, *more = error_said(said(state.said)).splitlines() or [""]
        table.add_row(state.what, phrase(words[state.code]), first, style=style)
        below += more
    console.print(table)
    for line in below:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    left = [state for state in found if state.code]
    then = command("reproduce", config)
    if left:
        todo = (
            "1 thing is to be filled in or mended; then: {command}"
            if len(left) == 1
            else "{count} things are to be filled in or mended; then: {command}"
        )
        line = phrase(todo, count=len(left), command=then)
        verdict(console, 2 if written else 1, line)
    else:
        verdict(console, 0, phrase("ready: {command}", command=then))
