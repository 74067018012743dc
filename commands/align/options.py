"""The command line that the alignment commands share."""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from commands import numbers
from commands.entry import parser
from commands.guard import add_timeout


def alignment_parser(
    description: str, example: str, table: bool = True, losses: bool = False
) -> argparse.ArgumentParser:
    """Return a parser with the options that every alignment command has.

    `table`: the nets may be rows of the table, on an input of any shape; else a config's.
    `losses`: criteria of one's own can be given.
    """
    command = parser(description, example)
    command.set_defaults(needs_inputs=table)
    net = command.add_argument_group("the nets")
    if table:
        net.add_argument("--model", help="row of the table (default: stdc2_seg)")
        net.add_argument("--all", action="store_true", help="every row of the table")
    else:
        command.set_defaults(model=None, all=False, input_shape=None)
    net.add_argument("--weights", metavar="FILE", help="a PyTorch checkpoint for both nets")
    net.add_argument(
        "--seed", type=numbers.seed, default=0, help="of weights and input (default: 0)"
    )
    _add_own(command.add_argument_group("nets of your own, instead (examples/own_net)"), losses)
    group = command.add_argument_group("the run")
    if table:
        group.add_argument(
            "--input-shape",
            type=numbers.positive,
            nargs="+",
            action="append",
            metavar="N",
            help="of a seeded input: N C H W; given several times: inputs by position",
        )
        group.add_argument(
            "--objects",
            type=numbers.not_negative,
            metavar="N",
            help="of a detector (--input-shape 3 64 96 --input-shape 3 80 60 --objects 2): the "
            "images are one list; in train mode N seeded objects of each stand behind it: boxes, "
            "labels, masks",
        )
    add_timeout(group)
    group.add_argument("--report", metavar="DIR", help="write page, JSON, CSV, picture, JUnit XML")
    group.add_argument("--json", action="store_true", help="print the report as JSON on stdout")
    group.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    return command


def _add_own(group: Any, losses: bool) -> None:
    callable_ = "MODULE:CALLABLE"
    group.add_argument("--torch", metavar=callable_, help="returns the reference, a torch Module")
    group.add_argument("--paddle", metavar=callable_, help="returns the port, a paddle Layer")
    group.add_argument("--torch-args", nargs="+", default=[], metavar="KEY=VALUE")
    group.add_argument("--paddle-args", nargs="+", default=[], metavar="KEY=VALUE")
    group.add_argument("--rules", metavar="FILE", help="how names differ: docs/rules.md")
    group.add_argument(
        "--propose", metavar="FILE", help="write a proposal for --rules; align nothing"
    )
    group.add_argument(
        "--inputs",
        nargs="+",
        metavar="FILE",
        help=".npz of arrays: arr_0, ... by position, else by keyword"
        + ("; a label stands last, or is label.NAME, ..." if losses else ""),
    )
    if losses:
        for side in ("torch", "paddle"):
            group.add_argument(f"--{side}-loss", metavar=callable_, help="of (outputs, label)")


def add_config(command: argparse.ArgumentParser) -> None:
    """Add a config instead of a row or nets of one's own, and overrides of its settings."""
    command.add_argument("config", type=Path, nargs="?", help="a config: ours, or your own")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")


def add_optimizers(command: argparse.ArgumentParser) -> None:
    """Add the optimizers of one's own nets."""
    group = command.add_argument_group("optimizers of your own nets")
    for side in ("torch", "paddle"):
        group.add_argument(
            f"--{side}-optimizer",
            metavar="MODULE:CALLABLE",
            help="parameters -> optimizer; also of net or named_parameters, by these names",
        )
        group.add_argument(
            f"--{side}-average",
            metavar="MODULE:CALLABLE",
            help="net -> moving average of its weights, with update() and state()",
        )


def add_schedules(command: argparse.ArgumentParser) -> None:
    """Add the schedules of one's own nets."""
    group = command.add_argument_group(
        "schedules of your own nets (a scheduler that the optimizer holds is stepped without one)"
    )
    for side in ("torch", "paddle"):
        group.add_argument(
            f"--{side}-schedule", metavar="MODULE:CALLABLE", help="step, from 0 -> learning rate"
        )


def parse_alignment(command: argparse.ArgumentParser, without_nets: Collection[str] = ()) -> Any:
    """Parse and refuse what contradicts itself; stages of `without_nets` take --inputs alone."""
    options = command.parse_intermixed_args()
    if _is_half(command, options) or _is_against(command, options):
        return options
    if options.all and (options.weights or options.model):
        command.error("--all takes neither --model nor --weights")
    if bool(options.torch) != bool(options.paddle):
        command.error("--torch and --paddle go together")
    for side in ("loss", "optimizer", "schedule", "average"):
        both = [getattr(options, f"{name}_{side}", None) for name in ("torch", "paddle")]
        if bool(both[0]) != bool(both[1]):
            command.error(f"--torch-{side} and --paddle-{side} go together{MORE.get(side, '')}")
    if getattr(options, "config", None) and (options.model or options.all):
        command.error("a config names its nets: it goes without --model and --all")
    if options.torch and (options.model or options.all or getattr(options, "config", None)):
        command.error("--torch and --paddle stand instead of a row of the table or a config")
    given = [name for name in ("rules", "propose", "inputs") if getattr(options, name)]
    if options.torch and options.needs_inputs and not (given or options.input_shape):
        command.error("nets of your own have no default input: give --inputs or --input-shape")
    alone = options.inputs and getattr(options, "stage", "") in without_nets
    named = ("rules", "propose") if getattr(options, "config", None) else ()
    if (left := [name for name in given if name not in named]) and not options.torch and not alone:
        command.error(f"--{left[0]} goes with --torch and --paddle")
    return options


# What a port that is judged against a graph has no use for: there is no net of torch.
NOT_AGAINST = (
    *("torch", "torch_args", "all", "train", "float32", "export_npy", "propose", "config"),
    *("record", "force", "keep", "third", "objects"),
)


def add_third(command: argparse.ArgumentParser) -> None:
    """Add ONNX Runtime as the reference, and as a witness beside it."""
    group = command.add_argument_group("with ONNX Runtime (the extra onnx)")
    group.add_argument(
        "--against",
        metavar="FILE.onnx",
        help="judge the port (--paddle or --model) against this graph, without torch",
    )
    group.add_argument(
        "--third",
        metavar="FILE.onnx",
        help="say of what differs whether this graph of the reference agrees with torch or with "
        "Paddle; export: torch writes it",
    )


def _is_against(command: argparse.ArgumentParser, options: Any) -> bool:
    """Refuse what contradicts itself; return whether the reference is a graph."""
    third, against = (getattr(options, name, None) for name in ("third", "against"))
    if third and (options.train or options.all):
        command.error("--third goes without --train and --all: a graph is of one net in eval mode")
    if not against:
        return False
    for name in NOT_AGAINST:
        if getattr(options, name, None):
            command.error(f"--{name.replace('_', '-')} does not go with --against")
    if bool(options.paddle) == bool(options.model):
        command.error("--against judges one port: give --paddle, or --model for a row of the table")
    if options.rules and not options.paddle:
        command.error("--rules goes with --paddle")
    return True


MORE = {"schedule": "; a scheduler that an optimizer holds is stepped where both are left out"}


def is_own(options: Any) -> bool:
    """Tell whether the nets are the user's own."""
    return bool(options.torch)


# What a half has no use for, by option: (its value where it is not given, why not).
NOT_WHILE_RECORDING = (
    *("paddle", "paddle_args", "paddle_loss", "rules", "propose", "all", "keep"),
    *("float32", "export_npy", "report", "third", "against"),
)


NOT_WHILE_FORCING = (
    *("torch", "torch_args", "torch_loss", "weights", "input_shape", "inputs", "propose", "all"),
    *("train", "eval", "float32", "export_npy", "third", "against"),
)


def add_halves(command: argparse.ArgumentParser) -> None:
    """Add the options of a run in two environments."""
    group = command.add_argument_group("in two environments (docs/trace_format.md)")
    group.add_argument(
        "--record", metavar="DIR", help="run the reference alone, where only torch is; write DIR"
    )
    group.add_argument(
        "--force", metavar="DIR", help="run the port alone, where only Paddle is, against DIR"
    )
    group.add_argument(
        "--keep",
        action="store_true",
        help="with --force: store the port's tensors in DIR, for `align_stage.py judge DIR`",
    )


def _is_half(command: argparse.ArgumentParser, options: Any) -> bool:
    """Refuse what contradicts itself; return whether it is one of the two halves."""
    record, force = (getattr(options, name, None) for name in ("record", "force"))
    if getattr(options, "keep", False) and not force:
        command.error("--keep goes with --force")
    if not record and not force:
        return False
    if record and force:
        command.error("--record and --force are two runs, one after the other")
    if getattr(options, "config", None):
        command.error("--record and --force take --model, --torch or --paddle, and no config")
    half, refused = ("record", NOT_WHILE_RECORDING) if record else ("force", NOT_WHILE_FORCING)
    for name in refused:
        if getattr(options, name, None):
            command.error(f"--{name.replace('_', '-')} does not go with --{half}")
    if options.model and (options.torch or options.paddle):
        command.error("nets of your own stand instead of a row of the table")
    if options.torch and not (options.inputs or options.input_shape):
        command.error("nets of your own have no default input: give --inputs or --input-shape")
    if force and options.rules and not options.paddle:
        command.error("--rules goes with --paddle")
    return True
