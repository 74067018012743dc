"""Writes into a tensor that something reads afterwards, for ops of Paddle that make a new one."""

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from port.calls import NoSpelling, Spelled, TorchCall
from port.meanings import call_spelled
from port.record.facts import Place, Record, SeenCall
from port.record.instrument import span_of
from port.source import Source
from port.spelling.spell import BY_PLACES
from port.spelling.texts import DATA, TURNED, WEIGHT, is_bracketed, itself
from port.write.parts import PartWriter

_LOOPS = ast.For | ast.While
_LEAVING = ast.Return | ast.Raise
_PARAMETERS = ("Module.parameters", "Module.named_parameters")
_FLAT = ".reshape("
_STATE, _IN_PLACE = "torch.nn.Module.state_dict", re.compile(r"[a-z]\w*[a-z0-9]_")
_METHOD = "torch.Tensor."
# Whose gradients ask for no input; those that ask for none where the other side is a number.
_OF_OUTPUTS = frozenset({"add_", "sub_", "exp_", "sqrt_", "rsqrt_", "sigmoid_", "tanh_", "relu_"})
_SCALED = frozenset({"mul_", "div_", "multiply_", "divide_", "true_divide_"})
MAY_BE_TURNED = "may be the weight of a Linear, whose axes Paddle has exchanged"
_OF_SHAPE = ("shape", "size", "numel", "nelement", "dim", "ndim", "dtype", "device")
_ALIKE = re.compile(r"rand|normal|uniform|bernoulli|zeros|ones|full|empty")
_NUMBERS = ("float16", "float32", "float64", "int32", "int64")


def read_later(source: Source, node: ast.AST, names: Collection[str]) -> list[str]:
    """Return those of `names` that the function around `node` reads after it, before it is set.

    Names that the statement itself sets do not count.
    """
    function = source.function_around(node)
    if function is None:
        return []
    around = list(_around(source, node, function))
    statement = next((one for one in around if isinstance(one, ast.stmt)), function)
    own = {n.id for n in _names(statement) if isinstance(n.ctx, ast.Store)}
    if isinstance(statement, ast.AugAssign):
        own |= {n.id for n in _names(statement.target)}
    return [name for name in sorted(names) if name not in own and _is_read(around, function, name)]


def written_and_read_later(source: Source) -> set[Place]:
    """Return what wrote into a tensor inside a call of this file that is read after the call.

    Calls of layers that write themselves are left out: there the port names the new tensor.
    """
    found: set[Place] = set()
    for node in ast.walk(source.tree):
        for one in source.record.calls.get(span_of(node), ()) if isinstance(node, ast.Call) else ():
            by_itself = bool(one.names) and one.returns_written
            if one.writers and not by_itself and read_later(source, node, one.aliases):
                found |= one.writers
    return found


def written_and_held(record: Record, sources: Mapping[str, Source]) -> set[Place]:
    """Return what wrote into a tensor that a list or a dict held, and that is read there later."""
    return {
        place
        for place, held in record.held.items()
        if any(_is_read_after(sources[module], line, name) for module, line, name in held)
    }


def _is_read_after(source: Source, line: int, name: str) -> bool:
    """Tell whether the function around a line reads a name later; "": an attribute, nobody knows.

    `held[i] = relu(held[i])` puts what it made where the old one stood.
    """
    if not name:
        return True
    statement = source.statement_at(line)
    function = None if statement is None else source.function_around(statement)
    if statement is None or function is None:
        return True
    if isinstance(statement, ast.Assign) and any(
        isinstance(one, ast.Subscript) and ast.unparse(one.value) == name
        for one in statement.targets
    ):
        return False
    return _is_read(list(_around(source, statement, function)), function, name)


def _around(source: Source, node: ast.AST, function: ast.AST) -> Iterator[ast.AST]:
    place = node
    while place is not function:
        yield place
        place = source.parents[place]


def _is_read(around: Sequence[ast.AST], function: ast.AST, name: str) -> bool:
    """Tell whether a name is read after the first of `around`, which holds it, and so on.

    What stands behind a `return`, or in the other branch, is not reached from here.
    """
    end, last = _end(around[0]), _end(function)
    loop, passed, repeats = _loop(around), False, True
    elsewhere: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for inner, outer in zip(around, [*around[1:], function], strict=True):
        passed = passed or inner is loop
        if isinstance(outer, ast.Try):  # an exception goes on elsewhere
            break
        if isinstance(outer, ast.If | ast.IfExp) and (other := _other_branch(inner, outer)):
            elsewhere.append((_start(other[0]), _end(other[-1])))
        left = next((one for one in _from(inner, outer) if isinstance(one, _LEAVING)), None)
        if left is not None:
            last, repeats = _end(left), passed
            break
    after = [use for use in _uses(function, name) if end <= use[0] < last]
    after = [use for use in after if not any(low <= use[0] < high for low, high in elsewhere)]
    again = _uses(loop, name) if loop is not None and repeats else []
    return next((reads for _, reads in [*after, *again]), False)


def _loop(around: Sequence[ast.AST]) -> ast.AST | None:
    return next((one for one in around if isinstance(one, _LOOPS)), None)


def _other_branch(inner: ast.AST, outer: ast.If | ast.IfExp) -> list[ast.AST]:
    """Return what runs instead of the branch that `inner` stands in, of what stands behind it."""
    if isinstance(outer, ast.IfExp):
        return [outer.orelse] if inner is outer.body else []
    return list(outer.orelse) if inner in outer.body else []


def _from(inner: ast.AST, outer: ast.AST) -> list[ast.AST]:
    """Return a statement and those after it in its block."""
    for _, block in ast.iter_fields(outer):
        if isinstance(block, list) and inner in block:
            return block[block.index(inner) :]
    return []


def _uses(node: ast.AST, name: str) -> list[tuple[tuple[int, int], bool]]:
    """Return (place, whether it is read there) of each use of a name, as Python comes to them."""
    found: dict[ast.Name, tuple[tuple[int, int], bool]] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == name:
            found.setdefault(part, (_start(part), isinstance(part.ctx, ast.Load)))
        elif isinstance(part, ast.Assign):  # what is assigned is worked out first
            for target in part.targets:
                found |= {one: (_end(part), False) for one in _stored(target, name)}
        elif isinstance(part, ast.AugAssign):
            found |= {one: (_start(part), True) for one in _stored(part.target, name)}
    return sorted(found.values())


def _stored(target: ast.AST, name: str) -> list[ast.Name]:
    return [n for n in _names(target) if n.id == name and isinstance(n.ctx, ast.Store)]


def _names(node: ast.AST | None) -> list[ast.Name]:
    return [] if node is None else [n for n in ast.walk(node) if isinstance(n, ast.Name)]


def _start(node: ast.AST) -> tuple[int, int]:
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _end(node: ast.AST) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]


def of_a_turned_weight(rewriter: PartWriter, node: ast.Subscript) -> str | None:
    """Say that `p[0, 1] = x` cannot be written where nobody knows whether p is a Linear's weight.

    Of a loop over parameters p is now a Linear's, which Paddle keeps turned, now another's; of a
    turned weight a flat view is a copy. None for other targets.
    """
    owner, whole = node.value, isinstance(node.slice, ast.Slice | ast.Constant)
    if isinstance(owner, ast.Attribute) and owner.attr == "data":
        owner = owner.value
    text = rewriter.text(node.value)
    if f"{WEIGHT}{TURNED}{_FLAT}" in text or f"{WEIGHT}{DATA}{TURNED}{_FLAT}" in text:
        return _not_written(rewriter, node, "is a copy in Paddle, of a turned weight")
    if not isinstance(owner, ast.Name) or rewriter.facts(node.value).rank not in (None, 2):
        return None
    if whole and ast.unparse(node.slice) in (":", "..."):
        return None
    if rewriter.facts(node.value).kind == "tensor" and is_of_parameters(rewriter, owner):
        return _not_written(rewriter, node, MAY_BE_TURNED)
    return None


def _not_written(rewriter: PartWriter, node: ast.Subscript, reason: str) -> str:
    return f"{rewriter.stub(node, ast.unparse(node), reason)}[{rewriter.text(node.slice)}]"


def is_of_parameters(rewriter: PartWriter, name: ast.Name) -> bool:
    """Tell whether a name is that of a loop over the parameters of a net."""
    place: ast.AST | None = name
    while (place := rewriter.source.parents.get(place)) is not None:  # type: ignore[arg-type]  # a node
        if isinstance(place, ast.For) and name.id in {one.id for one in _names(place.target)}:
            seen = rewriter.source.record.calls.get(span_of(place.iter), ())
            return any(one.names[:1] and one.names[0].endswith(_PARAMETERS) for one in seen)
    return False


def written_state(rewriter: PartWriter, node: ast.Call) -> str | None:
    """Write `self.state_dict()` where the function around writes into what it holds, and no more.

    None of other calls, and where a state dict is loaded: Paddle's is that.
    """
    seen = rewriter.source.record.calls.get(span_of(node), ())
    function = rewriter.source.function_around(node)
    if not any(_STATE in one.names for one in seen) or not isinstance(node.func, ast.Attribute):
        return None
    inside = list(ast.walk(function)) if function is not None else []
    called = {one.attr for one in inside if isinstance(one, ast.Attribute)}
    into = any(isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store) for one in inside)
    if "load_state_dict" in called or not (into or any(map(_IN_PLACE.fullmatch, called))):
        return None
    text = f"state_of({rewriter.text(node.func.value)})"
    return rewriter.take(node, Spelled(text, helpers=frozenset({"state_of"})))


def of_a_part(
    rewriter: PartWriter,
    node: ast.Call,
    call: TorchCall,
    called: Callable[[ast.Call, SeenCall], TorchCall],
) -> str | None:
    """Write `x[:, 0].exp_()` as `x[:, 0] = x[:, 0].exp()` where gradients go through x.

    A view that Paddle writes into has no part in the gradient of what it is a view of. None of
    other calls, and of methods that have no spelling without the write. called: reads a method's
    call, of `x[:, 0].mul_(2).exp_()` each in turn.
    """
    if told := _of_some_linear(rewriter, node, call):
        return told
    alone = isinstance(rewriter.source.parents[node], ast.Expr)
    if not alone or call.result is None or not call.result.linked:
        return None
    try:
        target, value = _anew(rewriter, node, call, called)
    except NoSpelling:
        return None
    text = rewriter.take(node, value)
    return f"{rewriter.text(target)} = {text[1:-1] if is_bracketed(text) else text}"


def _of_some_linear(rewriter: PartWriter, node: ast.Call, call: TorchCall) -> str:
    """Say that `p.data.copy_(x)` cannot be written where p is a Linear's weight by no name of it.

    "" of other calls, and where x is made of such weights: those are turned, too.
    """
    method = call.api.startswith(_METHOD) and call.api.endswith("_") and call.receiver
    if not method or not isinstance(node.func, ast.Attribute):
        return ""
    given = [*node.args, *(one.value for one in node.keywords)]
    ordered = call.api.endswith(BY_PLACES) or any(one.kind == "tensor" for one in call.arguments)
    if not ordered or not may_be_turned(rewriter, node.func.value, given):
        return ""
    return rewriter.stub(node, ast.unparse(node.func), MAY_BE_TURNED)


def may_be_turned(rewriter: PartWriter, owner: ast.expr, given: Sequence[ast.expr]) -> bool:
    """Tell whether a Linear's weight came to a place whose text does not tell that it is one.

    given: what is written into it; if that is made of such weights, it stands as they do.
    """
    text = rewriter.text(owner)
    if itself(text) != text or TURNED in text or not _is_of_linear(rewriter, owner):
        return False
    return not any(_is_made_of_linears(rewriter, one) for one in given)


def _is_made_of_linears(rewriter: PartWriter, given: ast.expr) -> bool:
    """Tell whether what is written stands as a Linear's weight does: it is made of one.

    Of its shape alone, it is where it is drawn, or one number.
    """
    alike = _ALIKE.search(ast.unparse(given)) is not None
    for part in ast.walk(given):
        if isinstance(part, ast.expr) and _is_of_linear(rewriter, part):
            above = rewriter.source.parents.get(part)
            sized = isinstance(above, ast.Attribute) and above.attr in _OF_SHAPE
            if alike or not sized:
                return True
    return False


def _is_of_linear(rewriter: PartWriter, node: ast.AST) -> bool:
    """Tell whether an expression was the weight of a Linear, or the `data` of one."""
    if isinstance(node, ast.Attribute) and node.attr == "data":
        node = node.value
    record = rewriter.source.record
    seen = record.calls.get(span_of(node), ()) if isinstance(node, ast.Call) else ()
    if any(one.result.of_linear for one in seen):
        return True
    above = rewriter.source.parents.get(node)
    called = rewriter.source.parents.get(above) if isinstance(above, ast.Attribute) else None
    is_method = isinstance(called, ast.Call) and called.func is above
    of_method = record.calls.get(span_of(called), ()) if is_method else ()
    if any(one.receiver is not None and one.receiver.of_linear for one in of_method):
        return True
    if isinstance(above, ast.Call) and node in above.args:
        place = above.args.index(node)
        ways = record.calls.get(span_of(above), ())
        if any(one.positional[place].of_linear for one in ways if place < len(one.positional)):
            return True
    return isinstance(node, ast.expr) and rewriter.facts(node).of_linear


def _anew(
    rewriter: PartWriter,
    node: ast.Call,
    call: TorchCall,
    called: Callable[[ast.Call, SeenCall], TorchCall],
) -> tuple[ast.Subscript, Spelled]:
    """Return the part that a chain of methods writes into, and what they write, made anew.

    Raises:
        NoSpelling: where it is no such chain, or one of them has no spelling.
    """
    owner = node.func.value if isinstance(node.func, ast.Attribute) else node
    name = call.api.removeprefix(_METHOD)
    if name == call.api or not name.endswith("_") or call.receiver is None:
        raise NoSpelling(call.api, "it writes into no tensor")
    spelled = Spelled(call.receiver.text)
    if isinstance(owner, ast.Call):
        seen = rewriter.source.record.calls.get(span_of(owner), ())
        if len(seen) != 1 or not seen[0].names:
            raise NoSpelling(call.api, "several are called here")
        owner, spelled = _anew(rewriter, owner, called(owner, seen[0]), called)
    if not isinstance(owner, ast.Subscript):
        raise NoSpelling(call.api, "it writes into no part")
    if name in ("zero_", "fill_", "copy_"):
        return owner, Spelled(call.arguments[0].text if call.arguments else "0")
    text = spelled.text
    by_number = all(one.kind in ("int", "float") for one in call.arguments)
    if (
        text == call.receiver.text
        and name not in _OF_OUTPUTS
        and not (name in _SCALED and by_number)
    ):
        text = f"{text}.clone()"  # which a gradient asks for
    again = replace(call, api=call.api[:-1], receiver=replace(call.receiver, text=text))
    made = call_spelled((again.api,), again)
    return owner, replace(
        made, imports=made.imports | spelled.imports, helpers=made.helpers | spelled.helpers
    )


def written_by_places(rewriter: PartWriter, node: ast.Subscript) -> str | None:
    """Write `x[places] = values` of numbers, where a list or a mask says the places.

    One number, too, into a part of another tensor and where torch's `x[places] *= 2` reads first;
    truth in Paddle 2.6 goes to no places by itself. None for other targets.
    """
    parent = rewriter.source.parents[node]
    if not isinstance(parent, ast.Assign | ast.AugAssign):
        return None
    target, values = rewriter.facts(node.value), rewriter.facts(parent.value)
    if target.kind != "tensor" or not any(_is_several(rewriter, one) for one in _indices(node)):
        return None
    of_numbers = values.kind == "tensor" and values.dtype in _NUMBERS and values.rank != 0
    reads = isinstance(parent, ast.AugAssign)
    by_itself = not (reads or target.part or target.dtype == "bool")
    if by_itself and not of_numbers:
        return None
    owner = rewriter.text(node.value)
    text = f"AtPlaces({owner}){rewriter.inside(node).removeprefix(owner)}"
    return rewriter.take(node, Spelled(text, helpers=frozenset({"AtPlaces"})))


def _indices(node: ast.Subscript) -> list[ast.expr]:
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def _is_several(rewriter: PartWriter, index: ast.expr) -> bool:
    """Tell whether an index is a list or a tensor of places, a mask among them."""
    known = rewriter.facts(index)
    return isinstance(index, ast.List) or (known.kind in ("list", "tensor") and known.rank != 0)
