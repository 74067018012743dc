"""The flow of `make_toy_cityscapes`."""

import argparse
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from commands.entry import CHECKED_GOOD, print_json
from common.data.toy import write_toy_cityscapes
from common.streams import say
from common.words.language import phrase


def write_toy(options: argparse.Namespace) -> int:
    """Write the toy set that the options ask for, and say what was written."""
    begin = time.monotonic()
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console, quiet = Console(file=sys.stderr), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("frames", total=None)
        about = write_toy_cityscapes(
            options.dir,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            force=options.force,
            **{
                key: value
                for key in ("layout", "train", "val", "size_hw", "seed")
                if (value := getattr(options, key)) is not None
            },
        )
    if options.json:
        print_json({"dir": options.dir, **about})
    else:
        values = {"size": f"{about['width']}x{about['height']}", "folder": options.dir, **about}
        what = "{folder}: {train} train and {val} val frames of {size}, seed {seed}, in {seconds} s"
        say(phrase(what, seconds=f"{time.monotonic() - begin:.0f}", **values))
    return CHECKED_GOOD
