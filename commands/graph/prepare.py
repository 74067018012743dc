"""An ONNX file made ready for X2Paddle: checked, plainly named, every weight used once.

X2Paddle writes names and words of the file into Python code, so all are replaced by plain ones:
no text of the file reaches the code. It loses a weight that two nodes use (opset_legacy.py:68).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from align.witness.modes import require_eval_mode
from commands.graph.fold import fold
from commands.graph.older import NEWEST, newer_than_read, write_older
from commands.graph.simpler import write_simpler
from common.errors import UnreadableError, UserError
from common.words.controls import in_one_line
from common.words.typed import command
from convert.formats.mapped import mapped
from convert.formats.onnx.model import read_model
from convert.formats.stored import Stored
from port.graph.mend import Norm, Resizing

_PLAIN = re.compile(r"[A-Za-z0-9_]*")
LACKING = ("Einsum",)  # its equation is no plain word, and X2Paddle has no form for it either
_STATE = ("scale", "bias", "mean", "var")


@dataclass
class Prepared:
    """What X2Paddle is given, and what it was made of.

    Attributes:
        model: the file as `onnx.ModelProto`.
        state: name of the user's file -> values of its weights.
        reasons: why a weight of it is left out.
        renamed: name in `model` -> the user's.
        norms: the user's name of a running mean -> what its BatchNormalization is set to.
        resizes: tensor of the written code -> what its Resize is set to.
        notes: what was changed, in words.
    """

    model: Any
    state: dict[str, np.ndarray]
    reasons: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    norms: dict[str, Norm] = field(default_factory=dict)
    resizes: dict[str, Resizing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def prepared(path: Path) -> Prepared:
    """Return the file `path` made ready. Raises UnreadableError, UserError where it cannot be."""
    import onnx

    data = mapped(path)
    graph = read_model(path, data)  # names what is damaged, absent or elsewhere
    try:
        model = onnx.load_model_from_string(bytes(data))
    except Exception as error:
        raise UnreadableError(f"{path}: a damaged ONNX file: {_first(error)}") from None
    arrays = {n: t.view().copy() for n, t in graph.initializers.items() if isinstance(t, Stored)}
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[tensor.name], tensor.name))
    _require_plain(path, model)
    require_eval_mode(path, model)
    made = Prepared(model, {})
    used = {name for node in model.graph.node for name in node.input}
    _without_identity(made, set(arrays))
    fold(made.model, made.notes)
    write_simpler(made.model, made.notes)
    _name_all_inputs(made.model)
    _name_kernels(made.model)
    _each_once(made)
    _rename(made)
    if newer := newer_than_read(made.model):
        raise lacking(newer, path)
    if version := write_older(path, made.model):
        made.notes.append(f"opset {version} written as {NEWEST}, which X2Paddle reads")
    made.state = {n: a for n, a in arrays.items() if a.dtype.kind in "fiub"}
    made.reasons = {n: "read by no operation" for n in made.state if n not in used}
    _check(path, made.model)
    return made


def instead() -> str:
    """Return what to do where X2Paddle cannot."""
    return f"`{command('port', 'MODULE:CALLABLE')}` ports the net itself, by its source"


def lacking(op: str, path: Path) -> UserError:
    """Return the error of an operation that X2Paddle has no form for."""
    return UserError(f"could not check: X2Paddle cannot convert {op} of {path.name}. {instead()}")


def _require_plain(path: Path, model: Any) -> None:
    """Raise UserError for what X2Paddle has no form for, or would write into code as it stands."""
    for node in _nodes(model.graph):
        op, domain = in_one_line(node.op_type[:60]), in_one_line(node.domain[:60])
        if domain not in ("", "ai.onnx") or not _PLAIN.fullmatch(node.op_type):
            where = in_one_line(node.name[:80])
            raise UserError(
                f"{path}: the operation {op} of {domain or 'ONNX'} (node {where}) is none of ONNX "
                f"itself, and X2Paddle has no form for it. {instead()}"
            )
        if op in LACKING:
            raise lacking(op, path)
        for one in node.attribute:
            words = [one.s, *one.strings]
            if not all(_PLAIN.fullmatch(word.decode("utf-8", "replace")) for word in words):
                raise UserError(
                    f"{path}: the setting {in_one_line(one.name[:60])} of {op} is no plain word, "
                    "and is not handed on: X2Paddle would write it into code"
                )
    if len(list(_nodes(model.graph))) != len(model.graph.node):
        op = next(n.op_type for n in model.graph.node if any(a.HasField("g") for a in n.attribute))
        raise UserError(
            f"{path}: the operation {op} holds a graph of its own, for which X2Paddle has no form. "
            f"{instead()}"
        )


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for one in node.attribute:
            for inner in (*([one.g] if one.HasField("g") else []), *one.graphs):
                yield from _nodes(inner)


def _without_identity(made: Prepared, known: set[str]) -> None:
    """Replace the second name that Identity gives a weight by the weight itself."""
    graph = made.model.graph
    first: dict[str, str] = {}
    outputs = {one.name for one in graph.output}
    kept = []
    for node in graph.node:
        source = first.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type == "Identity" and source in known and node.output[0] not in outputs:
            first[node.output[0]] = source
        else:
            kept.append(node)
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = first.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    if first:
        made.notes.append(f"{len(first)} second names of equal weights made weights of their own")


def _name_all_inputs(model: Any) -> None:
    """Give a Resize, which X2Paddle reads by place, the operands that it leaves out: empty ones."""
    from onnx import numpy_helper

    empty = "\0none"
    for node in model.graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            node.input[:] = [name or empty for name in node.input]
    if any(empty in node.input for node in model.graph.node):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), empty))


def _name_kernels(model: Any) -> None:
    """Give a convolution the size of its window, which X2Paddle does not take from the weight."""
    from onnx import helper

    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    for node in model.graph.node:
        known = any(one.name == "kernel_shape" for one in node.attribute)
        if node.op_type in ("Conv", "ConvTranspose") and not known and node.input[1] in shapes:
            size = shapes[node.input[1]][2:]
            node.attribute.append(helper.make_attribute("kernel_shape", size))


def _each_once(made: Prepared) -> None:
    """Give every use of a weight after the first a copy of it."""
    graph = made.model.graph
    tensors = {one.name: one for one in graph.initializer}
    seen: dict[str, int] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in tensors:
                continue
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                copy = graph.initializer.add()
                copy.CopyFrom(tensors[name])
                copy.name = f"{name}::{seen[name]}"
                made.renamed[copy.name] = name
                node.input[place] = copy.name
    if made.renamed:
        made.notes.append(f"{len(made.renamed)} copies of weights that several operations use")


def _rename(made: Prepared) -> None:
    """Give everything a plain name, and keep whose name it was."""
    graph, names = made.model.graph, {"": ""}
    initial = {one.name for one in graph.initializer}
    origin = {one.name: made.renamed.get(one.name, one.name) for one in graph.initializer}

    def plain(name: str, letter: str) -> str:
        return names.setdefault(name, f"{letter}{len(names)}")

    inputs = [one for one in graph.input if one.name not in initial]
    del graph.input[:]
    graph.input.extend(inputs)  # X2Paddle takes weights that are listed as inputs for inputs
    for one in graph.input:
        one.name = plain(one.name, "x")
    for tensor in graph.initializer:
        tensor.name = plain(tensor.name, "w")
    for number, node in enumerate(graph.node):
        _note_norm(made, node, origin)
        node.input[:] = [plain(name, "v") for name in node.input]
        node.output[:] = [plain(name, "v") for name in node.output]
        _note_resize(made, node)
        node.name, node.doc_string = f"{node.op_type}_{number}", ""
    for one in graph.output:
        one.name = plain(one.name, "v")
    for one in (*graph.input, *graph.output):
        for length in one.type.tensor_type.shape.dim:
            if length.dim_param:
                length.dim_param = plain(length.dim_param, "n")
    del graph.value_info[:]
    graph.name, graph.doc_string, made.model.doc_string = "Net", "", ""
    made.renamed = {names[name]: first for name, first in origin.items()}


def _note_norm(made: Prepared, node: Any, origin: dict[str, str]) -> None:
    if node.op_type != "BatchNormalization":
        return
    settings = {one.name: one.f for one in node.attribute if one.name in ("momentum", "epsilon")}
    momentum = settings.get("momentum", 0.9)
    words = f"BatchNormalization has {momentum:g} of what stays"
    mean = origin.get(node.input[3], node.input[3])
    made.norms[mean] = Norm(momentum, settings.get("epsilon", 1e-5), words)


def _note_resize(made: Prepared, node: Any) -> None:
    if node.op_type == "Resize":
        told = {one.name: one.s.decode("utf-8", "replace") for one in node.attribute}
        made.resizes[f"x2paddle_{node.output[0]}"] = Resizing(
            told.get("mode", "nearest"),
            told.get("coordinate_transformation_mode", "half_pixel"),
            told.get("nearest_mode", "round_prefer_floor"),
        )


def _check(path: Path, model: Any) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise UnreadableError(
            f"{path}: no valid ONNX model: {_first(error)}; download or export it again"
        ) from None


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return in_one_line(lines[0][:300]) if lines else type(error).__name__
