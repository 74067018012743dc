"""A report on the screen: a tree as deep as the trouble, the worst calls, one verdict line."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.words import ROOT, Words, printed
from align.report.groups import in_groups
from align.report.mends import Mend, key_of, mends
from align.report.report import Report, how_far, subject
from align.report.sources import short_source
from common.terminal import STYLES, labelled, mark, verdict
from common.words.language import comma, phrase

SHOWN = 12
WORST = 5
NARROW = 80  # columns


def print_report(
    report: Report, console: Console, title: str | None = None, quiet: bool = False
) -> None:
    """Print `report`; without a terminal as plain lines, `quiet`: the verdict alone."""
    if quiet:
        verdict(console, report.exit_code, printed(report.verdict))
        return
    if title:
        console.print(title, style="bold")
    if console.is_terminal:
        _draw(report, console)
    else:
        _write(report, console)
    for note in report.notes[:SHOWN]:
        console.print(phrase("note: {note}", note=printed(note)), style="dim")
    verdict(console, report.exit_code, printed(report.verdict))


def _write(report: Report, console: Console) -> None:
    """Print one line for each part, difference and tensor that could not be checked."""
    if report.calls:
        console.print(_parts_table(report))
    lines = in_groups(report, DIFFERS).lines(report.divergences, lambda found: printed(found.words))
    lines += in_groups(report, UNCHECKED).lines(report.unchecked, _unchecked)
    _print_some(console, lines)
    for mend in mends([report], [report.stage])[:1]:
        found = _sources(mend)
        head = phrase("code of {layer}:", layer=printed(mend.layer or ROOT))
        for line in [head, *found] if found else []:
            console.print(f"  {line}")


def _sources(mend: Mend) -> list[str]:
    """Return where the code of both sides is: a library's layer is mended where it is used."""
    if not mend.paddle_source:
        return []
    port = mend.paddle_user or mend.paddle_source
    reference = mend.torch_user or mend.torch_source
    sides = {phrase("port"): port, phrase("reference"): reference}
    return labelled([(side, short_source(source)) for side, source in sides.items()])


def _unchecked(call: Comparison) -> str:
    cause = Words.told(call.cause or "")
    return printed(Words("left_unchecked", place=place(call), cause=cause))


def _print_some(console: Console, entries: list[list[str]]) -> None:
    for first, *rest in entries[:SHOWN]:
        console.print(f"- {first}")
        for line in rest:
            console.print(f"  {line}")
    if len(entries) > SHOWN:
        console.print(f"  {_and_more(len(entries))}")


def _and_more(count: int) -> str:
    return phrase("and {count} more (--report DIR writes all)", count=count - SHOWN)


def _parts_table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(phrase("part"))
    for name in ("compared", "worst", "allowed", "adds up to"):
        table.add_column(phrase(name), justify="right")
    table.add_column(phrase("at"))
    for part, calls in _by_part(report.calls).items():
        judged = [call for call in calls if call.verdict not in (NOISE, UNCHECKED)]
        worst = max(judged, key=lambda call: call.severity, default=calls[0])
        added = max((call.cumulative or 0.0 for call in calls), default=0.0)
        table.add_row(
            part or printed(ROOT),
            str(len(calls)),
            f"{worst.relative_error:.1e}",
            f"{worst.floor:.1e}",
            f"{added:.1e}" if added else "",
            f"{worst.layer.removeprefix(part).lstrip('.') or '.'} {worst.where}",
        )
    return table


def _by_part(calls: list[Comparison]) -> dict[str, list[Comparison]]:
    """Group the comparisons by top-level module."""
    parts: dict[str, list[Comparison]] = {}
    for call in calls:
        layer = subject(call) if call.verdict == DIFFERS else call.layer
        parts.setdefault(layer.split(".")[0], []).append(call)
    return parts


def place(call: Comparison) -> str:
    """Return layer and tensor of a comparison."""
    return f"{call.layer or ROOT} {call.where}"


@dataclass
class _Node:
    """A module of the net with what was compared in it and below it."""

    name: str
    path: str
    calls: list[Comparison] = field(default_factory=list)
    children: dict[str, "_Node"] = field(default_factory=dict)

    @property
    def below(self) -> list[Comparison]:
        return self.calls + [call for child in self.children.values() for call in child.below]


def _draw(report: Report, console: Console) -> None:
    if report.calls:
        console.print(_tree(report, console))
        console.print()
        console.print(_worst_table(report, console.width < NARROW))


def _nodes(calls: list[Comparison]) -> _Node:
    root = _Node("(root)", "")
    for call in calls:
        node, layer = root, subject(call) if call.verdict in (DIFFERS, UNCHECKED) else call.layer
        for name in layer.split(".") if layer else ():
            path = f"{node.path}.{name}" if node.path else name
            node = node.children.setdefault(name, _Node(name, path))
        node.calls.append(call)
    return root


class _Shown:
    """What of a report the tree opens: of the layers of a group the first alone."""

    def __init__(self, report: Report) -> None:
        self.groups = {verdict: in_groups(report, verdict) for verdict in (DIFFERS, UNCHECKED)}
        self.found = {key_of(mend.first): mend for mend in mends([report], [report.stage])}

    def trouble(self, calls: list[Comparison]) -> list[Comparison]:
        """Return the calls that are told, each at its layer."""
        told = [call for call in calls if call.verdict in self.groups]
        return [call for call in told if not self.groups[call.verdict].is_folded(call)]

    def lines(self, node: "_Node") -> list[Text]:
        """Return what is told at one layer."""
        trouble = self.trouble(node.calls)
        lines = [_trouble(call) for call in trouble[:SHOWN]]
        if len(trouble) > SHOWN:
            lines.append(Text(_and_more(len(trouble))))
        shared = [self.groups[call.verdict].shared(call) for call in trouble]
        lines += [Text(line) for line in dict.fromkeys(filter(None, shared))]
        keys = dict.fromkeys(key_of(call) for call in trouble if key_of(call) in self.found)
        sources = [line for key in [*keys][:1] for line in _sources(self.found[key])]
        return [*lines, *(Text(line, style="dim") for line in sources)]


def _tree(report: Report, console: Console) -> Tree:
    """Return the net, open only where something differs or could not be checked."""
    shown = _Shown(report)

    def grow(node: _Node, tree: Tree, top: bool) -> None:
        for line in shown.lines(node):
            tree.add(line)
        for child in (_down_to_trouble(child, shown) for child in node.children.values()):
            calls = child.below
            if top or shown.trouble(calls):
                grow(child, tree.add(_branch(child.name, calls, console)), False)

    root = _nodes(report.calls)
    tree = Tree(_branch(root.name, report.calls, console), guide_style="dim")
    grow(root, tree, True)
    return tree


def _down_to_trouble(node: _Node, shown: _Shown) -> _Node:
    """Return the only node below `node` in which trouble is told, named by the way to it."""
    while not shown.trouble(node.calls):
        bad = [child for child in node.children.values() if shown.trouble(child.below)]
        if len(bad) != 1:
            break
        name = f"{node.name}.{bad[0].name}"
        node = _Node(name, bad[0].path, bad[0].calls, bad[0].children)
    return node


def _code(calls: list[Comparison]) -> int:
    verdicts = {call.verdict for call in calls}
    return 1 if DIFFERS in verdicts else 2 if UNCHECKED in verdicts else 0


def _branch(name: str, calls: list[Comparison], console: Console) -> Text:
    code = _code(calls)
    counts = [(sum(call.verdict == kind for call in calls), kind) for kind in _KINDS]
    said = comma().join(
        phrase("{count} {kind}", count=count, kind=phrase(kind)) for count, kind in counts if count
    )
    judged = any(call.verdict in (EQUAL, DIFFERS, UNCHECKED) for call in calls)
    text = Text(f"{mark(console, code) if judged else '~'} ", style=STYLES[code] if judged else "")
    text.append(printed(name), style="bold" if code else "default")
    return text.append(f"  {said}", style="dim")


_KINDS = (DIFFERS, UNCHECKED, EQUAL, NOISE)


def _trouble(call: Comparison) -> Text:
    if call.verdict == UNCHECKED:
        cause = Words.told(call.cause or "")
        left = Words("left_unchecked", place=call.where, cause=cause)
        return Text(printed(left), style="yellow")
    where: Words | str = call.where
    if subject(call) != call.layer:
        where = Words("of_layer", where=where, layer=call.layer or ROOT)
    said = {"where": where, "how": how_far(call, indexed=False)}
    words = Words("off_where", **said)
    if call.step is not None:
        words = Words("off_in_step", step=call.step, **said)
    return Text(printed(words), style="red")


def _worst_table(report: Report, narrow: bool) -> Table:
    """Return the calls that stand highest over, or closest below, their floors."""
    judged = [call for call in report.calls if call.verdict in (EQUAL, DIFFERS)]
    highest = sorted(judged, key=_over_floor, reverse=True)[:WORST]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(phrase("worst calls"), overflow="fold")
    for name in ("error", "floor") if narrow else ("error", "floor", "plain run"):
        table.add_column(phrase(name), justify="right", no_wrap=True)
    for call in highest:
        row = [printed(place(call)), f"{call.relative_error:.1e}", f"{call.floor:.1e}"]
        if not narrow:
            row.append("" if call.cumulative is None else f"{call.cumulative:.1e}")
        table.add_row(*row, style="red" if call.verdict == DIFFERS else None)
    return table


def _over_floor(call: Comparison) -> tuple[bool, float]:
    error = call.relative_error
    share = error / call.floor if call.floor else error
    if call.verdict == EQUAL and call.cause:  # a known difference
        share = 0.0
    return call.verdict == DIFFERS, share if share == share else float("inf")
