"""What the alignment commands share: their options, their two nets, and how they end."""

import gc
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.align.errors import errors_of_nets
from commands.align.nets import nets, take_nets
from commands.align.options import is_own
from commands.align.rungs import compares_nets
from commands.entry import check_folder, print_json, verdict_stands
from commands.guard import announce_report
from common.words.language import phrase, said
from common.words.typed import command_line

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
        from commands.align.proposal.flow import write_proposal

        if recipe is not None:
            take_nets(options, recipe)
        return write_proposal(options)
    rows = list(PAIRS) if options.all else [options.model]
    check_folder(options.report, [f"{stage}_{row}" for row in rows] if options.all else [stage])
    screen = console(stderr=options.json)
    reports = []
    for row in rows:
        subject = (
            row or options.weights or options.torch or ("stdc2_seg" if pair else "the criteria")
        )
        doing = phrase("aligning {subject}, {title}", subject=said(subject), title=said(title))
        with working(doing, options.quiet, progress.progress):
            report = _align_row(options, row, recipe, align, pair)
        reports.append(report)
        name = report.settings["model"]
        if options.report:
            stem = f"{stage}_{name}" if options.all else stage
            announce_report(Path(options.report), stem)
            with verdict_stands(options.report, stem):
                written = write.write_report(report, Path(options.report), stem)
                if not options.quiet:
                    screen.print(phrase("written: {paths}", paths=", ".join(map(str, written))))
        head = phrase("{name}, {title}", name=said(name), title=said(title))
        terminal.print_report(report, screen, head, options.quiet)
    if options.json:
        print_json([report.to_dict() for report in reports])
    codes = {report.exit_code for report in reports}
    return 1 if 1 in codes else max(codes)


def _import_frameworks() -> None:
    """Without the collector of cycles: it takes a fifth of the time, and all that is made stays."""
    gc.disable()
    try:
        import_module("paddle")
        import_module("torch")
    finally:
        gc.enable()


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
            _import_frameworks()
        begin("building the nets")
        with doing("the construction of the nets"):
            if recipe is None:
                torch_net, paddle_net, name = nets(options, row)
            else:
                torch_net, paddle_net, name = recipe.pair.nets(options.weights, options.seed)
    with errors_of_nets(name):
        report = align(torch_net, paddle_net, name)
    report.notes[:0] = vars(options).pop("remarks", [])
    if torch_net is not None and compares_nets(report.stage):
        report.notes += _notes_of_nets(options, recipe, torch_net, paddle_net)
    report.settings |= {"model": name, "seed": options.seed, "weights": options.weights}
    seconds = round(time.monotonic() - start, 2)
    report.environment |= {"command": command_line(), "seconds": seconds}
    return report


def _notes_of_nets(
    options: Any, recipe: "Recipe | None", torch_net: Any, paddle_net: Any
) -> list[str]:
    """Return what is said of the two nets, whatever was compared of them."""
    if recipe is not None:
        return recipe.pair.notes(torch_net, paddle_net)
    if not is_own(options):
        return []
    from align.pairing.reference_torch import LiveReference
    from commands.subjects.own import without_partner

    return without_partner(LiveReference(torch_net), paddle_net, options.rules)
