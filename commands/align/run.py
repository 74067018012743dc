"""What the alignment commands share: their options, their two nets, and how they end."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.align.nets import arguments_of_nets, nets
from commands.align.options import is_own
from commands.entry import check_folder, command_line, next_step, print_json, was_interrupted
from commands.guard import announce_report
from common.streams import say

if TYPE_CHECKING:
    from commands.subjects.recipe import Recipe


def align_each(
    options: Any,
    stage: str,
    title: str,
    align: Callable[[Any, Any, str], Any],
    recipe: "Recipe | None" = None,
    pair: bool = True,
) -> int:
    """Align the nets that the options ask for, print their reports, return the worst exit code.

    The nets are those of `recipe` where there is one. Without `pair` there are none, and `align`
    gets None for them.
    """
    from align.nets import progress
    from align.report import terminal, write
    from common.pairs import PAIRS
    from common.terminal import screen as console
    from common.terminal import working

    if options.propose:
        return _propose(options)
    rows = list(PAIRS) if options.all else [options.model]
    check_folder(options.report, [f"{stage}_{row}" for row in rows] if options.all else [stage])
    screen = console(stderr=options.json)
    reports = []
    for row in rows:
        subject = (
            row or options.weights or options.torch or ("stdc2_seg" if pair else "the criteria")
        )
        with working(f"aligning {subject}, {title}", options.quiet, progress.progress):
            report = _align_row(options, row, recipe, align, pair)
        reports.append(report)
        name = report.settings["model"]
        if options.report:
            stem = f"{stage}_{name}" if options.all else stage
            announce_report(Path(options.report), stem)
            written = write.write_report(report, Path(options.report), stem)
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
    recipe: "Recipe | None",
    align: Callable[..., Any],
    pair: bool,
) -> Any:
    """Align one pair of nets, which are gone afterwards."""
    from align.nets.progress import begin, doing

    start = time.monotonic()
    torch_net, paddle_net, name = None, None, row or "loss"
    if pair:
        begin("importing the frameworks")
        with doing("the import of the frameworks"):
            import_module("paddle")
            import_module("torch")
        begin("building the nets")
        with doing("the construction of the nets"):
            if recipe is None:
                torch_net, paddle_net, name = nets(options, row)
            else:
                torch_net, paddle_net, name = recipe.pair.nets(options.weights, options.seed)
    with errors_of_nets(name):
        report = align(torch_net, paddle_net, name)
    report.notes[:0] = vars(options).pop("remarks", [])
    if is_own(options) and torch_net is not None:
        from align.pairing.reference_torch import LiveReference
        from commands.subjects.own import without_partner

        report.notes += without_partner(LiveReference(torch_net), paddle_net, options.rules)
    if recipe is not None and torch_net is not None:
        report.notes += recipe.pair.notes(torch_net, paddle_net)
    report.settings |= {"model": name, "seed": options.seed, "weights": options.weights}
    seconds = round(time.monotonic() - start, 2)
    report.environment |= {"command": command_line(), "seconds": seconds}
    return report


# What torch says where a tensor of half precision meets one of the net's float64.
OTHER_DTYPE = re.compile(
    r"(Half|BFloat16|Float|half|bfloat16|float)\b.*(double|Double)|(double|Double).*(Half|BFloat16|Float)\b"
)


@contextmanager
def errors_of_nets(name: str) -> Iterator[None]:
    """Say what a net, a loss or an optimizer raises as a user's error: whose, and at which line."""
    from common.errors import UserError

    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and was_interrupted():
            raise
        if words := _words_of(error, name):
            raise UserError(words) from error
        raise


def _words_of(error: BaseException, name: str) -> str:
    """Return whose code raised `error` and what to do, "" where it was this program's."""
    from align.nets.progress import is_of_reference, raised_in
    from commands.subjects.callables import whose
    from common.places import told, user_frame

    layer = raised_in(error)
    who = whose(error) if not layer or layer.startswith("the loss") else ""
    if who or not isinstance(error, Exception):
        return f"could not check: {who or layer or name} raises {told(error)}. {next_step(error)}"
    if is_of_reference(layer):
        place = layer.replace(" of the reference", "")
        if OTHER_DTYPE.search(str(error)):
            return (
                f"the reference cannot run in float64, in which it is judged: {place} raises "
                f"{told(error)}. Nothing was judged: where its code casts to a fixed dtype "
                "(.half(), .to(torch.bfloat16)), cast to that of a weight: x.to(self.weight.dtype)"
            )
        return (
            f"the reference cannot run on this input: {place} raises {told(error)}. "
            "Nothing was judged: give an input that the reference takes (--input-shape or "
            "--inputs)"
        )
    if user_frame(error) is not None:
        return f"{name} cannot run on this input: {told(error)}"
    if isinstance(error, RuntimeError | ValueError):
        reason = (str(error).strip().splitlines() or [""])[-1]
        return f"{name} cannot run on this input: {reason}"
    return ""


def _propose(options: Any) -> int:
    """Write a rules file that pairs layers of other names; 1 where it is not whole."""
    from align.pairing.fill import proposal
    from align.pairing.reference_torch import LiveReference
    from commands.subjects.own import build_pair
    from common.documents import write_text
    from common.errors import UserError

    path = Path(options.propose)
    if path.exists():
        raise UserError(f"--propose {path}: exists already; remove it or give another name")
    torch_net, paddle_net = build_pair(
        options.torch, options.paddle, options.seed, **arguments_of_nets(options)
    )
    found = proposal(LiveReference(torch_net), paddle_net, options.rules)
    write_text(path, found.to_yaml())
    doubts = len(found.ambiguous), len(found.unmatched), len(found.unfilled)
    say(
        f"written: {path}: {len(found.pairs)} layers of other names are paired, {doubts[0]} are "
        f"ambiguous, {doubts[1]} of the reference and {doubts[2]} of the port have no partner. "
        f"Read it, correct it, and give it as --rules {path}"
    )
    return 0 if not any(doubts) else 1
