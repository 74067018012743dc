"""Names of torch that stand as values, and attributes of tensors and layers."""

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any

from port.calls import Argument, NoSpelling, Spelled
from port.helpers import helper_names
from port.spelling.render import COMPARED
from port.spelling.since import too_new
from port.spelling.table import read, rows
from port.spelling.texts import DATA, atom, constant, itself, negated, parsed, turned, worked_out

IMPORTS = {
    "paddle": "import paddle",
    "nn": "from paddle import nn",
    "F": "import paddle.nn.functional as F",
    "math": "import math",
    "operator": "import operator",
}
OWNER = "x"  # in attributes.yml: what the attribute is read of
VALUE = "value"  # what is written
ITSELF = ("data", "grad", "requires_grad")  # they want no view of a weight


def imports_of(names: set[str]) -> frozenset[str]:
    """Return the lines of import behind bare names."""
    return frozenset(IMPORTS[name] for name in names & IMPORTS.keys())


def names_of(text: str) -> set[str]:
    """Return the bare names in an expression; none of a text that is not one."""
    tree = parsed(text)
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} if tree else set()


def spell_name(api: str) -> Spelled:
    """Return the Paddle name of a torch class, function or constant that is not called here.

    A class that travels as a value keeps its own arguments: whoever calls it is spelt there.

    Raises:
        NoSpelling: where neither names.yml nor a row of the table has it.
    """
    text = name_table().get(api) or called_by(api) or _always(api)
    if text is None:
        younger = next(filter(None, map(too_new, rows().get(api, ()))), "")
        raise NoSpelling(api, younger or "it is not in the table of meanings, as a value")
    names = names_of(text)
    return Spelled(text, imports_of(names), frozenset(names & helper_names()))


@cache
def name_table() -> Mapping[str, str]:
    """Return {torch's name: Paddle's} of names.yml."""
    return {api: str(text) for api, text in read("names")["names"].items()}


def called_by(api: str) -> str | None:
    """Return what the row of an API calls, where the user's arguments are all that it is given."""
    for form in rows().get(api, ()):
        tree = None if form.template.startswith("@") or too_new(form) else form.tree
        if isinstance(tree, ast.Call) and any(isinstance(a, ast.Constant) for a in tree.args):
            continue
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute | ast.Name):
            return ast.unparse(tree.func)
    return None


def _always(api: str) -> str | None:
    """Return a function for one of torch's without arguments that is always the same here."""
    trees = [form.tree for form in rows().get(api, ()) if not form.parameters]
    constant = trees and isinstance(trees[0], ast.Constant)
    return f"(lambda: {ast.unparse(trees[0])})" if constant else None


def spell_attribute(owner_kind: str, name: str, text: str, *, subscripted: bool = False) -> Spelled:
    """Return the Paddle text of `text.name`.

    Args:
        owner_kind: "tensor", or the dotted class of a layer: "torch.nn.Conv2d".
        name: torch's name of the attribute.
        text: the owner as it is written.
        subscripted: an item of it is taken: a list will do where torch has a tuple.

    Raises:
        NoSpelling: where attributes.yml does not have it; of a layer, that its own name stays.
    """
    entry = _entry(owner_kind, name)
    if owner_kind == "tensor" and name in ITSELF:
        held, whole = itself(text), text
        if name == "data" and held != whole:  # torch's order of the axes, in the same memory
            text = turned(held + DATA) if held == turned(whole) else whole + DATA
            return Spelled(text)
        text = held
    key = "item" if subscripted and "item" in entry else "read"
    template = entry[key]
    return _spelled(_filled(template, {OWNER: text}), template)


def is_new_of_modules(name: str) -> bool:
    """Tell whether a dotted name is one that torch's modules lack: a user gave it to them."""
    owner, _, attribute = name.rpartition(".")
    known = attribute.startswith("_") or attribute in ("forward", *attribute_table()["layer"])
    return owner == "torch.nn.Module" and not known and name not in rows()


def spell_setting(owner_kind: str, name: str, text: str, value: Argument) -> Spelled:
    """Return the statement that stands for `text.name = value`.

    Raises:
        NoSpelling: where attributes.yml does not say how it is written.
    """
    template = _entry(owner_kind, name).get("set")
    if template is None:
        raise NoSpelling(f"{owner_kind}.{name}", "it is not to be written")
    if (owner_kind, name) == ("tensor", "data") and (held := itself(text)) == turned(text):
        given = itself(value.text)
        if given != value.text and given == turned(value.text):  # which both hold from now on
            return Spelled(f"set_data({held}, {given})", helpers=frozenset({"set_data"}))
        return Spelled(f"{held}.set_value({turned(value.text)})")
    if name == "weight" and (shared := itself(value.text)) == turned(value.text):
        return Spelled(f"{text}.weight = {shared}")  # of two Linears
    target, sign, right = template.partition(" = ")
    if not sign and target.endswith(")"):  # a method that writes
        return _spelled(_filled(template, {OWNER: text, VALUE: value.text}), template)
    filled = _filled(right, {OWNER: text, VALUE: value.text}) if sign else value.text
    return _spelled(f"{_filled(target, {OWNER: text})} = {filled}", right or target)


def _spelled(text: str, template: str) -> Spelled:
    names = names_of(template)
    return Spelled(text, imports_of(names), frozenset(names & helper_names()))


def _entry(owner_kind: str, name: str) -> dict[str, str]:
    table = attribute_table()
    kinds = [owner_kind, "layer"] if owner_kind.startswith("torch.nn.") else [owner_kind]
    for kind in kinds:
        if name in table.get(kind, {}):
            found = table[kind][name]
            return {"read": found} if isinstance(found, str) else found
    raise NoSpelling(f"{owner_kind}.{name}", "the attribute is not in the table of meanings")


@cache
def attribute_table() -> Mapping[str, Mapping[str, Any]]:
    """Return {kind of owner: {attribute: how it is read and written}}."""
    table = read("attributes")
    found: dict[str, Mapping[str, Any]] = {"tensor": table["tensor"], "layer": table["layer"]}
    for kinds, entries in table["of"].items():
        found |= dict.fromkeys(kinds.split(), entries)
    return found


def _filled(template: str, texts: Mapping[str, str]) -> str:
    """Return an expression of attributes.yml with texts in the places of its names."""
    return _text(ast.parse(template, mode="eval").body, texts)


def _text(tree: ast.expr, texts: Mapping[str, str]) -> str:
    if isinstance(tree, ast.Name):
        return texts.get(tree.id, tree.id)
    if isinstance(tree, ast.Attribute):
        return f"{atom(_text(tree.value, texts))}.{tree.attr}"
    if isinstance(tree, ast.Subscript):
        return f"{atom(_text(tree.value, texts))}[{_text(tree.slice, texts)}]"
    if isinstance(tree, ast.Call):
        inside = ", ".join(_text(argument, texts) for argument in tree.args)
        return f"{_text(tree.func, texts)}({inside})"
    if isinstance(tree, ast.BinOp):
        return f"({worked_out(_text(tree.left, texts), '-', _text(tree.right, texts))})"
    if isinstance(tree, ast.Compare):
        sides = [_text(one, texts) for one in (tree.left, tree.comparators[0])]
        return f"({sides[0]} {COMPARED[type(tree.ops[0])]} {sides[1]})"
    if isinstance(tree, ast.List):
        return f"[{', '.join(_text(e, texts) for e in tree.elts)}]"
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        text = negated(_text(tree.operand, texts))
        return text if constant(text)[0] else f"({text})"
    if isinstance(tree, ast.Tuple):
        return f"({', '.join(_text(e, texts) for e in tree.elts)})"
    if isinstance(tree, ast.IfExp):
        parts = [_text(one, texts) for one in (tree.body, tree.test, tree.orelse)]
        return "({} if {} else {})".format(*parts)
    return ast.unparse(tree)
