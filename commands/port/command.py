"""The flow of `port`: record the reference, write the port, prove it, hand it over."""

import argparse
import time
from pathlib import Path
from typing import Any

from commands import entry, numbers
from commands.guard import add_timeout
from common.errors import UserError
from common.files import sweep_inside
from common.locks import alone_at, tell_swept
from common.streams import say
from common.terminal import screen, verdict
from common.words.language import said

MODES = ("eval", "train")


def parse(description: str, example: str) -> argparse.Namespace:
    """Read the command line."""
    command = entry.parser(description, example)
    command.add_argument("net", nargs="?", metavar="MODULE:CALLABLE", help="builds the torch net")
    command.add_argument(
        "--args", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of the callable"
    )
    command.add_argument(
        "--input-shape", nargs="+", type=numbers.positive, action="append", metavar="N",
        help="shape of a seeded input, once for each input of the net",
    )  # fmt: skip
    command.add_argument("--inputs", metavar="FILE", help="an .npz of inputs in place of shapes")
    command.add_argument(
        "--also", nargs="+", action="append", default=[], metavar="N",
        help="another input, a shape or an .npz, that is recorded as well: more of the code runs",
    )  # fmt: skip
    command.add_argument("--weights", metavar="FILE", help="a checkpoint, converted for the port")
    command.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder of the port")
    command.add_argument("--check", type=Path, metavar="DIR", help="prove a port of yours again")
    command.add_argument("--force", action="store_true", help="write over an earlier port")
    command.add_argument("--seed", type=numbers.seed, default=0, help="of weights and inputs (0)")
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    add_timeout(command.add_argument_group("limits"))
    options = command.parse_args()
    _check(command, options)
    return options


def _check(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.check is not None:
        return
    if not options.net or options.output is None:
        command.error("give MODULE:CALLABLE and -o DIR, or --check DIR")
    if not options.input_shape and not options.inputs:
        command.error("give --input-shape, once for each input of the net, or --inputs FILE")


def port(options: argparse.Namespace) -> int:
    """Write a port, or prove one again; return the exit code."""
    from commands.port.flow import check_again, write_and_prove
    from port.folder import ASKED

    start = time.monotonic()
    console = screen(stderr=True)

    def tell(words: str) -> None:
        if not options.quiet:
            console.print(said(words))

    if options.check is not None:
        done = check_again(options.check, tell)
    else:
        asked = asked_of(options)
        with alone_at(options.output):
            if (options.output / ASKED).is_file():  # an earlier port
                tell_swept(sweep_inside(options.output, below=True))
            done = write_and_prove(asked, options.output, options.force, tell)
    done["seconds"] = round(time.monotonic() - start, 2)
    if options.json:
        entry.print_json(done)
    else:
        show(done, options.quiet)
    return int(done["code"])


def asked_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a recording needs, as it is kept in `port.json`."""
    from commands.subjects.inputs import options_of

    shapes = [options.input_shape] if options.input_shape else []
    files = [options.inputs] if options.inputs else []
    for also in options.also:
        if len(also) == 1 and not also[0].isdigit():
            files.append(also[0])
        elif all(one.isdigit() for one in also):
            shapes.append([[int(one) for one in also]])
        else:
            raise UserError(f"--also {' '.join(also)}: expected a shape, or one .npz file")
    return {
        "spec": options.net,
        "arguments": options_of(options.args, "--args"),
        "shapes": shapes,
        "inputs": files,
        "weights": options.weights,
        "modes": list(MODES),
        "seed": options.seed,
        "path": [str(Path.cwd())],
    }


def show(done: dict[str, Any], quiet: bool) -> None:
    """Print what was written, what was shown, and the verdict."""
    if not quiet:
        for line in done["lines"]:
            say(line)
    verdict(screen(), done["code"], done["verdict"])
