"""Convert a checkpoint into a Paddle net's weights, or back, and account for every tensor."""

import argparse
import importlib
import importlib.util
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _convert_show as show
import _entry

SHOW_PROGRESS_FROM = 200_000_000  # bytes


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = _entry.parser(
        "Find out which net of the table a checkpoint holds, move every tensor into the Paddle "
        "net of the same name, run both on one input in float64, and write the weights and an "
        "account of every tensor. Reads .pth/.pt/.tar/.ckpt/.bin, TorchScript, .safetensors, "
        "*.index.json and .pdparams; no code of a file is ever run.",
        "python tools/convert_weights.py model_maxmIOU75.pth",
    )
    parser.add_argument("checkpoint", type=Path, help="the file; its code is never run")
    parser.add_argument(
        "--output", type=Path, help=".pdparams or .safetensors (default: beside it, .pdparams)"
    )
    parser.add_argument("--key", help="which state dict, where the file holds several")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    _add_net(parser.add_argument_group("the net"))
    _add_names(parser.add_argument_group("names that differ (docs/rules.md)"))
    _add_back(parser.add_argument_group("back to PyTorch"))
    _add_checks(parser.add_argument_group("checks and report"))
    return parser.parse_args()


def _add_net(group: Any) -> None:
    group.add_argument(
        "--model", help="the row it must hold, or MODULE:CALLABLE that returns a paddle Layer"
    )
    group.add_argument("--num-classes", type=int, help="the number of classes it must have")
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


def main() -> int:
    """Convert, go back or propose; then say what became of the tensors."""
    args = parse()
    if args.reverse:
        return reverse(args)
    if args.propose:
        return propose(args)
    if args.account:
        from common.errors import UserError

        raise UserError("--account goes with --reverse")
    return convert(args)


def convert(args: argparse.Namespace) -> int:
    """Convert a checkpoint for Paddle."""
    from convert import convert_checkpoint
    from convert.write import default_output

    _entry.check_folder(args.report)
    model = model_of(args.model)
    unverified = why_unverified(args, model)
    start = time.monotonic()
    with progress_bar(args) as progress:
        conversion = convert_checkpoint(
            args.checkpoint,
            args.output or default_output(args.checkpoint),
            model,
            args.map,
            verify=not unverified,
            num_classes=args.num_classes,
            into=args.into,
            key=args.key,
            force=args.force,
            progress=progress,
            generic=args.generic,
            checksum=not args.no_checksum,
            allow_nonfinite=args.allow_nonfinite,
        )
    if args.report:
        result = show.result(conversion.account, unverified)
        written = write_report(args, conversion.account, result, time.monotonic() - start)
        if not args.quiet and not args.json:
            print(f"written    {', '.join(map(str, written))}")
    if args.json:
        _entry.print_json(conversion.account.summary())
    else:
        show.account(conversion.account, unverified, args.quiet)
    if args.table:
        show.table(conversion.account, sys.stderr if args.json else sys.stdout)
    return _entry.CHECKED_GOOD


def write_report(args: argparse.Namespace, account: Any, result: str, seconds: float) -> list[Path]:
    """Write the page of a conversion, its JSON and JUnit XML; return the paths."""
    from align.run import Run, Rung, without_values

    run = Run(f"convert {args.checkpoint.name}")
    run.rungs.append(Rung("convert", _entry.CHECKED_GOOD, result, round(seconds, 2)))
    run.account = without_values(account.to_dict())
    run.environment |= {"command": _entry.command_line(), "seconds": round(seconds, 2)}
    return run.write(Path(args.report), "convert")


def why_unverified(args: argparse.Namespace, model: Any) -> str:
    """Return why the nets are not run, "" where they are."""
    if args.no_verify:
        return "--no-verify"
    if args.generic or (model is not None and not isinstance(model, str)):
        return "only nets of the table can be; see align_forward"
    from convert import read_checkpoint

    if read_checkpoint(args.checkpoint, args.key).framework == "paddle":
        return "the file is Paddle's already"
    absent = [name for name in ("torch", "paddle") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def reverse(args: argparse.Namespace) -> int:
    """Write a torch state dict."""
    from convert.reverse import reverse_checkpoint
    from convert.write import default_output

    with progress_bar(args) as progress:
        made = reverse_checkpoint(
            args.checkpoint,
            args.output or default_output(args.checkpoint, ".pth"),
            account=args.account,
            model=model_of(args.model),
            rules=args.map,
            key=args.key,
            force=args.force,
            progress=progress,
            checksum=not args.no_checksum,
        )
    if args.json:
        _entry.print_json(made.summary())
    else:
        show.reversal(made)
    return _entry.CHECKED_GOOD


def propose(args: argparse.Namespace) -> int:
    """Write a rules file that pairs the layers whose names differ."""
    from common.errors import UserError
    from convert import read_checkpoint
    from convert.propose import propose as pairs_of
    from convert.rows import describe_row
    from convert.rules import load_rules
    from convert.write import atomic

    if args.model is None:
        raise UserError("--propose needs the net: give --model")
    if args.propose.exists() and not args.force:
        raise UserError(f"{args.propose}: exists already; --force replaces it")
    model = model_of(args.model)
    if isinstance(model, str):
        options = {} if args.num_classes is None else {"num_classes": args.num_classes}
        target = describe_row(model, options)
    else:
        from convert.describe_paddle import describe

        target = describe(model)
    rules = load_rules(args.map)
    found = pairs_of(read_checkpoint(args.checkpoint, args.key).describe(), target, rules)
    with atomic(args.propose) as temporary:
        temporary.write_text(found.to_yaml(), encoding="utf-8")
    whole = not (found.ambiguous or found.unmatched or found.unfilled)
    show.proposal(found, args.propose)
    return _entry.CHECKED_GOOD if whole else _entry.CHECKED_BAD


def model_of(name: str | None) -> Any:
    """Return a row's name as it is; "module:callable" is imported and called for a Layer."""
    if name is None or ":" not in name:
        return name
    from common.errors import UserError

    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise UserError(f"--model {name}: {error}") from None


def progress_bar(args: argparse.Namespace) -> Any:
    """Return a context that gives a progress callback: a bar on stderr for big files, else None."""
    from common.terminal import screen, working

    checkpoint, console = args.checkpoint, screen(stderr=True)
    big = checkpoint.is_file() and checkpoint.stat().st_size >= SHOW_PROGRESS_FROM
    if args.quiet or not big or not console.is_terminal:
        return working(f"converting {checkpoint}", args.quiet)
    from rich.progress import Progress

    @contextmanager
    def bar() -> Any:
        with Progress(console=console, transient=True) as shown:
            task = shown.add_task("writing", total=None)

            def update(done: int, total: int) -> None:
                shown.update(task, completed=done, total=total)

            yield update

    return bar()


if __name__ == "__main__":
    _entry.run(main)
