"""What writes the parts of a call: the rewriter of its file."""

import ast
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

from port.calls import KIND_OF, UNKNOWN, Argument, SourceLine, Spelled
from port.cut.cut import Cut
from port.record.facts import Facts
from port.record.instrument import Span
from port.source import Source
from port.write.files.texts import in_brackets
from port.write.gaps import Needs, SpellingChoice

# They bind tightly: what is written inside of them may need brackets.
TIGHT = ast.BinOp | ast.UnaryOp | ast.Compare | ast.Attribute | ast.BoolOp | ast.Starred | ast.Await


class PartWriter(Protocol):
    """Writes nodes of one file, and keeps what they need."""

    source: Source
    cut: Cut
    needs: Needs
    open_classes: dict[ast.AST, list[str]]
    otherwise: Mapping[SpellingChoice, int]
    in_place: Set[Span]

    def text(self, node: Any) -> str:
        """Return the Paddle text of a node."""

    def inside(self, node: Any) -> str:
        """Return a node's own text with its parts respelled."""

    def extent(self, node: Any) -> tuple[int, int]:
        """Return where a node stands, in bytes."""

    def facts(self, node: ast.AST) -> Facts:
        """Return what was recorded of the value of an expression."""

    def take(self, node: ast.AST, spelled: Spelled) -> str:
        """Return the text of a spelling, and note what it needs."""

    def placed(self, node: ast.AST, text: str) -> str:
        """Return `text` in brackets where its neighbours need them."""

    def where(self, node: Any) -> SourceLine:
        """Return the file and line of a node."""

    def torch_like(self, node: ast.AST, names: Sequence[str]) -> str | None:
        """Return the name of a class that takes torch's arguments, None without one."""

    def stub(self, node: ast.AST, api: str, reason: str) -> str:
        """Return what raises when it is reached, and note the gap."""

    def absent(self, node: ast.AST, api: str) -> str:
        """Return what stands for a value without a spelling that is not called here."""


def picked_of_a_view(writer: PartWriter, node: ast.Subscript) -> str | None:
    """Write `x[:, [2, 0]]` of a copy: of a view Paddle picks places of another axis.

    None where neither a list, a tensor nor a mask picks of another axis than the first.
    """
    if not isinstance(node.ctx, ast.Load) or not isinstance(node.slice, ast.Tuple):
        return None
    first, *rest = (_picks(writer, one) for one in node.slice.elts)
    if first or not any(rest) or writer.facts(node.value).kind != "tensor":
        return None
    return f"{in_brackets(writer.text(node.value))}.clone()[{writer.text(node.slice)}]"


def _picks(writer: PartWriter, index: ast.expr) -> bool:
    known = writer.facts(index)
    several = known.kind in ("list", "tuple", "range") or (known.kind == "tensor" and known.rank)
    return isinstance(index, ast.List | ast.Tuple | ast.ListComp) or bool(several)


def placed_in(node: ast.AST) -> Iterator[Any]:
    """Yield the nearest parts of a node that have a place of their own."""
    for child in ast.iter_child_nodes(node):
        if hasattr(child, "lineno"):
            yield child
        else:
            yield from placed_in(child)


def argument(text: str, node: Any, facts: Facts, name: str | None = None) -> Argument:
    """Return an argument as the table of meanings asks for it."""
    kind, value = facts.kind, facts.value
    if isinstance(node, ast.Constant) and type(node.value) in KIND_OF:
        kind, value = KIND_OF[type(node.value)], node.value
    elif kind == "other" and value is UNKNOWN:
        kind = _shape_of(node)
    more = facts.rank, facts.dtype, facts.single, facts.uneven, facts.linked
    return Argument(text, name, "", kind, value, *more)


def _shape_of(node: Any) -> str:
    if isinstance(node, ast.Tuple):
        return "tuple"
    if isinstance(node, ast.List | ast.ListComp):
        return "list"
    return "other"
