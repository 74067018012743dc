"""Whose a name is, of which classes an attribute is selected, and what a statement sets there."""

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from port.calls import Spelled
from port.meanings import attribute_spelled, named
from port.record.facts import MODULE_OF_PYTHON, PARTIAL, Binding, Facts, Record, SeenCall
from port.record.stand_ins.old_worlds import OLD_OF_NUMPY
from port.source import FUNCTIONS, Source
from port.spelling.axes import is_window, read_as_given
from port.write.parts import PartWriter

COMPILERS = ("torch.jit.", "torch.compile", "torch.fx.", "torch._dynamo.")  # they change no value
OF_AUTOCAST = ("torch.cuda.amp.custom_", "torch.amp.custom_")  # likewise, of its own functions
# What gives iterators in torch and lists in Paddle.
LISTS = ("torch.nn.Module.parameters", "torch.nn.Module.buffers", "torch.nn.Module.modules")
_BASE_OF_NORMS = "torch.nn.modules.batchnorm._BatchNorm"
_BASES = {
    "torch.nn.modules.conv._ConvNd": "ConvOfAnyRank",
    "torch.nn.modules.dropout._DropoutNd": "nn.Dropout",
    "torch.nn.modules.pooling._AdaptiveAvgPoolNd": "nn.AdaptiveAvgPool2D",
    "torch.nn.modules.pooling._AdaptiveMaxPoolNd": "nn.AdaptiveMaxPool2D",
    "torch.nn.modules.pooling._MaxPoolNd": "nn.MaxPool2D",
    "torch.nn.modules.pooling._AvgPoolNd": "nn.Layer",
    "torch.nn.SyncBatchNorm": "nn.BatchNorm2D",  # Paddle's has no kernel on a CPU
}
_WEIGHTS = {
    "torch.nn.Module.parameters": "weights_of",
    "torch.nn.Module.named_parameters": "named_weights_of",
}
_MAY_HOLD_LINEAR = frozenset({
    "torch.nn.Linear", "torch.nn.Module", "torch.nn.Sequential", "torch.nn.ModuleList",
    "torch.nn.ModuleDict",
})  # fmt: skip


def is_numpys_old(bound: Binding | None) -> bool:
    """Tell whether a name is one that NumPy had for a type of Python's: `np.int`."""
    whole = "" if bound is None else bound.value
    return whole.startswith("numpy.") and whole.removeprefix("numpy.") in OLD_OF_NUMPY


def is_torchs(bound: Binding) -> bool:
    """Tell whether a name stands for torch or something in it."""
    return bound.kind == "torch" or (
        bound.kind == "module" and bound.value.partition(".")[0] == "torch"
    )


def owner_names(facts: Facts) -> tuple[str, ...]:
    """Return the names of torch's class that an attribute is selected from.

    A tuple has some where a function of torch gives its parts names.
    """
    if facts.kind == "tensor":
        return ("tensor",)
    if facts.kind == "size":
        return ("size",)
    if facts.kind == MODULE_OF_PYTHON:
        return (MODULE_OF_PYTHON,)
    if facts.kind in ("device", "dtype"):
        return (f"torch.{facts.kind}",)
    if facts.kind == "partial":  # of no certain value: now of this class, now of that
        return () if facts.value == "" else (PARTIAL,)
    return facts.names if facts.kind in ("module", "tuple") else ()


def attribute_read(
    record: Record, names: Sequence[str], attribute: str, text: str, item: bool
) -> Spelled | None:
    """Return `text.attribute` of what torch's class `names` names; None where it stays.

    item: an item of it is taken, which is the same of a list of one number and of Paddle's two.
    """
    read = attribute_spelled(names, attribute, text, item)
    if read is None or item or not any(map(_holds_one_number, _calls_of(record))):
        return read
    return read_as_given(names, attribute, read)


def _calls_of(record: Record) -> Iterator[SeenCall]:
    return (one for file in record.files.values() for seen in file.calls.values() for one in seen)


def _holds_one_number(seen: SeenCall) -> bool:
    """Tell whether a convolution or a pooling was made with a list of one number."""
    given = (*seen.positional, *seen.keywords.values(), *seen.through.values())
    return any(one.single for one in given) and is_window(seen.names)


def torch_has(node: ast.Call, seen: Sequence[SeenCall]) -> str:
    """Return what `hasattr(torch.compiler, "is_exporting")` gave as it ran, "" of anything else.

    What was recorded follows from it: Paddle is not asked for torch's name.
    """
    owners = [one.positional[0] for one in seen if one.positional]
    of_torch = all(one.kind == "package" for one in owners)
    given = {one.result.value for one in seen}
    fixed = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    return str(*given) if owners and of_torch and fixed and given in ({True}, {False}) else ""


def is_taken_in_turn(node: ast.Call, parent: ast.AST | None) -> bool:
    """Tell whether a call stands in `next(...)`: torch gives iterators where Paddle has lists."""
    if not isinstance(parent, ast.Call) or node not in parent.args[:1]:
        return False
    return isinstance(parent.func, ast.Name) and parent.func.id == "next"


def is_left_out(source: Source, node: Any) -> bool:
    """Tell whether a decorator only documents, compiles, or takes the words of torch's.

    In Paddle a function is left as it is.
    """
    parent = source.parents.get(node)
    if node not in getattr(parent, "decorator_list", ()):
        return False
    if source.is_idle(node):
        return True
    called = node.func if isinstance(node, ast.Call) else node
    if ast.unparse(called).endswith("wraps") and isinstance(node, ast.Call):
        like = source.resolve(node.args[0]) if node.args else None
        return like is not None and is_torchs(like)
    bound = source.resolve(called)
    names = bound.names if bound is not None and bound.kind == "torch" else ()
    return any(name.startswith(COMPILERS + OF_AUTOCAST) for name in names)


def thawing(node: ast.Call, name: str, parent: ast.AST | None) -> str:
    """Return the helper that gives the parameters of a loop which may unfreeze them, "" of others.

    Paddle counts the statistics of a BatchNorm among them, and would train them.
    """
    if node.args or node.keywords or not isinstance(parent, ast.For) or parent.iter is not node:
        return ""
    return _WEIGHTS.get(name, "") if any(map(_unfreezes, ast.walk(parent))) else ""


def read_by_place(source: Source, node: ast.Call, seen: SeenCall) -> str:
    """Return the helper for `list(layer.parameters())[0]` where a net computes, "" for others.

    What is read there is a tensor with torch's axes; Paddle counts other things among them.
    """
    owner = seen.receiver or Facts()
    if node.args or node.keywords or seen.names[:1] != ("torch.nn.Module.parameters",):
        return ""
    if not _MAY_HOLD_LINEAR.intersection(owner.names) or not _is_in_a_forward(source, node):
        return ""
    parent = source.parents.get(node)
    if isinstance(parent, ast.Call) and not is_taken_in_turn(node, parent):
        in_list = isinstance(parent.func, ast.Name) and parent.func.id in ("list", "tuple")
        parent = source.parents.get(parent) if in_list else None
        by_number = isinstance(parent, ast.Subscript) and not isinstance(parent.slice, ast.Slice)
        parent = parent if by_number else None
    if not isinstance(parent, ast.Call | ast.Subscript):
        return ""
    selected = source.parents.get(parent)
    return "" if isinstance(selected, ast.Attribute) and _of_itself(selected) else "values_of"


def _is_in_a_forward(source: Source, node: ast.AST) -> bool:
    """Tell whether a function around has `forward` in its name."""
    place = source.parents.get(node)
    while place is not None:
        if isinstance(place, FUNCTIONS) and "forward" in place.name:
            return True
        place = source.parents.get(place)
    return False


def _of_itself(node: ast.Attribute) -> bool:
    """Tell whether an attribute is of the parameter rather than of its values."""
    return node.attr in ("device", "dtype", "grad", "requires_grad", "is_cuda")


def _unfreezes(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        value = node.args[0] if node.args else None
        return node.func.attr == "requires_grad_" and not _is_false(value)
    targets = node.targets if isinstance(node, ast.Assign) else []
    set_here = any(
        isinstance(one, ast.Attribute) and one.attr == "requires_grad" for one in targets
    )
    return set_here and not _is_false(node.value)  # type: ignore[attr-defined]  # of an Assign


def _is_false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def bases_with_modes(
    writer: PartWriter,
    node: ast.expr,
    names: tuple[str, ...],
    plain: Callable[[ast.expr, tuple[str, ...]], str],
) -> str:
    """Write the base of a class that hands `train(mode)` on layer by layer; "" for all else.

    plain: writes it as of any other class; such a layer of torch's stands beside the helper.
    """
    around = writer.source.parents.get(node)
    if not isinstance(around, ast.ClassDef) or node not in around.bases:
        return ""
    if f"{writer.source.module}:{around.name}" not in writer.cut.record.with_modes:
        return ""
    base = writer.take(node, named("LayerWithModes"))
    return base if "torch.nn.Module" in names else f"{base}, {plain(node, names)}"


def base_of(names: Sequence[str], around: ast.AST | None) -> str:
    """Return what stands as a base for a private one of torch's, "" of others and elsewhere."""
    if not isinstance(around, ast.ClassDef):
        return ""
    forward = next((one for one in around.body if getattr(one, "name", "") == "forward"), None)
    inherited = forward is None or "super(" in ast.unparse(forward)
    if _BASE_OF_NORMS in names:
        return "BatchNormOfAnyRank" if inherited else ""
    return next((_BASES[name] for name in names if name in _BASES), "")


def is_annotation(source: Source, node: ast.AST) -> bool:
    """Tell whether an expression is a hint of a type, or a part of one."""
    child, parent = node, source.parents.get(node)
    while parent is not None and not isinstance(parent, ast.stmt):
        if isinstance(parent, ast.arg):
            return True
        child, parent = parent, source.parents.get(parent)
    if isinstance(parent, FUNCTIONS):
        return child is parent.returns
    return isinstance(parent, ast.AnnAssign) and child is parent.annotation


def one_of(text: str) -> str:
    """Return a hint of a type: of several classes, as `isinstance` takes them, any of them."""
    several = ast.parse(text, mode="eval").body
    return " | ".join(map(ast.unparse, several.elts)) if isinstance(several, ast.Tuple) else text


def asks_for_a_type(node: ast.AST | None) -> bool:
    """Tell whether a node is a call of `isinstance` or `issubclass`, of whatever module."""
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    return name in ("isinstance", "issubclass")


def is_future(node: ast.AST) -> bool:
    """Tell whether a statement is `from __future__ import ...`."""
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def is_no_size(node: ast.expr, facts: Facts, text: str) -> bool:
    """Tell whether an expression is a tuple or a list in the port, as in the reference."""
    plain = isinstance(node, ast.Tuple | ast.List) or facts.kind in ("tuple", "list")
    return plain or text.startswith("tuple(")


def facts_by_name(source: Source, node: ast.AST) -> Facts:
    """Return what the name of an attribute tells of its owner, in code that did not run."""
    parent = source.parents.get(node)
    asked = isinstance(parent, ast.Attribute) and parent.attr == "requires_grad"
    return Facts("tensor" if asked and not source.did_run(node) else "other")
