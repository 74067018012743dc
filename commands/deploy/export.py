"""The flow of `tools/export.py`: a config and weights in, a verified model out."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import entry, numbers
from common.locks import alone_at
from common.streams import messages, say
from common.words.language import phrase

EXAMPLE = (
    "python tools/export.py configs/stdc1.yml --weights runs/stdc1_paddle/weights.pdparams "
    "--size 512 1024 -o exported"
)
EARLY = (
    "choose classes before the last resize: faster, with coarser borders; how many pixels that "
    "changes is measured and said"
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    command = entry.parser(
        "Export a trained net: BatchNorm folded, resizes as oneDNN takes them, for Paddle "
        "Inference and ONNX Runtime; run it in fresh processes, compare it with the training net, "
        "and write deploy.yaml and an account of the differences beside it.",
        EXAMPLE,
    )
    entry.add_config(command)
    command.add_argument("--weights", required=True, help=".pdparams, or .pth (converted)")
    command.add_argument("-o", "--folder", type=Path, required=True, help="where to write; new")
    command.add_argument("--force", action="store_true", help="replace an export that is there")
    _add_input(command.add_argument_group("input and output of the model"))
    command.add_argument(
        "--format",
        choices=("both", "paddle", "onnx"),
        default="both",
        help="both (default) leaves ONNX out, and says so, where its extra is not installed; onnx "
        "insists on it",
    )
    command.add_argument("--json", action="store_true", help="print the account as JSON")
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    return command.parse_intermixed_args()


def _add_input(group: Any) -> None:
    group.add_argument(
        "--size",
        nargs=2,
        type=numbers.positive,
        metavar=("HEIGHT", "WIDTH"),
        help="of the images (default: the crop of the training)",
    )
    group.add_argument("--free-size", action="store_true", help="any height and width; slower")
    group.add_argument(
        "--batch", type=numbers.not_negative, default=1, help="images a run (default 1); 0: any"
    )
    group.add_argument(
        "--output",
        choices=("logits", "softmax", "argmax"),
        default="logits",
        help="what it returns (default: logits [N, C, H, W])",
    )
    group.add_argument("--early-argmax", action="store_true", help=f"with argmax: {EARLY}")


def run(options: argparse.Namespace) -> int:
    """Export and say how it ended; return the exit code."""
    from commands.deploy.subject_paddle import subject_of
    from commands.subjects.named.config import read_config
    from export.make.job_paddle import check_folder

    _check(options)
    with alone_at(options.folder):
        check_folder(options.folder, options.force, [options.config, Path(options.weights)])
        settings = read_config(options.config, options.overrides)
        account = _export(options, subject_of(settings, options.weights))
    if options.json:
        entry.print_json(account)
    else:
        show(account, options.folder, options.quiet)
    return entry.CHECKED_GOOD


def _export(options: argparse.Namespace, subject: Any) -> dict[str, Any]:
    """Export `subject` into the folder of the options; return the account."""
    from commands.deploy.subject_paddle import default_size
    from export.make.job_paddle import export_net

    size = (None, None) if options.free_size else options.size
    height, width = size or default_size(subject.settings, subject.size_step)
    deployment = subject.deployment(
        batch=options.batch or None,
        height=height,
        width=width,
        output=options.output,
        early_argmax=options.early_argmax,
    )
    formats = _formats(options.format)
    account = export_net(
        subject.build, deployment, options.folder, formats, options.force, _teller(options.quiet)
    )
    if "onnx" not in formats and options.format == "both":
        account["notes"].append(NO_ONNX)
    return account


NO_ONNX = "no ONNX: paddle2onnx and onnxruntime are not installed (the extra onnx brings them)"


def _check(options: argparse.Namespace) -> None:
    from common.errors import UserError

    if options.size and options.free_size:
        raise UserError("--size and --free-size exclude each other")
    if options.early_argmax and (options.output != "argmax" or options.free_size):
        raise UserError("--early-argmax goes with --output argmax and a fixed size")


def _formats(asked: str) -> tuple[str, ...]:
    from export.make.onnx_paddle import is_possible

    return (
        ("paddle", "onnx")
        if asked == "onnx" or (asked == "both" and is_possible())
        else ("paddle",)
    )


def _teller(quiet: bool) -> Callable[[str], None]:
    def tell(words: str) -> None:
        if not quiet:
            print(f"{phrase(words)} ...", file=messages(), flush=True)

    return tell


def show(account: dict[str, Any], folder: Path, quiet: bool) -> None:
    """Print the account for people; `quiet`: the verdict alone."""
    from common.terminal import labelled, screen, verdict
    from common.words.language import recognised, said

    if not quiet:
        norms = account["batch_norms"]
        rows = [(phrase("written"), str(folder))]
        rows += [(name, f"{row['bytes'] / 1e6:.1f} MB") for name, row in account["files"].items()]
        rows.append(
            (
                phrase("BatchNorm"),
                phrase("{number} of {total} folded", number=norms["folded"], total=norms["in_all"]),
            )
        )
        for line in labelled(rows):
            say(line)
        for row in account["differences"]:
            say(_difference(row, account["output"]))
        if account["borders_changed"] is not None:
            share = f"{account['borders_changed']:.2%}"
            say(phrase("early argmax changes {share} of the pixels of a picture", share=share))
        for note in account["notes"]:
            say(said(recognised(note)))
    engines = sorted({row["engine"] for row in account["differences"]})
    words = phrase("equal to the training net: {engines}", engines=", ".join(engines))
    verdict(screen(), entry.CHECKED_GOOD, words)


def _difference(row: dict[str, Any], output: str) -> str:
    values = {key: row[key] for key in ("engine", "input", "pixels")}
    values["classes"] = row["classes_differ"]
    if output == "argmax":
        return phrase(
            "{engine}, {input}: {classes} of {pixels} pixels with another class, {unexplained} of "
            "them where two are not as good",
            unexplained=row["unexplained"],
            **values,
        )
    return phrase(
        "{engine}, {input}: {error} off (allowed {allowed}), {classes} of {pixels} pixels with "
        "another class",
        error=f"{row['error']:.1e}",
        allowed=f"{row['allowed']:.1e}",
        **values,
    )
