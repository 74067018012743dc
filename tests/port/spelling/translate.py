"""A torch expression, spelled in Paddle by the table: the recorder and the writer in small."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from port.calls import UNKNOWN, Argument, SourceLine, Spelled, TorchCall
from port.record.names_torch import names_of
from port.spelling import spell, spell_operator
from port.spelling.names import spell_attribute, spell_name
from port.spelling.render import SIGNS
from port.spelling.table import rows

DOTTED = re.compile(r"[\w.]+")
SHORT = {"F": "torch.nn.functional", "nn": "torch.nn"}
HERE = SourceLine(Path("sample.py"), 1)
KINDS = [
    (torch.Tensor, "tensor"),
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "str"),
    (type(None), "none"),
    (list, "list"),
    (torch.Size, "size"),
    (tuple, "tuple"),
    (torch.dtype, "dtype"),
    (torch.device, "device"),
    (torch.nn.Module, "module"),
    (type, "class"),
    (range, "range"),
]
VARIED = "varied"  # a name whose value differs from call to call
CONSTANTS = (bool, int, float, str, type(None))


def described(text: str, value: Any, name: str | None = None, star: str = "") -> Argument:
    """Return an argument as the recorder would note it."""
    kind = next((kind for cls, kind in KINDS if isinstance(value, cls)), "other")
    known = isinstance(value, CONSTANTS) and text != VARIED
    constant: object = value if known else UNKNOWN
    rank, dtype = None, None
    if kind == "dtype":
        constant = str(value).removeprefix("torch.")
    if kind == "tensor":
        rank, dtype = value.dim(), str(value.dtype).removeprefix("torch.")
    elif kind in ("list", "tuple", "size"):
        rank = len(value)
        kinds = {described("", item).kind for item in value}
        dtype = kinds.pop() if len(kinds) == 1 else None
        if all(isinstance(item, CONSTANTS) for item in value):
            constant = tuple(value)
    return Argument(text, name, star, kind, constant, rank, dtype)


class Translation(ast.NodeTransformer):
    """Rewrites an expression; `values` are the torch tensors of its names."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.names = {"torch": torch, "F": torch.nn.functional, "nn": torch.nn, **values}
        self.spelled: list[Spelled] = []

    def value(self, node: ast.expr) -> Any:
        """Return what an expression of torch is worth."""
        return eval(compile(ast.Expression(node), "sample", "eval"), dict(self.names))

    def translated(self, text: str) -> str:
        """Return the Paddle text of a torch expression."""
        return ast.unparse(self.visit(ast.parse(text, mode="eval").body))

    def take(self, spelled: Spelled) -> ast.expr:
        """Return the tree of a spelling, which is kept."""
        self.spelled.append(spelled)
        return ast.parse(spelled.text, mode="eval").body

    def visit_Call(self, node: ast.Call) -> ast.expr:
        api, receiver = self.called(node.func)
        if api == "":
            return self.generic_visit(node)
        arguments = [self.argument(a) for a in node.args]
        arguments += [self.argument(k.value, k.arg) for k in node.keywords]
        return self.take(spell(TorchCall(api, tuple(arguments), HERE, receiver)))

    def called(self, func: ast.expr) -> tuple[str, Argument | None]:
        """Return the API of a call and its receiver; "" where a layer or Python is called."""
        plain = isinstance(func, ast.Call | ast.Name)
        if plain or isinstance(self.value(func), torch.nn.Module):
            called = f"torch.nn.{type(self.value(func)).__name__}.__call__"
            return (called, self.argument(func)) if called in rows() else ("", None)
        assert isinstance(func, ast.Attribute)
        dotted = ast.unparse(func)
        first = dotted.partition(".")[0]
        if DOTTED.fullmatch(dotted) and first in (*SHORT, "torch"):
            return SHORT.get(first, first) + dotted.removeprefix(first), None
        owner = self.value(func.value)
        if isinstance(owner, torch.Tensor):
            return f"torch.Tensor.{func.attr}", self.argument(func.value)
        if not isinstance(owner, torch.nn.Module):
            return "", None
        bases = [name for kind in type(owner).__mro__ for name in names_of(kind)]
        names = [f"torch.nn.{type(owner).__name__}", *bases]
        own = next((n for n in names if f"{n}.{func.attr}" in rows()), "torch.nn.Module")
        return f"{own}.{func.attr}", self.argument(func.value)

    def argument(self, node: ast.expr, name: str | None = None) -> Argument:
        """Return an argument with its Paddle text."""
        star = "*" if isinstance(node, ast.Starred) else "" if name or name is None else "**"
        inner = node.value if isinstance(node, ast.Starred) else node
        value = self.value(inner)
        return described(ast.unparse(self.visit(inner)), value, name, star)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        sides = [self.argument(side) for side in (node.left, node.right)]
        spelled = spell_operator(SIGNS[type(node.op)], *sides)
        if spelled is not None:
            return self.take(spelled)
        left, right = (ast.parse(side.text, mode="eval").body for side in sides)
        return ast.BinOp(left, node.op, right)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        dotted = ast.unparse(node)
        first = dotted.partition(".")[0]
        if DOTTED.fullmatch(dotted) and first in (*SHORT, "torch"):
            return self.take(spell_name(SHORT.get(first, first) + dotted.removeprefix(first)))
        owner = self.value(node.value)
        if not isinstance(owner, torch.Tensor | torch.nn.Module):
            return self.generic_visit(node)
        kind = described("", owner).kind
        if kind == "module":
            kind = f"torch.nn.{type(owner).__name__}"
        return self.take(spell_attribute(kind, node.attr, ast.unparse(self.visit(node.value))))
