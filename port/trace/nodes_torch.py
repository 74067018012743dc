"""Nodes of an exported program as plain data."""

import operator
from typing import Any

import torch

from port.record.describe_torch import described, dtype_name
from port.record.facts import Facts
from port.trace.children_torch import call_of
from port.trace.graph import Place, Ref, TracedGraph, TracedNode, TraceError
from port.trace.trees_torch import checked_constant, mapped

_CHECKS = ("_assert", "sym_constrain", "check")  # of sizes: the port asks its own questions
_NUMBERS = {
    getattr(operator, name): name
    for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "pow", "truediv")
}
_NUMBERS |= {torch.sym_max: "max", torch.sym_min: "min", torch.sym_int: "int"}
_NUMBERS[torch.sym_float] = "float"


class NodeReader:
    """Reads the nodes in their order into a graph; output: what the program returns."""

    def __init__(self, graph: TracedGraph) -> None:
        self.graph = graph
        self.output: list[Any] = []

    def read(self, node: Any) -> None:
        """Take a node. Raises TraceError for what is no operation on tensors and sizes."""
        if node.op == "output":
            self.output = [self._value(one) for one in node.args[0]]
        elif node.op == "call_function":
            self._call(node)
        elif node.op != "placeholder":
            raise TraceError(f"its graph holds {node.op} {node.target}")

    def _call(self, node: Any) -> None:
        target = node.target
        if target is operator.getitem:
            self._add(node, "get", (("of", self._value(node.args[0])), ("index", node.args[1])))
        elif target in _NUMBERS:
            given = tuple((f"x{n}", self._value(one)) for n, one in enumerate(node.args))
            self._add(node, f"size.{_NUMBERS[target]}", given)
        elif not isinstance(target, torch._ops.OpOverload):
            raise TraceError(f"its graph holds {getattr(target, '__name__', target)}")
        elif target is torch.ops.port_of_nets.call.default:
            self._child(node)
        elif str(target) == "aten.sym_size.int":
            self._add(node, "size", (("of", self._value(node.args[0])), ("axis", node.args[1])))
        elif not any(word in str(target) for word in _CHECKS) or node.users:
            self._add(node, str(target), self._given(node))

    def _given(self, node: Any) -> tuple[tuple[str, Any], ...]:
        parameters = node.target._schema.arguments
        given = dict(zip((p.name for p in parameters), node.args, strict=False)) | dict(node.kwargs)
        defaults = {p.name: p.default_value for p in parameters if p.has_default_value()}
        return tuple(
            (name, self._value(value))
            for name, value in given.items()
            if name not in defaults or not _is_same(value, defaults[name])
        )

    def _child(self, node: Any) -> None:
        tensors, sizes, number = node.args
        call = call_of(number)
        waiting, numbers = iter(tensors), iter(sizes)

        def named(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor):
                return self._value(next(waiting))
            return (
                self._value(next(numbers))
                if isinstance(leaf, torch.SymInt)
                else checked_constant(leaf)
            )

        args, kwargs = mapped((call.given, call.named), named)
        places = iter(range(10**6))
        output = mapped(
            call.output,
            lambda leaf: next(places) if isinstance(leaf, torch.Tensor) else None,
        )
        given = (("path", tuple(call.path.split("."))), ("args", tuple(args)), ("kwargs", kwargs))
        self._add(node, "call", (*given, ("output", output)))

    def _add(self, node: Any, op: str, given: tuple[tuple[str, Any], ...]) -> None:
        value = node.meta.get("val")
        facts = Facts("int") if isinstance(value, torch.SymInt) else described(value)
        shape = axes_of(value) if isinstance(value, torch.Tensor) else ()
        self.graph.nodes.append(TracedNode(node.name, op, given, facts, shape, _place(node)))

    def _value(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return Ref(value.name)
        if isinstance(value, list | tuple):
            return tuple(self._value(one) for one in value)
        if isinstance(value, torch.dtype):
            return ("dtype", dtype_name(value))
        if isinstance(value, torch.device | torch.layout | torch.memory_format):
            return None
        return checked_constant(value)


def _is_same(value: Any, default: Any) -> bool:
    if isinstance(value, torch.fx.Node):
        return False
    return type(value) is type(default) and value == default


def axes_of(tensor: torch.Tensor) -> tuple[int | None, ...]:
    """Return the lengths of the axes, None of those that the graph leaves open.

    A length may stand as a symbol that something in the graph has bound to a number.
    """
    return tuple(
        length if isinstance(length, int) else length.node.maybe_as_int() for length in tensor.shape
    )


def _place(node: Any) -> Place | None:
    """Return the innermost line of the user's that a node comes from."""
    found = None
    for line in (node.meta.get("stack_trace") or "").splitlines():
        if line.startswith('  File "') and "/torch/" not in line and "port/trace" not in line:
            file, _, rest = line.removeprefix('  File "').partition('", line ')
            found = file, int(rest.partition(",")[0])
    return found
