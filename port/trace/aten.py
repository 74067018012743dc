"""Operations of traced graphs as calls of torch, which the table of meanings spells.

A row of `aten.yml` is `operation: call`: a call of torch's or of a method, with the names of the
operation's parameters in it; or "@name", a function of `written`.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from port.calls import KIND_OF, UNKNOWN, Argument, NoSpelling, SourceLine, Spelled, TorchCall
from port.meanings import call_spelled
from port.spelling.table import read
from port.trace.graph import TracedNode

_DROPPED = frozenset({
    "layout", "device", "pin_memory", "memory_format", "non_blocking", "cudnn_enabled",
    "cudnn_enable", "generator", "copy", "implicit", "enable_gqa", "sparse_grad",
})  # fmt: skip
_DEFAULT = ("dtype", "float32")  # which the exporter writes where the user's code gives none
_NOWHERE = SourceLine(Path("graph"), 0)
ArgumentOf = Callable[[Any], Argument]


@cache
def aten_rows() -> Mapping[str, str]:
    """Return {operation: its row}; an overload without a row of its own has that of its packet."""
    return {name: row for names, row in read("aten")["rows"].items() for name in names.split(" | ")}


def row_of(op: str) -> str | None:
    """Return the row of "aten.add.Tensor": its own, or that of "aten.add"."""
    return aten_rows().get(op) or aten_rows().get(op.rpartition(".")[0])


def as_torchs(node: TracedNode, argument_of: ArgumentOf) -> Spelled:
    """Return the spelling of an operation whose row is a call of torch's; NoSpelling without."""
    row = row_of(node.op)
    if row is None:
        raise NoSpelling(node.op, "it is not in the table of traced operations")
    given = {
        name: _filling(node, name, value)
        for name, value in node.given
        if not _is_dropped(node, name, value)
    }
    tree = ast.parse(row, mode="eval").body
    assert isinstance(tree, ast.Call)
    names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    for name, value in given.items():
        if name not in names:
            raise NoSpelling(node.op, f"{name}={value} has no spelling")
    call = _call(tree, given, argument_of, node)
    return call_spelled([call.api], call)


def _filling(node: TracedNode, name: str, value: Any) -> Any:
    """Return what a tensor is filled with as a number of the tensor's type."""
    whole = name in ("s", "fill_value") and type(value) is int
    return float(value) if whole and "float" in (node.facts.dtype or "") else value


def _is_dropped(node: TracedNode, name: str, value: Any) -> bool:
    if name in _DROPPED:
        return True
    return name == "dtype" and value == _DEFAULT and "to" not in node.op.split(".")[1]


def _call(
    tree: ast.Call, given: Mapping[str, Any], argument_of: ArgumentOf, node: TracedNode
) -> TorchCall:
    func = tree.func
    assert isinstance(func, ast.Attribute)
    receiver, api = None, ast.unparse(func)
    if not api.startswith("torch."):
        assert isinstance(func.value, ast.Name)
        receiver, api = argument_of(given[func.value.id]), f"torch.Tensor.{func.attr}"
    arguments = []
    parts = [*((one, None) for one in tree.args), *((k.value, k.arg) for k in tree.keywords)]
    for part, name in parts:
        if isinstance(part, ast.Starred):
            arguments += [argument_of(one) for one in given[ast.unparse(part.value)]]
        elif not isinstance(part, ast.Name):
            arguments.append(_constant(ast.literal_eval(part), name))
        elif part.id in given:
            arguments.append(replace(argument_of(given[part.id]), name=name))
    known = node.facts
    result = Argument("", None, "", known.kind, UNKNOWN, known.rank, known.dtype)
    result = replace(result, uneven=known.uneven)
    return TorchCall(api, tuple(arguments), _NOWHERE, receiver, result)


def _constant(value: Any, name: str | None) -> Argument:
    return Argument(repr(value), name, "", KIND_OF.get(type(value), "tuple"), value)
