"""The conversion of one file: forwards, backwards, or a proposal of rules."""

import argparse
import importlib.util
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands import convert_show as show
from commands import entry
from commands.guard import announce_output, announce_report
from common.locks import tell_swept
from common.streams import messages, results, say
from common.words.controls import escaped
from common.words.language import phrase
from common.words.typed import command, command_line, shown

ROOT = Path(__file__).resolve().parents[1]
ALREADY = "the file is Paddle's already"
SHOW_PROGRESS_FROM = 200_000_000  # bytes


def run_conversion(args: argparse.Namespace) -> int:
    """Convert, go back or propose, as the command line says; return the exit code."""
    _take_config(args)
    if args.reverse:
        return reverse(args)
    if args.propose:
        return propose(args)
    if args.account:
        from common.errors import UserError

        raise UserError("--account goes with --reverse")
    return convert(args)


def _take_config(args: argparse.Namespace) -> None:
    """Where a config is given: take checkpoint, net and rules from it. Raises UserError."""
    from commands.subjects.named.config import CONFIG_SUFFIXES, own_of, read_config
    from commands.subjects.named.frameworks import both_parts
    from commands.subjects.named.pair import pair_of
    from common.errors import UserError
    from common.settings.own import OwnModel

    args.arguments, args.config, args.pair = {}, None, None
    if args.checkpoint.suffix not in CONFIG_SUFFIXES:
        return
    given = {"--model": args.model, "--num-classes": args.num_classes, "--into": args.into}
    if doubled := [name for name, value in given.items() if value is not None]:
        raise UserError(f"{args.checkpoint}: a config says what {doubled[0]} says; give one")
    config = read_config(args.checkpoint)
    if not config.weights.path:
        raise UserError(
            f"{args.checkpoint}: weights.path is not set; it names the checkpoint to convert"
        )
    args.config, args.checkpoint = args.checkpoint, Path(config.weights.path)
    args.key = args.key or config.weights.key
    model = config.model
    if isinstance(model, OwnModel):
        own = own_of(config, "model", "paddle")
        assert own is not None
        args.model, args.arguments, args.map = own.spec, own.arguments, args.map or model.rules
        with_map = config.model_copy(update={"model": model.model_copy(update={"rules": args.map})})
        args.pair = pair_of(with_map, both_parts(with_map))
    elif config.weights.row or config.weights.into:
        raise UserError(
            f"{args.config}: weights.path is of another net, of which training takes a part; "
            "convert it by its own name: give the file instead of the config"
        )
    else:
        args.model, args.num_classes = model.name, model.net_classes


def convert(args: argparse.Namespace) -> int:
    """Convert a checkpoint for Paddle."""
    from commands.subjects.misfits import misfits_advised, of_conversion
    from convert import convert_checkpoint
    from convert.outputs import default_output

    entry.check_folder(args.report, ["convert"])
    output = tidy(args.output or default_output(args.checkpoint))
    model = model_of(args.model, args.arguments)
    rules = args.map if args.pair is None else args.pair.rules_for(model)
    unverified = why_unverified(args, model)
    by_options = of_conversion(args.checkpoint, args.model, args.map)
    step = by_options if args.pair is None else args.pair.next_step()
    start = time.monotonic()
    with progress_bar(args) as progress, misfits_advised(step):
        conversion = convert_checkpoint(
            args.checkpoint,
            output,
            model,
            rules,
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
        announce_report(Path(args.report), "convert")
        with entry.verdict_stands(args.report, "convert"):
            written = write_report(args, conversion.account, result, time.monotonic() - start)
            if not args.quiet and not args.json:
                say(phrase("written: {paths}", paths=", ".join(map(str, written))))
    if args.json:
        entry.print_json(conversion.account.summary())
    else:
        then = next_command(args, model, unverified, conversion) if unverified else ""
        show.account(conversion.account, unverified, args.quiet, then)
    if args.table:
        show.table(conversion.account, messages() if args.json else results())
    return entry.CHECKED_GOOD


def tidy(output: Path) -> Path:
    """Say what a killed conversion to `output` had left, which is completed or removed now."""
    from convert.outputs import files_beside
    from convert.together import settle

    announce_output(output)
    found = settle(files_beside(output))
    if found.completed:
        words = "completed, as a conversion that was broken off had left it: {paths}"
        paths = ", ".join(map(str, found.completed))
        print(escaped(phrase(words, paths=paths)), file=messages())
    tell_swept(found.swept)
    return output


def next_command(args: argparse.Namespace, model: Any, unverified: str, conversion: Any) -> str:
    """Return the command that proves what could not be verified here.

    Of a file that was Paddle's already none can, for its own net is not here: then what trains on.
    """
    row, output = conversion.account.net["row"], conversion.account.output["path"]
    if row and unverified == ALREADY:
        config = ROOT / "configs" / f"{row.removesuffix('_seg')}.yml"
        known = shown(config) if config.is_file() else "CONFIG"
        return command("train_paddle", known, f"weights.path={output}")
    if args.config is not None and ":" in (args.model or ""):
        return command("align_forward", args.config)
    if (args.model is None and not args.generic) or isinstance(model, str):
        again = command("convert_weights", args.checkpoint, "--force")
        where = phrase("where torch and paddle are installed, without --no-verify")
        return f"{again} ({where})"
    port = args.model or "YOUR_PORT:BUILD"
    words = ["--torch", "YOUR_REFERENCE:BUILD", "--paddle", port, "--weights", args.checkpoint]
    words += ["--rules", args.map] if args.map else []
    return f"{command('align_forward', *words)} --input-shape N C H W"


def write_report(args: argparse.Namespace, account: Any, result: str, seconds: float) -> list[Path]:
    """Write the page of a conversion, its JSON and JUnit XML; return the paths."""
    from align.judge.words import Words
    from align.report.run import Run, Rung, without_values
    from align.report.write import write_run

    run = Run(Words("title_convert", name=args.checkpoint.name))
    run.rungs.append(Rung("convert", entry.CHECKED_GOOD, result, round(seconds, 2)))
    run.account = without_values(account.to_dict())
    run.environment |= {"command": command_line(), "seconds": round(seconds, 2)}
    return write_run(run, Path(args.report), "convert")


def why_unverified(args: argparse.Namespace, model: Any) -> str:
    """Return why the nets are not run, "" where they are."""
    if args.no_verify:
        return "--no-verify"
    if args.generic or (model is not None and not isinstance(model, str)):
        if args.generic:
            return "only nets of the table can be; see align_forward"
        return "a net of your own: align_forward compares it with the reference"
    from convert import read_checkpoint

    if read_checkpoint(args.checkpoint, args.key).framework == "paddle":
        return ALREADY
    absent = [name for name in ("torch", "paddle") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def reverse(args: argparse.Namespace) -> int:
    """Write a torch state dict."""
    from convert.outputs import default_output
    from convert.reverse import reverse_checkpoint

    output = tidy(args.output or default_output(args.checkpoint, ".pth"))
    with progress_bar(args) as progress:
        made = reverse_checkpoint(
            args.checkpoint,
            output,
            account=args.account,
            model=model_of(args.model, args.arguments),
            rules=args.map,
            key=args.key,
            force=args.force,
            progress=progress,
            checksum=not args.no_checksum,
        )
    if args.json:
        entry.print_json(made.summary())
    else:
        show.reversal(made)
    return entry.CHECKED_GOOD


def propose(args: argparse.Namespace) -> int:
    """Write a rules file that pairs the layers whose names differ."""
    from common.errors import UserError
    from common.files import check_outputs, whole_file
    from convert import read_checkpoint
    from convert.names.propose import propose as pairs_of
    from convert.names.rules import load_rules
    from convert.nets.rows import describe_row
    from convert.outputs import files_of

    if args.model is None:
        raise UserError("--propose needs the net: give --model")
    read = read_checkpoint(args.checkpoint, args.key)
    inputs = [*read.files, *files_of(args.config, args.map)]
    check_outputs([args.propose], inputs, args.force)
    model = model_of(args.model, args.arguments)
    if isinstance(model, str):
        options = {} if args.num_classes is None else {"num_classes": args.num_classes}
        target = describe_row(model, options)
    else:
        from convert.nets.describe_paddle import describe

        target = describe(model)
    rules = load_rules(args.map)
    found = pairs_of(read.describe(), target, rules)
    with whole_file(args.propose) as draft:
        draft.write_text(found.to_yaml(), encoding="utf-8")
    whole = not (found.ambiguous or found.unmatched or found.unfilled)
    show.proposal(found, args.propose)
    return entry.CHECKED_GOOD if whole else entry.CHECKED_BAD


def model_of(name: str | None, arguments: Mapping[str, Any] | None = None) -> Any:
    """Return a row's name as it is; "module:callable" is imported and called for a Layer."""
    if name is None or ":" not in name:
        return name
    from commands.subjects.callables import build_port

    return build_port(name, "--model", arguments)


def progress_bar(args: argparse.Namespace) -> Any:
    """Return a context that gives a progress callback: a bar on stderr for big files, else None."""
    from common.terminal import screen, working

    checkpoint, console = args.checkpoint, screen(stderr=True)
    big = checkpoint.is_file() and checkpoint.stat().st_size >= SHOW_PROGRESS_FROM
    if args.quiet or not big or not console.is_terminal:
        return working(phrase("converting {path}", path=checkpoint), args.quiet)
    from rich.progress import Progress

    @contextmanager
    def bar() -> Any:
        with Progress(console=console, transient=True) as shown:
            task = shown.add_task(phrase("writing"), total=None)

            def update(done: int, total: int) -> None:
                shown.update(task, completed=done, total=total)

            yield update

    return bar()
