"""The flows of `make_toy_cityscapes` and `make_toy_volumes`."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from commands.entry import CHECKED_GOOD, print_json
from common.data.toy import write_toy_cityscapes
from common.locks import alone_at
from common.streams import say
from common.words.language import phrase


def write_toy(options: argparse.Namespace) -> int:
    """Write the toy set that the options ask for, and say what was written."""
    about, seconds = _written(write_toy_cityscapes, options, "layout", "size_hw")
    if options.json:
        print_json({"dir": options.dir, **about})
    else:
        values = {"size": f"{about['width']}x{about['height']}", "folder": options.dir, **about}
        what = "{folder}: {train} train and {val} val frames of {size}, seed {seed}, in {seconds} s"
        say(phrase(what, seconds=seconds, **values))
    return CHECKED_GOOD


def write_toy_of_volumes(options: argparse.Namespace) -> int:
    """Write the toy volumes that the options ask for, and say what was written."""
    from common.data.toy.volumes import write_toy_volumes

    about, seconds = _written(write_toy_volumes, options, "format", "shape")
    if options.json:
        print_json({"dir": options.dir, **about})
    else:
        values = {"size": "x".join(map(str, about["shape"])), "folder": options.dir}
        values |= {name: about[name] for name in ("train", "val", "seed")}
        what = (
            "{folder}: {train} train and {val} val volumes of {size}, seed {seed}, in {seconds} s"
        )
        say(phrase(what, seconds=seconds, **values))
    return CHECKED_GOOD


def _written(
    write: Callable[..., dict[str, Any]], options: argparse.Namespace, *own: str
) -> tuple[dict[str, Any], str]:
    """Write a set, with a bar on a terminal; return what its marker holds, and how long it took.

    own: options that the set has beside those of any.
    """
    begin = time.monotonic()
    columns: Sequence[Any] = (
        *("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
    )
    console, quiet = Console(file=sys.stderr), not sys.stderr.isatty()
    given = {name: getattr(options, name) for name in (*own, "train", "val", "seed")}
    with (
        alone_at(Path(options.dir)),
        Progress(*columns, console=console, transient=True, disable=quiet) as bar,
    ):
        task = bar.add_task("frames", total=None)
        about = write(
            options.dir,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            force=options.force,
            **{name: value for name, value in given.items() if value is not None},
        )
    return about, f"{time.monotonic() - begin:.0f}"
