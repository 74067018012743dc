"""The command line of `convert_weights`."""

import argparse
from pathlib import Path
from typing import Any

from commands import entry, numbers


def conversion_parser(example: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = entry.parser(
        "Find out which net of the table a checkpoint holds, move every tensor into the Paddle "
        "net of the same name, run both on one input in float64, and write the weights and an "
        "account of every tensor. Reads .pth/.pt/.tar/.ckpt/.bin, TorchScript, .safetensors, "
        "*.index.json, .onnx and .pdparams; no code of a file is ever run.",
        example,
    )
    parser.add_argument(
        "checkpoint", type=Path, help="the file (its code is never run), or a config that names it"
    )
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        help=".pdparams or .safetensors (default: beside it, .pdparams)",
    )
    parser.add_argument("--key", help="which state dict, where the file holds several")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    _add_net(parser.add_argument_group("the net"))
    _add_names(parser.add_argument_group("names that differ (docs/rules.md)"))
    _add_back(parser.add_argument_group("back to PyTorch"))
    _add_checks(parser.add_argument_group("checks and report"))
    return parser


def _add_net(group: Any) -> None:
    group.add_argument(
        "--model", help="the row it must hold, or MODULE:CALLABLE that returns a paddle Layer"
    )
    group.add_argument(
        "--num-classes", type=numbers.positive, help="the number of classes it must have"
    )
    group.add_argument("--into", metavar="ROW:PATH", help="fill that part of another net")
    group.add_argument(
        "--generic", action="store_true", help="no net: infer the layers, ask where it is open"
    )


def _add_names(group: Any) -> None:
    group.add_argument("--map", metavar="RULES", help="a rules file, instead of the row's own")
    group.add_argument(
        "--propose", type=Path, metavar="FILE", help="write a proposal for --map; convert nothing"
    )


def _add_back(group: Any) -> None:
    group.add_argument("--reverse", action="store_true", help="write a torch state dict")
    group.add_argument(
        "--account", type=Path, help="account of the way there (default: the one beside it)"
    )


def _add_checks(group: Any) -> None:
    group.add_argument("--no-verify", action="store_true", help="do not run the two nets")
    group.add_argument(
        "--no-checksum", action="store_true", help="no SHA-256 sums; CRCs are checked all the same"
    )
    group.add_argument(
        "--allow-nonfinite", action="store_true", help="write NaN and infinite values too"
    )
    group.add_argument("--table", action="store_true", help="print every tensor of both sides")
    group.add_argument("--report", metavar="DIR", help="write page, JSON and JUnit XML")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
