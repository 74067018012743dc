"""The initializers of an ONNX file as a checkpoint: under the names of the net it was made from.

PyTorch's exporter keeps most names. Where it folded something it makes names up
(`onnx::Conv_193`): these tensors are named after the node that reads them, which it names after
the module. The second operand of a MatMul it turns; here it is turned back.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UnreadableError
from convert.formats.onnx.model import GraphNode, OnnxGraph, read_model
from convert.formats.pickles.globals import Odd
from convert.formats.stored import Contents, FileHead, Storage, Stored
from convert.names.spec import PADDLE, TORCH

# Operands that are settings of an operation and no weights: their places, for types of operation.
_PLACES = {
    (1,): (
        *("Reshape", "Expand", "Unsqueeze", "Squeeze", "Tile", "Split", "TopK", "Pow", "CumSum"),
        *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"),
    ),
    (1, 2): ("Clip", "Dropout", "OneHot"),
    (1, 2, 3, 4): ("Resize", "Upsample", "Pad", "Slice"),
    (0, 1, 2): ("ConstantOfShape", "Range"),
}
_SETTINGS = {op: places for places, ops in _PLACES.items() for op in ops}
_QUANTISED = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DequantizeLinear"}
_NAMED_AFTER_NODE = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_KEYS = {0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA}  # begin its fields


def looks_like_onnx(head: FileHead) -> bool:
    """Tell whether it may be one: it has no mark, but begins with its version or a field."""
    first = head.data[:3]
    if head.suffix == ".onnx":
        return first[:1] != b"" and first[0] in _KEYS
    return len(first) == 3 and first[0] == 0x08 and 0 < first[1] < 32 and first[2] in _KEYS


def read(path: Path, data: memoryview) -> Contents:
    """Return the initializers. Raises UnreadableError for a damaged or quantised model."""
    model = read_model(path, data)
    if quantised := next((node for node in model.nodes if node.op in _QUANTISED), None):
        raise UnreadableError(
            f"{path}: a quantised model ({quantised.op}), which holds integers and scales; "
            "convert the model that it was quantised from"
        )
    framework = PADDLE if model.producer.lower().startswith("paddle") else TORCH
    tensors, words = _tensors(model)
    return Contents(tensors, framework, words, beside=model.beside)


def _tensors(model: OnnxGraph) -> tuple[dict[str, Any], str]:
    """Return name -> tensor, and how they were found, in words."""
    uses = _uses(model)
    made, turned = _named_after_nodes(model, uses)
    settings = {name for name in model.initializers if _is_setting(name, model, uses[name])}
    taken = {first for first, _ in made.values()}
    found = {n: t for n, t in model.initializers.items() if n not in settings and n not in taken}
    for name, first in _second_names(model).items():
        if first in found and name not in found and not _is_made_up(name):
            found[name] = _apart(found[first])
    for name, (first, is_turned) in made.items():
        found.setdefault(name, _apart(model.initializers[first], is_turned))
    words = f"ONNX of {model.producer or 'an unnamed program'}, opset {model.opset}, no CRC, "
    words += f"{len(made)} initializers named after their node, " if made else ""
    words += f"{turned} matrices of MatMul turned to [out, in], " if turned else ""
    words += f"{len(settings)} settings of operators left out, " if settings else ""
    return found, words


def _uses(model: OnnxGraph) -> dict[str, list[tuple[GraphNode, int]]]:
    """Return who reads what, and at which place; through Identity."""
    second = _second_names(model)
    uses: dict[str, list[tuple[GraphNode, int]]] = defaultdict(list)
    for node in model.nodes:
        for place, name in enumerate(node.inputs):
            if node.op != "Identity" or name not in model.initializers:
                uses[second.get(name, name)].append((node, place))
    return uses


def _second_names(model: OnnxGraph) -> dict[str, str]:
    """Return {second name: initializer}: equal tensors are kept once, with Identity for others."""
    second: dict[str, str] = {}
    for node in model.nodes:
        if node.op == "Identity" and len(node.inputs) == len(node.outputs) == 1:
            first = second.get(node.inputs[0], node.inputs[0])
            if first in model.initializers:
                second[node.outputs[0]] = first
    return second


def _named_after_nodes(
    model: OnnxGraph, uses: dict[str, list[tuple[GraphNode, int]]]
) -> tuple[dict[str, tuple[str, bool]], int]:
    """Return {name: (initializer, whether turned)} of tensors whose names were made up."""
    made: dict[str, tuple[str, bool]] = {}
    for first, tensor in model.initializers.items():
        if not _is_made_up(first) or not isinstance(tensor, Stored):
            continue
        for node, place in uses[first]:
            path = module_of(node)
            leaf = {1: "weight", 2: "bias"}.get(place)
            if node.op not in _NAMED_AFTER_NODE or not path or leaf is None:
                continue
            is_turned = node.op == "MatMul" and len(tensor.shape) == 2
            if node.op != "MatMul" or is_turned:
                made.setdefault(f"{path}.{leaf}", (first, is_turned))
    return made, sum(is_turned for _, is_turned in made.values())


def module_of(node: GraphNode) -> str:
    """Return the path of the module whose forward made a node, "" where its name does not tell.

    PyTorch's exporter writes `/layer1/layer1.0/conv1/Conv` for that of `layer1.0.conv1`.
    """
    parts = node.name.split("/")
    if len(parts) < 3 or parts[0] or not parts[-1].startswith(node.op):
        return ""
    return ".".join(_whole(parts[1:-1]))


def _whole(scopes: list[str]) -> Iterator[str]:
    """Yield the scopes; one that repeats the scope around it stands for both."""
    for scope, inner in zip(scopes, [*scopes[1:], ""], strict=True):
        if not inner.startswith(f"{scope}."):
            yield scope


def _is_made_up(name: str) -> bool:
    return name.startswith("onnx::") or name.isdigit()


def _is_setting(name: str, model: OnnxGraph, uses: list[tuple[GraphNode, int]]) -> bool:
    """Tell whether a tensor only sets how operations work: a shape, axes, a factor."""
    tensor = model.initializers[name]
    if isinstance(tensor, Odd):
        return False
    if _is_made_up(name) and (tensor.size <= 1 or tensor.dtype.kind in "iub"):
        return True
    return bool(uses) and all(place in _SETTINGS.get(node.op, ()) for node, place in uses)


def _apart(tensor: Any, is_turned: bool = False) -> Any:
    """Return a tensor as one of its own: equal values, kept once, need not be tied."""
    if isinstance(tensor, Odd):
        return tensor
    shape, strides = tensor.shape, tensor.strides
    if is_turned:
        shape, strides = shape[::-1], strides[::-1]
    storage = Storage(tensor.storage.data(), name=tensor.storage.name)
    return Stored(storage, tensor.dtype, shape, strides, tensor.offset)
