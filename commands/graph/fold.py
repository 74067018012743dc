"""Computes what of an ONNX graph depends on no value that goes in: X2Paddle reads it as weights.

It has no form for a BatchNormalization whose scale is computed, nor for a size that is put together
of constants.
"""

from typing import Any

import numpy as np

_LARGEST = 1 << 28  # bytes of one result
_ROUNDS = 8
_MOST = 1 << 20  # values of one that a few bytes ask for
_LEFT = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"),
    *("Multinomial", "Bernoulli", "Dropout"),
    *("Pad", "OneHot", "Resize", "Upsample"),  # a few bytes become any number of them
}


def fold(model: Any, notes: list[str]) -> None:
    """Replace operations on constants, and on sizes that the file fixes, by their results.

    Notes how many there were.
    """
    count = before = 0
    for _ in range(_ROUNDS):  # what is computed of sizes may be the size of something
        before, count = count, count + _folded_once(model, _sizes(model))
        if count == before:
            break
    if count:
        notes.append(f"{count} operations on weights and constants alone computed beforehand")


def _sizes(model: Any) -> dict[str, np.ndarray]:
    """Return {tensor: its sizes} of those whose sizes follow from the file; {} where none do."""
    from onnx import shape_inference

    if not any(node.op_type == "Shape" for node in model.graph.node):
        return {}
    del model.graph.value_info[:]
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:
        return {}
    found = {}
    for value in (*graph.input, *graph.value_info):
        kind = value.type.tensor_type
        lengths = [one.dim_value for one in kind.shape.dim]
        if kind.HasField("shape") and all(lengths):
            found[value.name] = np.array(lengths, np.int64)
    return found


def _folded_once(model: Any, sizes: dict[str, np.ndarray]) -> int:
    """Replace what can be computed; return how many operations that were."""
    from onnx import numpy_helper

    graph = model.graph
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    kept, outputs, count = [], {one.name for one in graph.output}, 0
    for node in graph.node:
        values = None
        if node.op_type == "Constant":
            values = _constant(node)
            if values is not None:
                known[node.output[0]] = values[0]
            kept.append(node)
            continue
        if node.op_type == "Shape" and node.input[0] in sizes and not outputs & set(node.output):
            values = _size(node, sizes[node.input[0]])
        elif _is_constant(node, known) and not outputs & set(node.output):
            values = _computed(model, node, known)
        if values is None:
            kept.append(node)
            continue
        count += 1
        for name, value in zip(node.output, values, strict=False):
            known[name] = value
            graph.initializer.append(numpy_helper.from_array(value, name))
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph)
    return count


def _size(node: Any, lengths: np.ndarray) -> list[np.ndarray]:
    """Return what a Shape gives, of all lengths or from `start` to `end`."""
    ends = {one.name: one.i for one in node.attribute}
    return [lengths[ends.get("start", 0) : ends.get("end", len(lengths))]]


def _is_constant(node: Any, known: dict[str, np.ndarray]) -> bool:
    read = [name for name in node.input if name]
    return bool(read) and node.op_type not in _LEFT and all(name in known for name in read)


def _constant(node: Any) -> list[np.ndarray] | None:
    from onnx import numpy_helper

    tensors = [one.t for one in node.attribute if one.name == "value"]
    return [numpy_helper.to_array(tensors[0])] if tensors else None


def _computed(model: Any, node: Any, known: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """Return the outputs of a node, None where they cannot be computed here, or are too large."""
    from onnx.reference import ReferenceEvaluator

    given = {name: known[name] for name in node.input if name}
    if not _asked_for(node.op_type, [known[name] for name in node.input if name]) <= _MOST:
        return None
    try:
        made = ReferenceEvaluator(node).run(None, given)
    except Exception:
        return None
    found = [np.asarray(one) for one in made]
    return found if sum(one.nbytes for one in found) <= _LARGEST else None


def _asked_for(op: str, given: list[np.ndarray]) -> float:
    """Return how many values a node makes of a few, at most; 0 where it makes no more than it has.

    Infinite where what it is given is not what it takes.
    """
    numbers = [np.abs(one.astype(np.float64)) for one in given if one.dtype.kind in "iuf"]
    try:
        if op == "ConstantOfShape":
            return float(numbers[0].prod())
        if op in ("Expand", "Tile"):
            return given[0].size * float(np.maximum(numbers[-1], 1).prod())
        if op == "Range":
            start, end, step = (float(one) for one in given)
            return (end - start) / step
    except (IndexError, TypeError, ValueError, ZeroDivisionError):
        return float("inf")
    return 0.0


def _drop_unused(graph: Any) -> None:
    """Leave out weights and constants that nothing reads any more."""
    read = {name for node in graph.node for name in node.input}
    read |= {one.name for one in graph.output}
    tensors = [one for one in graph.initializer if one.name in read]
    nodes = [n for n in graph.node if n.op_type != "Constant" or n.output[0] in read]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    del graph.node[:]
    graph.node.extend(nodes)
