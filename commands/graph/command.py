"""The command line of `convert_graph`: an ONNX file, or a torch net that is traced."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import entry, numbers
from common.errors import UserError
from common.locks import alone_at
from common.streams import say
from common.terminal import screen, verdict
from common.words.language import comma, phrase, said
from common.words.texts import error_said

PATIENCE = 600.0  # seconds that X2Paddle may take


def parse(description: str, example: str) -> argparse.Namespace:
    """Read the command line."""
    command = entry.parser(description, example)
    command.add_argument(
        "source", metavar="SOURCE", help="an .onnx file, or MODULE:CALLABLE, a net that is traced"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                         help="folder of the written net")  # fmt: skip
    command.add_argument(
        "--args", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of the callable"
    )
    command.add_argument(
        "--input-shape", nargs="+", type=numbers.positive, action="append", metavar="N",
        help="shape of a seeded input, once for each input of the net",
    )  # fmt: skip
    command.add_argument("--inputs", metavar="FILE", help="an .npz of inputs in place of shapes")
    command.add_argument(
        "--also", nargs="+", action="append", default=[], type=numbers.positive, metavar="N",
        help="another shape of a net of one input: does the graph hold for it as well?",
    )  # fmt: skip
    command.add_argument("--weights", metavar="FILE", help="a checkpoint for the torch net")
    command.add_argument(
        "--eval-only",
        action="store_true",
        help="a net that only predicts: train mode is not judged",
    )
    command.add_argument(
        "--force", action="store_true", help="replace a net that was written there"
    )
    command.add_argument("--seed", type=numbers.seed, default=0, help="of weights and inputs (0)")
    command.add_argument(
        "--timeout", type=numbers.seconds, default=PATIENCE, metavar="SECONDS",
        help="give up when X2Paddle runs for so long (default: %(default)g; 0: never)",
    )  # fmt: skip
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_args()


def run(options: argparse.Namespace) -> int:
    """Convert and judge; return the exit code."""
    from commands.graph.flow import convert_graph

    start, console = time.monotonic(), screen(stderr=True)

    def tell(words: str) -> None:
        if not options.quiet:
            console.print(said(words))

    asked = asked_of(options)
    with alone_at(options.output):
        done = convert_graph(asked, options.output, options.force, tell)
    done["seconds"] = round(time.monotonic() - start, 2)
    if options.json:
        entry.print_json(done)
    else:
        show(done, options.quiet)
    return int(done["code"])


def asked_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is asked for. Raises UserError for options that make no sense together."""
    from commands.subjects.inputs import options_of

    is_onnx = ":" not in options.source or options.source.lower().endswith(".onnx")
    if is_onnx and (options.args or options.weights):
        raise UserError("--args and --weights go with MODULE:CALLABLE, not with an .onnx file")
    if is_onnx and options.eval_only:
        raise UserError(
            "--eval-only goes with MODULE:CALLABLE: of an .onnx file nothing else is judged"
        )
    if not is_onnx and not options.input_shape and not options.inputs:
        raise UserError("give --input-shape, once for each input of the net, or --inputs FILE")
    return {
        "kind": "onnx" if is_onnx else "torch",
        "spec": options.source,
        "arguments": options_of(options.args, "--args"),
        "shapes": [options.input_shape] if options.input_shape else [],
        "also": [[shape] for shape in options.also],
        "inputs": [options.inputs] if options.inputs else [],
        "weights": options.weights,
        "eval_only": options.eval_only,
        "seed": options.seed,
        "timeout": options.timeout,
        "path": [str(Path.cwd())],
    }


def show(done: dict[str, Any], quiet: bool) -> None:
    """Print what was shown, mended and left open, and the verdict."""
    if not quiet:
        for row in done["rows"]:
            say(_row(row))
        for one in _grouped(done["mended"]):
            say(phrase("mended: {what}", what=one))
        for one in _grouped(done["open"]):
            say(phrase("not mended: {what}", what=one))
        for one in done["notes"]:
            say(phrase("to know: {what}", what=said(one)))
        counts = comma().join(f"{count} {said(way)}" for way, count in done["counts"].items())
        say(phrase("tensors: {counts}", counts=counts))
    verdict(screen(), done["code"], done["verdict"])


def _grouped(lines: Sequence[str]) -> list[str]:
    """Return lines of "layer: what", one for each what."""
    layers: dict[str, list[str]] = {}
    for line in lines:
        layer, _, what = line.partition(": ")
        layers.setdefault(what, []).append(layer)
    return [f"{_few(found)}: {parts_said(what)}" for what, found in layers.items()]


def _few(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    first, rest = comma().join(names[:3]), len(names) - 3
    return phrase("{names} and {count} more", names=first, count=rest) if rest > 0 else first


def parts_said(what: str) -> str:
    """Return what was done for a reason, or for several, in the language of what is printed."""
    told = said(what)
    return told if told != what else "; ".join(said(part) for part in what.split("; "))


def _row(row: dict[str, Any]) -> str:
    """Return the line of one comparison."""
    name, where = said(row["name"]), row["where"]
    if where:
        place = said(where)
        name = f"{name} ({place if place != where else error_said(where)})"
    if row["error"] is None or row["allowed"] is None:
        plain = (
            phrase("{name}: equal", name=name),
            phrase("{name}: differs", name=name),
            phrase("{name}: not checked", name=name),
        )
        return plain[row["code"]]
    numbers = {"error": f"{row['error']:.1e}", "allowed": f"{row['allowed']:.0e}"}
    told = (
        phrase("{name}: equal: {error}, allowed {allowed}", name=name, **numbers),
        phrase("{name}: differs: {error}, allowed {allowed}", name=name, **numbers),
        phrase("{name}: not checked: {error}, allowed {allowed}", name=name, **numbers),
    )
    return told[row["code"]]
