"""Operations of traced graphs that are Python's indices, or nothing at all."""

from collections.abc import Callable, Mapping
from typing import Any

from port.calls import NoSpelling, Spelled
from port.meanings import named
from port.trace.graph import TracedNode

Text = Callable[[Any], str]
_ALL = 2**63 - 1  # the end of a slice that takes all
_TYPED = ("float16", "float32", "float64", "int32", "int64", "bool")


def slice_of(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell `x[:, start:end:step]`; of the whole axis the tensor itself."""
    start, end = given.get("start"), given.get("end")
    step = given.get("step", 1)
    first = "" if start in (None, 0) else text(start)
    last = "" if end in (None, _ALL) else text(end)
    if not first and not last and step == 1:
        return Spelled(text(given["self"]))
    part = f"{first}:{last}" + ("" if step == 1 else f":{text(step)}")
    return _at(node, given, text, part)


def select_of(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell `x[:, index]`."""
    return _at(node, given, text, text(given["index"]), 1)


def _at(
    node: TracedNode, given: Mapping[str, Any], text: Text, part: str, lost: int = 0
) -> Spelled:
    axis = given.get("dim", 0)
    if axis < 0:
        axis += (node.facts.rank or 0) + lost
    return Spelled(f"{text(given['self'])}[{':, ' * axis}{part}]")


def index_of(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell `x[:, indices]` of tensors of indices side by side."""
    used = [n for n, one in enumerate(given["indices"]) if one is not None]
    if used != list(range(used[0], used[-1] + 1)):
        raise NoSpelling(node.op, "its indices do not stand side by side")
    parts = [":" if one is None else text(one) for one in given["indices"]]
    owner = text(given["self"])
    owner = f"{owner}.contiguous()" if used[0] else owner  # of a view it picks other places
    return Spelled(f"{owner}[{', '.join(parts)}]")


def same(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell a copy as the tensor itself: nothing in the port is written into."""
    return Spelled(text(given["self"]))


def typed(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell another type; where it is the type that the tensor has, the tensor itself."""
    dtype = node.facts.dtype
    if dtype == given["facts"](given["self"]).dtype:
        return Spelled(text(given["self"]))
    if dtype not in _TYPED:
        raise NoSpelling(node.op, f"there is no tensor of {dtype}")
    return Spelled(f'{text(given["self"])}.astype("{dtype}")')


def select_scatter(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell a copy in which one item of an axis is another."""
    parts = [text(given[name]) for name in ("self", "src", "dim", "index")]
    return named(f"paddle.select_scatter({', '.join(parts)})")


def slice_scatter(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell a copy in which a part of an axis is another; of the whole axis the other itself."""
    start, end, step = given.get("start") or 0, given.get("end"), given.get("step", 1)
    if start == 0 and end in (None, _ALL) and step == 1:
        return Spelled(text(given["src"]))
    axis = given.get("dim", 0)
    whole = f"{text(given['self'])}.shape[{axis}]"
    last = whole if end in (None, _ALL) else text(end)
    parts = [text(given["self"]), text(given["src"]), str(axis), text(start), last]
    parts += [] if step == 1 else [text(step)]
    return named(f"slice_scatter({', '.join(parts)})")


def copy(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell what is written over a whole tensor: the other one, of the same shape."""
    facts, shapes = given["facts"], given["shapes"]
    one, other = facts(given["self"]), facts(given["src"])
    if (one.rank, one.dtype) != (other.rank, other.dtype):
        raise NoSpelling(node.op, "it writes a tensor of another shape or type")
    held, written = (shapes.get(getattr(given[name], "name", "")) for name in ("self", "src"))
    if held is not None and held == written:  # a length of one is never open
        return Spelled(text(given["src"]))
    return Spelled(f"{text(given['src'])}.expand_as({text(given['self'])})")


def where(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell a choice between two, of which one may have to become what the other is."""
    words = {name: text(given[name]) for name in ("self", "other")}
    for name, partner in (("self", "other"), ("other", "self")):
        if given["facts"](given[name]).dtype != node.facts.dtype:
            words[name] += f".astype({words[partner]}.dtype)"
    return named(f"paddle.where({text(given['condition'])}, {words['self']}, {words['other']})")


def convolution(node: TracedNode, given: Mapping[str, Any], text: Text) -> Spelled:
    """Spell a convolution of any rank, turned round or not; a graph gives all its numbers."""
    axes = (given["facts"](given["input"]).rank or 0) - 2
    if axes not in (1, 2, 3):
        raise NoSpelling(node.op, f"it has {axes} axes")
    names = ["stride", "padding", "dilation", "groups"]
    if given["transposed"]:
        names.append("output_padding")
    kind = f"conv{axes}d" + ("_transpose" if given["transposed"] else "")
    parts = [text(given[name]) for name in ("input", "weight", "bias")]
    parts += [f"{name}={_listed(given[name], text)}" for name in names]
    return named(f"F.{kind}({', '.join(parts)})")


def _listed(value: Any, text: Text) -> str:
    return f"[{', '.join(map(text, value))}]" if isinstance(value, tuple) else text(value)


WRITTEN: Mapping[str, Callable[[TracedNode, Mapping[str, Any], Text], Spelled]] = {
    "slice": slice_of,
    "select": select_of,
    "index": index_of,
    "same": same,
    "typed": typed,
    "select_scatter": select_scatter,
    "slice_scatter": slice_scatter,
    "copy": copy,
    "where": where,
    "convolution": convolution,
}
