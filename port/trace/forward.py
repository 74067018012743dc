"""The body of a class's `forward` from the graphs of all its instances, in both modes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from port.calls import Spelled
from port.trace.graph import TracedCall, TracedClass, TracedGraph, TraceError
from port.trace.lines import LineWriter

GUARD = "require_traced"
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
Take = Callable[[Spelled], str]


@dataclass(frozen=True)
class TracedForward:
    """What is written in place of a `forward`. limits: what it holds for, for the reader."""

    lines: tuple[str, ...]
    limits: str


@dataclass
class _Body:
    lines: list[str]
    call: TracedCall


def forward_of(traced: TracedClass, take: Take) -> TracedForward:
    """Return the body for a class.

    Raises TraceError or NoSpelling where a call has no graph, an operation no spelling, or where
    instances compute otherwise and nothing that they hold tells which is which.
    """
    bodies = []
    for call in traced.calls:
        if call.graph is None:
            raise TraceError(call.failed)
        writer = LineWriter(call.graph, call.training, take)
        bodies.append(_Body(_with_mode(writer.written(), call), call))
    modes = {
        training: _merged([one for one in bodies if one.call.training is training])
        for training in sorted({one.call.training for one in bodies})
    }
    graphs = [call.graph for call in traced.calls if call.graph is not None]
    guards = _guards(graphs, sorted(modes))
    take(Spelled(GUARD, helpers=frozenset({GUARD})))
    return TracedForward((*guards, *_of_modes(modes)), _limits(graphs, modes))


def _with_mode(lines: list[str], call: TracedCall) -> list[str]:
    """Let what follows the mode ask for it: `training=True` in train mode."""
    return [line.replace(f"training={call.training}", "training=self.training") for line in lines]


def _of_modes(modes: Mapping[bool, list[str]]) -> list[str]:
    found = list(modes.values())
    if all(lines == found[0] for lines in found):
        return found[0]
    return ["if self.training:", *_indented(modes[True]), *modes[False]]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _merged(bodies: list[_Body]) -> list[str]:
    """Return the lines that hold for all calls of one mode."""
    groups: dict[str, list[_Body]] = {}
    for body in bodies:
        groups.setdefault(_NUMBER.sub("0", "\n".join(body.lines)), []).append(body)
    whole = [(group, _with_attributes(group)) for group in groups.values()]
    parts = [
        part for group, lines in whole for part in ([(group, lines)] if lines else _alike(group))
    ]
    if len(parts) == 1:
        return parts[0][1]
    name, values = _told_apart([group for group, _ in parts])
    found = [f'{GUARD}("{name}", self.{name}, {sorted(set(values), key=repr)!r})']
    for number, (_, lines) in enumerate(parts):
        word = "if" if number == 0 else "elif" if number < len(parts) - 1 else "else"
        test = "" if word == "else" else f" self.{name} == {values[number]!r}"
        found += [f"{word}{test}:", *_indented(lines)]
    return found


def _alike(group: list[_Body]) -> list[tuple[list[_Body], list[str]]]:
    found: dict[tuple[str, ...], list[_Body]] = {}
    for body in group:
        found.setdefault(tuple(body.lines), []).append(body)
    return [(bodies, list(lines)) for lines, bodies in found.items()]


def _with_attributes(group: list[_Body]) -> list[str] | None:
    """Return lines in which numbers that differ are read from `self`; None where it lacks them."""
    texts = ["\n".join(body.lines) for body in group]
    numbers = [_NUMBER.findall(text) for text in texts]
    columns = list(zip(*numbers, strict=True))
    chosen = []
    for column in columns:
        word = column[0] if len(set(column)) == 1 else _attribute(column, group)
        if word is None:
            return None
        chosen.append(word)
    waiting = iter(chosen)
    return _NUMBER.sub(lambda _: next(waiting), texts[0]).split("\n")


def _attribute(column: Sequence[str], group: Sequence[_Body]) -> str | None:
    for name in group[0].call.attributes:
        values = [body.call.attributes.get(name) for body in group]
        if not all(type(value) in (int, float) for value in values):
            continue
        if all(repr(v) == text for v, text in zip(values, column, strict=True)):
            return f"self.{name}"
        if times := _multiple(values, column):
            return f"({times} * self.{name})"
    return None


def _multiple(values: Sequence[Any], column: Sequence[str]) -> int:
    """Return how many times the numbers are the values, 0 where that is not the same for all."""
    whole = all(type(v) is int and v for v in values) and all(one.isdigit() for one in column)
    found = {divmod(int(one), v) for v, one in zip(values, column, strict=True)} if whole else set()
    times, rest = found.pop() if len(found) == 1 else (0, 0)
    return 0 if rest else times


def _told_apart(groups: Sequence[list[_Body]]) -> tuple[str, list[Any]]:
    """Return an attribute that has another value in each group, and its values."""
    for name in groups[0][0].call.attributes:
        held = [{repr(b.call.attributes.get(name)) for b in group} for group in groups]
        if all(len(one) == 1 for one in held) and len(set.union(*held)) == len(groups):
            return name, [group[0].call.attributes.get(name) for group in groups]
    paths = ", ".join(group[0].call.path or "the net" for group in groups[:3])
    raise TraceError(f"its instances compute otherwise ({paths}), and no attribute tells which")


def _guards(graphs: Sequence[TracedGraph], modes: Sequence[bool]) -> list[str]:
    """Return lines that raise where a call is none that was traced."""
    found = []
    if len(modes) == 1:
        found.append(f'{GUARD}("self.training", self.training, {list(modes)!r})')
    for text in graphs[0].shapes:
        shapes = [graph.shapes.get(text) for graph in graphs]
        if None in shapes:
            raise TraceError(f"{text} is a tensor in one call and none in another")
        found.append(f'{GUARD}("{text}", {text}, {_once(shapes)!r})')
    for text in graphs[0].fixed:
        if any(text not in graph.fixed for graph in graphs):
            raise TraceError(f"{text} is a tensor in one call and none in another")
        values = _once([graph.fixed[text] for graph in graphs])
        if len(values) > 1:
            raise TraceError(f"{text} is {values[0]!r} in one call and {values[1]!r} in another")
        found.append(f'{GUARD}("{text}", {text}, {values!r})')
    return [line.replace("'", '"') if '"' not in line[len(GUARD) + 2 :] else line for line in found]


def _once(values: Sequence[Any]) -> list[Any]:
    return [one for number, one in enumerate(values) if one not in values[:number]]


def _limits(graphs: Sequence[TracedGraph], modes: Mapping[bool, Any]) -> str:
    """Return in words for which calls the lines hold."""
    words = " and ".join("train" if training else "eval" for training in modes)
    shapes = [
        f"{text} of {' or '.join(_shape(one) for one in _once([g.shapes[text] for g in graphs]))}"
        for text in graphs[0].shapes
    ]
    fixed = [f"{text}={value!r}" for text, value in graphs[0].fixed.items()]
    return "; ".join([f"{words} mode", *shapes, *fixed])


def _shape(axes: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if one is None else str(one) for one in axes) + "]"
