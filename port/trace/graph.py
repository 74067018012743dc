"""What a traced call of a module computed, as plain data: it travels between processes."""

from dataclasses import dataclass, field
from typing import Any

from port.record.facts import Facts

Place = tuple[str, int]  # a file and a line of it, from 1


class TraceError(Exception):
    """A call has no graph, or its graph no text: why."""


@dataclass(frozen=True)
class Ref:
    """What a node of the graph gives, or an input, a weight, a constant: by its name."""

    name: str


@dataclass(frozen=True)
class TracedNode:
    """One operation.

    Attributes:
        name: as other nodes refer to it.
        op: "aten.add.Tensor"; "size.mul" of sizes; "call" of a module, "get" an item, "size".
        given: (name of the parameter, value) of what differs from its default.
        facts: of the result; shape: its axes, None where one follows from the inputs.
        place: the line of the user's that computed it.
    """

    name: str
    op: str
    given: tuple[tuple[str, Any], ...]
    facts: Facts = field(default_factory=Facts)
    shape: tuple[int | None, ...] = ()
    place: Place | None = None


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer by its path; names: torch's of the class of the module that has it."""

    path: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class MadeTensor:
    """A tensor that the user's code makes: its numbers as lists of lists, its type."""

    values: Any
    dtype: str


@dataclass
class TracedGraph:
    """One call.

    Attributes:
        inputs: the expression of `forward`'s own names by input: {"x_0": "x[0]"}.
        facts: of inputs, weights and constants.
        shapes: the axes of each expression, None where the graph holds for any length.
        fixed: what was no tensor, and is part of the graph, by its expression.
        writes: buffers by their paths, and what each of them is given.
        output: tuples, lists and dicts of Ref and constants.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    constants: dict[str, MadeTensor] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    nodes: list[TracedNode] = field(default_factory=list)
    writes: list[tuple[tuple[str, ...], Any]] = field(default_factory=list)
    output: Any = None


@dataclass
class TracedCall:
    """One call of an instance; attributes: its plain ones. failed: why it has no graph."""

    path: str
    training: bool
    attributes: dict[str, Any]
    graph: TracedGraph | None = None
    failed: str = ""


@dataclass
class TracedClass:
    """The calls of all instances of a class, "module" and its qualified name.

    signature: of its forward. reached: the lines without a spelling that it ran through.
    """

    module: str
    name: str
    signature: str
    calls: list[TracedCall] = field(default_factory=list)
    reached: set[Place] = field(default_factory=set)
