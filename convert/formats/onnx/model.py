"""The graph of an ONNX file: nodes, what they are called, and the tensors that stand in it."""

from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UnreadableError
from common.words.controls import in_one_line
from convert.formats.onnx.tensor import FilesBeside, read_tensor
from convert.formats.onnx.wire import BYTES, VARINT, Reader, text
from convert.formats.pickles.globals import Odd
from convert.formats.stored import DamagedError, Stored

_PRODUCER, _PRODUCER_VERSION, _GRAPH, _OPSETS = 2, 3, 7, 8  # of ModelProto
_NODES, _INITIALIZERS, _SPARSE = 1, 5, 15  # of GraphProto
_INPUTS, _OUTPUTS, _NAME, _OP = 1, 2, 3, 4  # of NodeProto


@dataclass(frozen=True)
class GraphNode:
    """One operation: its type, its name, the names of what it reads and writes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class OnnxGraph:
    """What a file says.

    Attributes:
        producer: the program that wrote it, with its version.
        opset: version of the operators of ONNX itself, 0 where it does not say.
        nodes: of the outermost graph, in order.
        initializers: name -> tensor.
        beside: other files in which tensors lie, with what tells that they were changed.
    """

    producer: str = ""
    opset: int = 0
    nodes: list[GraphNode] = field(default_factory=list)
    initializers: dict[str, Stored | Odd] = field(default_factory=dict)
    beside: dict[Path, tuple[int, ...]] = field(default_factory=dict)


def read_model(path: Path, data: memoryview) -> OnnxGraph:
    """Return the graph of the mapped file `path`; no values are read.

    Raises UnreadableError where it is damaged or a file that it names is absent.
    """
    try:
        return _read(path, data)
    except DamagedError as error:
        raise UnreadableError(
            f"{path}: a damaged ONNX file: {error}; download or export it again"
        ) from None


def _read(path: Path, data: memoryview) -> OnnxGraph:
    reader, beside = Reader(), FilesBeside(path)
    model, graph = OnnxGraph(), None
    names = {_PRODUCER: "", _PRODUCER_VERSION: ""}
    for number, kind, value in reader.fields(data):
        if number in names and kind == BYTES:
            names[number] = in_one_line(text(value)[:40])
        elif number == _OPSETS and kind == BYTES:
            domain, version = _opset(reader, value)
            model.opset = version if domain in ("", "ai.onnx") else model.opset
        elif number == _GRAPH and kind == BYTES:
            if graph is not None:
                raise DamagedError("it holds two graphs")
            graph = value
    if graph is None:
        raise DamagedError("it holds no graph")
    _read_graph(reader, graph, beside, model)
    model.producer = " ".join(filter(None, names.values()))
    model.beside = beside.stamps
    return model


def _read_graph(reader: Reader, graph: memoryview, beside: FilesBeside, model: OnnxGraph) -> None:
    for number, kind, value in reader.fields(graph):
        if number == _NODES and kind == BYTES:
            model.nodes.append(_node(reader, value))
        elif number == _INITIALIZERS and kind == BYTES:
            name, tensor = read_tensor(reader, value, beside)
            if name in model.initializers:
                raise DamagedError(f"it holds two tensors {in_one_line(name[:80])!r}")
            model.initializers[name] = tensor
        elif number == _SPARSE:
            raise DamagedError("it holds sparse tensors, which are not read")


def _opset(reader: Reader, data: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, kind, value in reader.fields(data):
        if number == 1:
            domain = text(value)
        elif number == 2 and kind == VARINT:
            version = value
    return domain, version


def _node(reader: Reader, data: memoryview) -> GraphNode:
    names: dict[int, list[str]] = {_INPUTS: [], _OUTPUTS: [], _NAME: [""], _OP: [""]}
    for number, kind, value in reader.fields(data):
        if number in names and kind == BYTES:
            names[number].append(text(value))
    return GraphNode(
        names[_OP][-1], names[_NAME][-1], tuple(names[_INPUTS]), tuple(names[_OUTPUTS])
    )
