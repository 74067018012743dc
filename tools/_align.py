"""What the alignment commands share: their options, their two nets, and how they end."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import _trace
from _entry import check_folder, command_line, not_negative, parser, print_json
from _guard import add_timeout


def arguments(
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
        "--seed", type=not_negative, default=0, help="of weights and input (default: 0)"
    )
    _add_own(command.add_argument_group("nets of your own, instead (examples/own_net)"), losses)
    group = command.add_argument_group("the run")
    if table:
        group.add_argument(
            "--input-shape",
            type=int,
            nargs="+",
            action="append",
            metavar="N",
            help="of a seeded input: N C H W; given several times: inputs by position",
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
        + ("; a label stands last" if losses else ""),
    )
    if losses:
        for side in ("torch", "paddle"):
            group.add_argument(f"--{side}-loss", metavar=callable_, help="of (outputs, label)")


def add_optimizers(command: argparse.ArgumentParser) -> None:
    """Add the optimizers of one's own nets."""
    group = command.add_argument_group("optimizers of your own nets")
    for side in ("torch", "paddle"):
        group.add_argument(
            f"--{side}-optimizer", metavar="MODULE:CALLABLE", help="parameters -> optimizer"
        )


def parse(command: argparse.ArgumentParser) -> Any:
    """Parse and refuse what contradicts itself."""
    options = command.parse_intermixed_args()
    if _trace.check(command, options):
        return options
    if options.all and (options.weights or options.model):
        command.error("--all takes neither --model nor --weights")
    if bool(options.torch) != bool(options.paddle):
        command.error("--torch and --paddle go together")
    for side in ("loss", "optimizer"):
        both = [getattr(options, f"{name}_{side}", None) for name in ("torch", "paddle")]
        if bool(both[0]) != bool(both[1]):
            command.error(f"--torch-{side} and --paddle-{side} go together")
    if options.torch and (options.model or options.all or getattr(options, "config", None)):
        command.error("--torch and --paddle stand instead of a row of the table or a config")
    given = [name for name in ("rules", "propose", "inputs") if getattr(options, name)]
    if options.torch and options.needs_inputs and not (given or options.input_shape):
        command.error("nets of your own have no default input: give --inputs or --input-shape")
    alone = options.inputs and getattr(options, "stage", "") == "loss"
    if given and not options.torch and not alone:
        command.error(f"--{given[0]} goes with --torch and --paddle")
    return options


def is_own(options: Any) -> bool:
    """Tell whether the nets are the user's own."""
    return bool(options.torch)


def nets(options: Any, name: str | None, overrides: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Return (torch net, Paddle net, name) as the options say."""
    from align import own, subjects

    if is_own(options):
        pair = own.own_pair(
            options.torch,
            options.paddle,
            weights=options.weights,
            rules=options.rules,
            seed=options.seed,
            **_arguments_of_nets(options),
        )
        return *pair, options.paddle
    if options.weights:
        return subjects.pair_with_weights(options.weights, name, overrides)
    name = name or "stdc2_seg"
    torch_net, paddle_net = subjects.seeded_pair(name, options.seed, **overrides)
    return torch_net, paddle_net, name


def _arguments_of_nets(options: Any) -> dict[str, Any]:
    from align import own

    return {
        "torch_args": own.options_of(options.torch_args, "--torch-args"),
        "paddle_args": own.options_of(options.paddle_args, "--paddle-args"),
    }


def factories(options: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what builds each of one's own nets anew."""
    import paddle
    import torch

    from align import own

    given = _arguments_of_nets(options)
    return (
        lambda: own.build(options.torch, "--torch", torch.nn.Module, given["torch_args"]),
        lambda: own.build(options.paddle, "--paddle", paddle.nn.Layer, given["paddle_args"]),
    )


def losses(options: Any) -> tuple[Any, Any]:
    """Return both criteria, (None, None) where none is given."""
    import paddle
    import torch

    from align import own

    if not options.torch_loss:
        return None, None
    return (
        own.criterion(options.torch_loss, "--torch-loss", torch.nn.Module),
        own.criterion(options.paddle_loss, "--paddle-loss", paddle.nn.Layer),
    )


def optimizers(options: Any) -> tuple[Any, Any]:
    """Return both factories of optimizers."""
    from align import own
    from common.errors import UserError

    if not options.torch_optimizer or not options.torch_loss:
        raise UserError(
            "training steps of your own nets need --torch-loss, --paddle-loss, "
            "--torch-optimizer and --paddle-optimizer"
        )
    return (
        own.load_callable(options.torch_optimizer, "--torch-optimizer"),
        own.load_callable(options.paddle_optimizer, "--paddle-optimizer"),
    )


def batches(options: Any, torch_net: Any, paddle_net: Any, labelled: bool = True) -> list[Any]:
    """Return the arrays of every file of --inputs."""
    from align import own
    from common.errors import UserError

    if not options.inputs:
        raise UserError("give --inputs FILE.npz with the nets' inputs and, as the last, the label")
    return [own.read_inputs(path, torch_net, paddle_net, labelled) for path in options.inputs]


def inputs(
    options: Any, name: str, nets: tuple[Any, Any], train: bool, labelled: bool = False
) -> Any:
    """Return the inputs of the options, or seeded ones of the row's shape."""
    from align import own, subjects
    from common.errors import UserError
    from common.pairs import get_pair

    if options.inputs:
        if options.input_shape or len(options.inputs) > 1:
            raise UserError("give one file of --inputs, or --input-shape")
        return batches(options, *nets, labelled=labelled)[0]
    shapes = options.input_shape
    if is_own(options):
        if not shapes or labelled:
            what = "with the label as the last array" if labelled else "or --input-shape"
            raise UserError(f"nets of your own need --inputs FILE.npz, {what}")
    else:
        default = get_pair(name).default_input
        shapes = shapes or [list(default)]
        if len(shapes) > 1:
            raise UserError("a row of the table takes one --input-shape")
        subjects.check_input_shape(tuple(shapes[0]), default[1], train)
    return own.seeded_inputs(shapes, options.seed)


def align_each(
    options: Any,
    stage: str,
    title: str,
    align: Callable[[Any, Any, str], Any],
    overrides: Mapping[str, Any] | None = None,
    pair: bool = True,
) -> int:
    """Align the nets that the options ask for, print their reports, return the worst exit code.

    Without `pair` there are no nets, and `align` gets None for them.
    """
    from align import running, subjects, terminal
    from common.pairs import PAIRS
    from common.terminal import screen as console
    from common.terminal import working

    check_folder(options.report)
    if options.propose:
        return _propose(options)
    screen = console(stderr=options.json)
    reports = []
    for row in list(PAIRS) if options.all else [options.model]:
        subject = (
            row or options.weights or options.torch or ("stdc2_seg" if pair else "the criteria")
        )
        with working(f"aligning {subject}, {title}", options.quiet, running.progress):
            report = _align_row(options, row, overrides or {}, align, pair)
        reports.append(report)
        name = report.settings["model"]
        if options.report:
            stem = f"{stage}_{name}" if options.all else stage
            written = subjects.write_report(report, Path(options.report), stem)
            if not options.quiet:
                screen.print(f"written: {', '.join(map(str, written))}")
        terminal.print_report(report, screen, f"{name}, {title}", options.quiet)
    if options.json:
        print_json([report.to_dict() for report in reports])
    codes = {report.exit_code for report in reports}
    return 1 if 1 in codes else max(codes)


def _align_row(
    options: Any,
    row: str | None,
    overrides: Mapping[str, Any],
    align: Callable[..., Any],
    pair: bool,
) -> Any:
    """Align one pair of nets, which are gone afterwards."""
    from align import own
    from align.running import doing

    start = time.monotonic()
    torch_net, paddle_net, name = None, None, row or "loss"
    if pair:
        with doing("the import of the frameworks"):
            import_module("paddle")
            import_module("torch")
        with doing("the construction of the nets"):
            torch_net, paddle_net, name = nets(options, row, overrides)
    with told(name):
        report = align(torch_net, paddle_net, name)
    if is_own(options):
        report.notes += own.without_partner(torch_net, paddle_net, options.rules)
    report.settings |= {"model": name, "seed": options.seed, "weights": options.weights}
    seconds = round(time.monotonic() - start, 2)
    report.environment |= {"command": command_line(), "seconds": seconds}
    return report


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say what a net raises on its input (too small an image, say) as a user's error."""
    from align import own
    from align.running import is_of_reference, raised_in
    from common.errors import UserError

    try:
        yield
    except (UserError, ModuleNotFoundError):
        raise
    except Exception as error:
        layer = raised_in(error)
        if is_of_reference(layer):
            place = layer.replace(" of the reference", "")
            raise UserError(
                f"the reference cannot run on this input: {place} raises {own.told(error)}. "
                "Nothing was judged: give an input that the reference takes (--input-shape or "
                "--inputs)"
            ) from error
        if own.user_frame(error) is not None:
            raise UserError(f"{name} cannot run on this input: {own.told(error)}") from error
        if not isinstance(error, (RuntimeError, ValueError)):
            raise
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{name} cannot run on this input: {reason}") from error


def _propose(options: Any) -> int:
    """Write a rules file that pairs layers of other names; 1 where it is not whole."""
    from align import own
    from align.report import write_text
    from common.errors import UserError

    path = Path(options.propose)
    if path.exists():
        raise UserError(f"--propose {path}: exists already; remove it or give another name")
    pair = own.build_pair(
        options.torch, options.paddle, options.seed, **_arguments_of_nets(options)
    )
    found = own.proposal(*pair, options.rules)
    write_text(path, found.to_yaml())
    doubts = len(found.ambiguous), len(found.unmatched), len(found.unfilled)
    print(
        f"written: {path}: {len(found.pairs)} layers of other names are paired, {doubts[0]} are "
        f"ambiguous, {doubts[1]} of the reference and {doubts[2]} of the port have no partner. "
        f"Read it, correct it, and give it as --rules {path}"
    )
    return 0 if not any(doubts) else 1
