"""Pieces of a tensor that are written into: torch's are parts of it, Paddle's are copies."""

import ast

from port.calls import Spelled
from port.record.facts import Facts, SeenCall
from port.record.instrument import span_of
from port.write.in_place.uses import is_of_parameters, read_later
from port.write.parts import PartWriter

_KEYWORDS = {"dim": "axis", "input": "x", "tensor": "x", "chunks": "chunks"}
_MAYBE_TURNED = "may cut the weight of a Linear, whose axes Paddle has exchanged"


def pieces_to_write(writer: PartWriter, node: ast.Call) -> str | None:
    """Write `x.chunk(2)` as slices of x where one is written into, and x is read elsewhere.

    None of other calls, and of those whose tensor nothing else holds.
    """
    seen = writer.source.record.calls.get(span_of(node), ())
    if not seen or not all(one.pieces_written for one in seen):
        return None
    whole = _whole(node, seen[0])
    if (
        whole is None
        or _is_alone(writer, whole)
        or any(isinstance(a, ast.Starred) for a in node.args)
    ):
        return None
    if _may_be_turned(writer, whole):
        return writer.stub(node, ast.unparse(node), _MAYBE_TURNED)
    rest = [writer.text(one) for one in node.args if one is not whole]
    for one in node.keywords:
        name = _KEYWORDS.get(one.arg or "", "size")
        rest += [f"{name}={writer.text(one.value)}"] if one.value is not whole else []
    chunks = any(name.endswith("chunk") for name in seen[0].names)
    helper = "chunk_views" if chunks else "split_views"
    text = f"{helper}({', '.join([writer.text(whole), *rest])})"
    return writer.take(node, Spelled(text, helpers=frozenset({helper})))


def _whole(node: ast.Call, seen: SeenCall) -> ast.expr | None:
    """Return the tensor that a call is of."""
    if seen.receiver is not None:
        return node.func.value if isinstance(node.func, ast.Attribute) else None
    named = {one.arg: one.value for one in node.keywords}
    return node.args[0] if node.args else named.get("input", named.get("tensor"))


def _may_be_turned(writer: PartWriter, node: ast.expr) -> bool:
    """Tell whether a tensor is one of a loop over parameters, now of a Linear, now of another."""
    if isinstance(node, ast.Attribute) and node.attr == "data":
        node = node.value
    if not isinstance(node, ast.Name) or writer.facts(node).rank not in (None, 2):
        return False
    return is_of_parameters(writer, node)


def _is_alone(writer: PartWriter, node: ast.expr) -> bool:
    """Tell whether a value is new, and by no other name: it was computed, and is read no more."""
    if isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "data"):
        return _is_alone(writer, node.value)
    if isinstance(node, ast.Call):
        return _is_made(writer, node)
    function = writer.source.function_around(node)
    if not isinstance(node, ast.Name) or function is None:
        return False
    if read_later(writer.source, node, {node.id}):
        return False
    inside = [one for one in ast.walk(function) if isinstance(one, ast.Name) and one.id == node.id]
    sets = [one for one in inside if isinstance(one.ctx, ast.Store)]
    made = writer.source.parents.get(sets[0]) if len(sets) == 1 else None
    return isinstance(made, ast.Assign) and _is_alone(writer, made.value)


def _is_made(writer: PartWriter, node: ast.Call) -> bool:
    """Tell whether a call makes a new tensor; what torch's functions give may be a view."""
    seen = writer.source.record.calls.get(span_of(node), [])
    names = [one.names[0] for one in seen if one.names]
    if not any(name.startswith("torch.") and not name.startswith("torch.nn.") for name in names):
        return bool(seen)
    owner = seen[0].receiver or next(iter(seen[0].positional), Facts())
    whole = _whole(node, seen[0])
    return owner.kind != "tensor" or (whole is not None and _is_alone(writer, whole))
