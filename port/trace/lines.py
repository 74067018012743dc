"""The lines of a `forward` from one traced graph: one an operation."""

import ast
import math
import re
from collections.abc import Callable
from typing import Any

from port.calls import KIND_OF, UNKNOWN, Argument, NoSpelling, Spelled
from port.helpers import helper_names
from port.meanings import attribute_spelled, value_spelled
from port.record.facts import Facts
from port.trace.aten import as_torchs, row_of
from port.trace.graph import Ref, TracedGraph, TracedNode, TraceError
from port.trace.written import WRITTEN

_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%", "pow": "**", "truediv": "/"
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]\w*")
_TAKEN = frozenset({"self", "paddle", "F", "nn", "math", "max", "min", "sum", "abs", "round"})


class LineWriter:
    """Writes a graph; `take` notes what a spelling needs and returns its text."""

    def __init__(self, graph: TracedGraph, training: bool, take: Callable[[Spelled], str]) -> None:
        self.graph, self.training, self.take = graph, training, take
        self.texts: dict[str, str] = dict(graph.inputs)
        self.facts = dict(graph.facts)
        self.shapes: dict[str, Any] = {
            name: graph.shapes.get(text) for name, text in graph.inputs.items()
        }
        self.outputs: dict[str, Any] = {}  # of calls: where each of their tensors stands
        self.used = (
            _TAKEN | helper_names() | {text.partition("[")[0] for text in graph.inputs.values()}
        )
        self.lines: list[tuple[str, str]] = []  # names and what they stand for
        self.called: set[str] = set()  # names of what submodules gave

    def written(self) -> list[str]:
        """Return the lines. Raises NoSpelling or TraceError for what has no text."""
        for name, weight in self.graph.weights.items():
            self.texts[name] = self._weight(weight.path, weight.names)
        for name, constant in self.graph.constants.items():
            values = self._plain(constant.values)
            spelled = f'paddle.to_tensor({values}, dtype="{constant.dtype}")'
            self.texts[name] = self._named("constant", self.take(_of_paddle(spelled)))
        for node in self.graph.nodes:
            self.facts[node.name] = node.facts
            self.shapes[node.name] = node.shape
            self.texts[node.name] = self._node_at_its_place(node)
        last = f"return {self.text(self.graph.output)}"
        return self._needed([*self._writes(last), last])

    def _writes(self, last: str) -> list[str]:
        """Return the lines that give buffers new tensors. Raises TraceError for one it returns."""
        found = []
        for path, value in self.graph.writes:
            buffer = f"{owner_text(path[:-1])}.{path[-1]}"
            texts = [last, *(self.text(one) for _, one in self.graph.writes)]
            if any(buffer in text for text in texts):
                raise TraceError(f"it writes into {buffer}, and gives what that was before")
            found.append(f"{buffer} = {self.text(value)}.detach()")
        return found

    def _needed(self, last: list[str]) -> list[str]:
        """Return the lines that the last ones need, and the calls of submodules."""
        found, words = last[::-1], set(_WORD.findall("\n".join(last)))
        for name, text in reversed(self.lines):
            if name in words or name in self.called:
                found.append(f"{name} = {text}")
                words |= set(_WORD.findall(text))
        return found[::-1]

    def _weight(self, path: tuple[str, ...], names: tuple[str, ...]) -> str:
        owner = owner_text(path[:-1])
        spelled = attribute_spelled(names, path[-1], owner, False) if names else None
        return f"{owner}.{path[-1]}" if spelled is None else self.take(spelled)

    # One node

    def _node_at_its_place(self, node: TracedNode) -> str:
        try:
            return self._node(node)
        except NoSpelling as error:
            where = "" if node.place is None else f"{node.place[0]}:{node.place[1]}: "
            raise NoSpelling(f"{where}{error.api}", error.reason) from error

    def _node(self, node: TracedNode) -> str:
        given = dict(node.given)
        if node.op == "get":
            return self._item(given)
        if node.op == "size":
            return f"{self.text(given['of'])}.shape[{given['axis']}]"
        if node.op.startswith("size."):
            return self._number(
                node.op.removeprefix("size."), [self.text(v) for v in given.values()]
            )
        if node.op == "call":
            return self._call(node, given)
        row = row_of(node.op) or ""
        if row.startswith("@"):
            known = {"facts": self._facts_of, "shapes": self.shapes}
            spelled = WRITTEN[row[1:]](node, {**given, **known}, self.text)
        else:
            spelled = as_torchs(node, self.argument)
        text = self.take(spelled)
        if text in self.texts.values():
            return text
        return self._named(node.op.split(".")[1].strip("_"), text)

    def _item(self, given: dict[str, Any]) -> str:
        whole, index = given["of"], given["index"]
        if whole.name in self.outputs:
            return self.texts[whole.name] + _path_to(self.outputs[whole.name], index)
        return f"{self.texts[whole.name]}[{index}]"

    @staticmethod
    def _number(sign: str, parts: list[str]) -> str:
        if sign in _SIGNS and len(parts) == 2:
            return f"({parts[0]} {_SIGNS[sign]} {parts[1]})"
        return f"(-{parts[0]})" if sign == "neg" else f"{sign}({', '.join(parts)})"

    def _call(self, node: TracedNode, given: dict[str, Any]) -> str:
        parts = [self.text(one) for one in given["args"]]
        parts += [f"{name}={self.text(one)}" for name, one in given["kwargs"].items()]
        self.outputs[node.name] = given["output"]
        path = given["path"]
        words = [part for part in path if not part.isdigit()] or ["layer"]
        name = words[-1] + (f"_{path[-1]}" if path[-1].isdigit() else "")
        called = self._named(f"{name}_out", f"{owner_text(path)}({', '.join(parts)})")
        self.called.add(called)
        return called

    def _named(self, word: str, text: str) -> str:
        """Write a line that gives a text a name, and return the name."""
        name, number = word, 1
        while name in self.used:
            number += 1
            name = f"{word}_{number}"
        self.used = self.used | {name}
        self.lines.append((name, _bare(text)))
        return name

    # Values

    def _facts_of(self, value: Any) -> Facts:
        return self.facts[value.name] if isinstance(value, Ref) else Facts()

    def text(self, value: Any) -> str:
        """Return the text of a value in a graph."""
        if isinstance(value, Ref):
            return self.texts[value.name]
        if isinstance(value, tuple) and len(value) == 2 and value[0] == "dtype":
            return self.take(value_spelled([f"torch.{value[1]}"]))
        if isinstance(value, tuple):
            inside = ", ".join(map(self.text, value))
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        if isinstance(value, list):
            return f"[{', '.join(map(self.text, value))}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k!r}: {self.text(v)}" for k, v in value.items()) + "}"
        return self._plain(value)

    def _plain(self, value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(self._plain, value))}]"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        return repr(value)

    def argument(self, value: Any) -> Argument:
        """Return a value as an argument of a call of torch's."""
        if isinstance(value, Ref):
            facts = self.facts[value.name]
            return Argument(
                self.texts[value.name], None, "", facts.kind, UNKNOWN, facts.rank, facts.dtype
            )
        if isinstance(value, tuple) and len(value) == 2 and value[0] == "dtype":
            return Argument(self.text(value), None, "", "dtype", value[1])
        if isinstance(value, tuple):
            return self._several(value)
        if type(value) not in KIND_OF:
            raise TraceError(f"its graph holds a {type(value).__name__}")
        return Argument(self._plain(value), None, "", KIND_OF[type(value)], value)

    def _several(self, values: tuple[Any, ...]) -> Argument:
        inside = [self.argument(one) for one in values]
        kinds = {one.kind for one in inside}
        open_ones = any(one.value is UNKNOWN for one in inside)
        held = UNKNOWN if open_ones else tuple(one.value for one in inside)
        text = f"[{', '.join(one.text for one in inside)}]"
        kind = kinds.pop() if len(kinds) == 1 else None
        return Argument(text, None, "", "list", held, len(values), kind, len(values) == 1)


def _bare(text: str) -> str:
    """Return an expression without brackets around the whole of it."""
    inside = text[1:-1]
    if not (text.startswith("(") and text.endswith(")")):
        return text
    try:
        tree = ast.parse(inside, mode="eval").body
    except SyntaxError:
        return text
    return text if isinstance(tree, ast.Tuple | ast.NamedExpr) else inside


def _of_paddle(text: str) -> Spelled:
    return Spelled(text, frozenset({"import paddle"}))


def owner_text(path: tuple[str, ...]) -> str:
    """Return how a module finds another below it: ("layers", "0") -> "self.layers[0]"."""
    text = "self"
    for part in path:
        if part.isdigit():
            text += f"[{part}]"
        else:
            text = f"{text}.{part}" if part.isidentifier() else f"getattr({text}, {part!r})"
    return text


def _path_to(output: Any, number: int) -> str:
    """Return how the tensor of that number is selected from an output."""
    if isinstance(output, int):
        return ""
    items = output.items() if isinstance(output, dict) else enumerate(output)
    for key, value in items:
        if number in _numbers(value):
            return f"[{key!r}]" + _path_to(value, number)
    raise TraceError("a submodule's output is of an unknown form")


def _numbers(output: Any) -> set[int]:
    if isinstance(output, int):
        return {output}
    values = output.values() if isinstance(output, dict) else output or ()
    return {number for value in values for number in _numbers(value)}
