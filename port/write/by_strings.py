"""Calls that reach a thing by a string: getattr, eval, imports; and Python's own of tensors."""

import ast
import re
from collections.abc import Callable
from types import MappingProxyType

from port.calls import KIND_OF, Argument, NoSpelling, Spelled, TorchCall
from port.meanings import call_spelled, named, value_spelled
from port.record.facts import GETATTR, LOCATE, MODULE_BY_NAME, OF_STRINGS, SeenCall
from port.record.instrument import owner_of_table, span_of
from port.write.owners import attribute_read
from port.write.parts import PartWriter

_NAMED = ("class", "function", "dtype")
_OF_TORCH = re.compile(r"\b(torch|nn|F)\.")


def _by_name(rewriter: PartWriter, node: ast.Call, seen: list[SeenCall]) -> str | None:
    """Write `getattr(nn, name)`, `getattr(layer, name)`: the names that it was asked for.

    None where Paddle has them all under torch's name.
    """
    known, packages = _recorded_names(rewriter, node, seen)
    if not known:
        return None
    values = [rewriter.text(one) for one in node.args[packages:]]
    values += [f"{name}={text}" for name, text in sorted(known.items())]
    helper = "recorded_name" if packages else "attribute_of"
    return rewriter.take(node, named(f"{helper}({', '.join(values)})"))


def by_key(rewriter: PartWriter, node: ast.Subscript) -> str | None:
    """Write `nn.__dict__[name]`, `vars(F)[name]`: the names of torch's that it was asked for."""
    seen = rewriter.source.record.calls.get(span_of(node), [])
    owner = owner_of_table(node.value)
    if owner is None or not seen:
        return None
    known, _ = _recorded_names(rewriter, node, seen)
    if isinstance(node.slice, ast.Constant) and known:
        return rewriter.take(node, named(*known.values()))
    asked = rewriter.text(node.slice)
    if not known:
        return f"getattr({rewriter.text(owner)}, {asked})"
    values = [asked, *(f"{name}={text}" for name, text in sorted(known.items()))]
    return rewriter.take(node, named(f"recorded_name({', '.join(values)})"))


def _recorded_names(
    rewriter: PartWriter, node: ast.expr, seen: list[SeenCall]
) -> tuple[dict[str, str], bool]:
    """Return what stands for each name where it is not Paddle's too, and whether of packages."""
    known: dict[str, str] = {}
    packages = all(one.positional[0].kind == "package" for one in seen)
    for one in seen:
        owner = one.positional[0]
        try:
            if owner.kind == "package" and one.result.names:
                found = value_spelled(one.result.names).text
            else:
                spelled = attribute_read(rewriter.cut.record, owner.names, one.asked, "x", False)
                found = "" if spelled is None else f"lambda x: {spelled.text}"
        except NoSpelling:  # whoever calls it is a gap by itself
            found = rewriter.absent(node, one.result.names[0])
        if found not in ("", f"lambda x: x.{one.asked}"):
            known[one.asked] = found
    return known, packages


def _of_strings(rewriter: PartWriter, node: ast.Call, seen: list[SeenCall]) -> str | None:
    """Write `eval(text)` that gave classes or functions of torch as a choice by the text.

    A text that makes a layer, `"nn.ReLU6()"`, is read; one that computes more has no spelling.
    """
    if any(one.result.kind == "module" and one.result.names for one in seen):
        return _layers_of_strings(rewriter, node, seen)
    given = {one.asked: one.result.names for one in seen if one.result.kind in _NAMED}
    torchs = {text: names for text, names in given.items() if names}
    for one in seen:
        if one.asked not in torchs and _OF_TORCH.search(one.asked):
            return rewriter.stub(node, "eval", f"runs {one.asked!r}, a text of torch's")
    if not torchs:
        return None
    try:
        spelled = {text: value_spelled(names) for text, names in torchs.items()}
    except NoSpelling as error:
        return rewriter.stub(node, error.api, error.reason)
    known = [f"{text!r}: {rewriter.take(node, one)}" for text, one in spelled.items()]
    if isinstance(node.args[0], ast.Constant):
        return next(iter(spelled.values())).text
    table, asked = "{" + ", ".join(known) + "}", rewriter.text(node.args[0])
    if len(torchs) == len(seen):
        return f"{table}[{asked}]"
    return f"({table}.get({asked}) or {rewriter.inside(node)})"


def _layers_of_strings(rewriter: PartWriter, node: ast.Call, seen: list[SeenCall]) -> str | None:
    """Write `eval("nn.ReLU6()")`: layers of torch, of constants; the user's own are run as ever."""
    known = {}
    for one in seen:
        if not _OF_TORCH.search(one.asked):
            continue
        try:
            known[one.asked] = rewriter.take(node, _made_by_text(rewriter, node, one))
        except (NoSpelling, SyntaxError, ValueError):
            return rewriter.stub(node, "eval", f"runs {one.asked!r}, a text of torch's")
    if not known:
        return None
    if isinstance(node.args[0], ast.Constant):
        return next(iter(known.values()))
    asked = rewriter.text(node.args[0])
    table = "{" + ", ".join(f"{text!r}: lambda: {made}" for text, made in known.items()) + "}"
    if len(known) == len(seen):
        return f"{table}[{asked}]()"
    return f"({table}.get({asked}, lambda: None)() or {rewriter.inside(node)})"


def _made_by_text(rewriter: PartWriter, node: ast.Call, seen: SeenCall) -> Spelled:
    """Return the spelling of a text that calls a class of torch with constants."""
    tree, names = ast.parse(seen.asked.strip(), mode="eval").body, seen.result.names
    function = ast.unparse(tree.func) if isinstance(tree, ast.Call) else ""
    if not isinstance(tree, ast.Call) or function.rpartition(".")[2] not in _last_parts(names):
        raise ValueError(seen.asked)
    given = [(None, one) for one in tree.args] + [(one.arg, one.value) for one in tree.keywords]
    arguments = tuple(_constant(name, value) for name, value in given)
    return call_spelled(names, TorchCall(names[0], arguments, rewriter.where(node)))


def _last_parts(names: tuple[str, ...]) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


def _constant(name: str | None, value: ast.expr) -> Argument:
    """Return an argument that is a constant; ValueError of another."""
    held = ast.literal_eval(value)
    return Argument(ast.unparse(value), name, kind=KIND_OF.get(type(held), "other"), value=held)


def _module_by_name(rewriter: PartWriter, node: ast.Call, seen: list[SeenCall]) -> str | None:
    """Write `import_module(name)` of a module that the port holds, or of torch's."""
    if not any(_is_ported(rewriter, one.asked) for one in seen):
        return None
    values = [rewriter.inside(one) for one in (*node.args, *node.keywords)]
    return rewriter.take(node, named(f"module_of_port({', '.join(values)})"))


def _located(rewriter: PartWriter, node: ast.Call, seen: list[SeenCall]) -> str | None:
    """Write `pydoc.locate("torch.nn.Conv2d")`: what is torch's by a table, modules of the port."""
    torchs = {one.asked: one.result.names for one in seen if one.result.names}
    if not torchs and not any(_is_ported(rewriter, one.asked) for one in seen):
        return None
    known = []
    for text, names in sorted(torchs.items()):
        try:
            known.append(f'"{text}": {rewriter.take(node, value_spelled(names))}')
        except NoSpelling:  # whoever calls it is a gap by itself
            known.append(f'"{text}": {rewriter.absent(node, names[0])}')
    table = "".join(f", {{{', '.join(known)}}}" for _ in known[:1])
    asked = rewriter.text(node.args[0])
    return rewriter.take(node, named(f"located({asked}{table})"))


def _is_ported(rewriter: PartWriter, name: str) -> bool:
    """Tell whether a module or what it holds is the port's own, or torch's."""
    first = name.partition(".")[0]
    return first == "torch" or any(
        file.partition(".")[0] == first for file in rewriter.source.files
    )


def _of_python(rewriter: PartWriter, node: ast.Call, seen: list[SeenCall]) -> str | None:
    """Write `abs(x)` of a tensor as torch's: Paddle 2.6's tensors do not answer to Python's."""
    if len(node.args) != 1 or any(one.positional[0].kind != "tensor" for one in seen):
        return None
    facts, api = seen[0].positional[0], f"torch.{ast.unparse(node.func)}"
    given = Argument(rewriter.text(node.args[0]), kind="tensor", rank=facts.rank, dtype=facts.dtype)
    call = TorchCall(api, (given,), rewriter.where(node))
    return rewriter.take(node, call_spelled([api], call))


BY_STRINGS: MappingProxyType[str, Callable[[PartWriter, ast.Call, list[SeenCall]], str | None]] = (
    MappingProxyType(
        {
            GETATTR: _by_name,
            OF_STRINGS: _of_strings,
            MODULE_BY_NAME: _module_by_name,
            LOCATE: _located,
            "builtins:abs": _of_python,
            "builtins:round": _of_python,
        }
    )
)
