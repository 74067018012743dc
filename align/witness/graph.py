"""An ONNX file, read: its nodes, the modules that their names tell, its inputs and outputs."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from align.witness.modes import require_eval_mode
from common.errors import UnreadableError, UserError
from common.files import require_there

NEEDED = ("onnx", "onnxruntime")
HALF = ("float16", "bfloat16")
# Where torch's newer exporter says in which modules a node was called.
SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Node:
    """One operation: its type, the scopes around it, the names of what it reads and gives.

    `scopes` are as the file has them, the outermost first; `dotted` tells that each is the whole
    path of a module, and not one name in its parent's.
    """

    name: str
    kind: str
    scopes: tuple[str, ...]
    dotted: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class GraphInput:
    """What a graph takes: `shape` has -1 where it takes any length; `dtype` is NumPy's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Graph:
    """An ONNX file: `model` is what `onnx` read."""

    path: Path
    model: Any

    @cached_property
    def nodes(self) -> list[Node]:
        """The operations in their order."""
        found = []
        for node in self.model.graph.node:
            scopes, dotted = _scopes(node)
            inputs = tuple(name for name in _read_by(node) if name)
            outputs = tuple(name for name in node.output if name)
            found.append(Node(node.name, node.op_type, scopes, dotted, inputs, outputs))
        return found

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """{name: what holds it} of the tensors that stand in the file, by every name they have."""
        found = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.nodes:  # torch writes tensors that are equal once
            if node.kind == "Identity" and node.inputs[0] in found:
                found[node.outputs[0]] = found[node.inputs[0]]
        return found

    @cached_property
    def constants(self) -> set[str]:
        """Names of what hangs on no input."""
        found = set(self.tensors)
        for node in self.nodes:
            if all(name in found for name in node.inputs):
                found.update(node.outputs)
        return found

    @cached_property
    def inputs(self) -> list[GraphInput]:
        """What it takes, in order."""
        from onnx import helper

        held = {tensor.name for tensor in self.model.graph.initializer}
        found = []
        for value in self.model.graph.input:
            if value.name not in held:
                kind = value.type.tensor_type
                lengths = (d.dim_value if d.dim_value > 0 else -1 for d in kind.shape.dim)
                dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
                found.append(GraphInput(value.name, tuple(lengths), dtype))
        return found

    @cached_property
    def outputs(self) -> list[str]:
        """The names of what it returns, in order."""
        return [value.name for value in self.model.graph.output]

    def arrays(self) -> dict[str, Any]:
        """Return {name: array} of the tensors that stand in the file."""
        from onnx import numpy_helper

        read = {id(tensor): tensor for tensor in self.tensors.values()}
        arrays = {key: numpy_helper.to_array(tensor) for key, tensor in read.items()}
        return {name: arrays[id(tensor)] for name, tensor in self.tensors.items()}


def read_graph(path: str | os.PathLike[str], option: str = "--against") -> Graph:
    """Return the graph in the file `path`.

    Raises UserError where what reads and runs it is not installed or it computes in half
    precision or in train mode; UnreadableError where the file is no ONNX model, or lacks its data.
    """
    file = require_there(Path(path))
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{option} needs {' and '.join(missing)}: pip install 'torch2paddle-seg[onnx]'"
        )
    import onnx

    try:
        model = onnx.load(str(file))
        onnx.checker.check_model(model)
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise UnreadableError(f"{file}: is no ONNX model that can be read: {words}") from None
    require_eval_mode(file, model)
    graph = Graph(file, model)
    if half := sorted(_kinds_of(graph) & set(HALF)):
        raise UserError(
            f"{file}: could not check: the graph holds {half[0]}, of which rounding is not known; "
            "export the net in float32"
        )
    return graph


def _kinds_of(graph: Graph) -> set[str]:
    """Return the names of what a graph takes, holds, and makes by a cast."""
    from onnx import TensorProto

    tensors, values = list(graph.model.graph.initializer), graph.model.graph.input
    kinds = {value.type.tensor_type.elem_type for value in values}
    for node in graph.model.graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t] if attribute.HasField("t") else []
            kinds |= {attribute.i} if attribute.name in ("to", "dtype") else set()
    kinds |= {tensor.data_type for tensor in tensors}
    names = TensorProto.DataType.items()
    return {name.lower() for name, kind in names if kind in kinds}


def _read_by(node: Any) -> Iterator[str]:
    """Yield the names that a node reads, those of graphs inside of it too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            own = {name for each in inner.node for name in each.output}
            own |= {value.name for value in (*inner.input, *inner.initializer)}
            for each in inner.node:
                yield from (name for name in _read_by(each) if name not in own)


def _scopes(node: Any) -> tuple[tuple[str, ...], bool]:
    """Return the scopes around a node, and whether each is a whole path."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            try:
                names = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                return (), True
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return tuple(name for name in names[:-1] if name), True
    if not re.match(r"/.+/", node.name):
        return (), False
    return tuple(node.name.strip("/").split("/")[:-1]), False
