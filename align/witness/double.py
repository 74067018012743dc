"""A graph in another precision: float64 where ONNX Runtime has the kernels, else float32."""

from typing import Any

import numpy as np

FLOATS = {"float32": np.float32, "float64": np.float64}
SUBGRAPHS = ("If", "Loop", "Scan")
FEW_BITS = 2.0**12  # of a constant that float32 holds as it was written: 0.5, 255
# Arguments that stay float32 whatever the rest is, by the place that they are given at.
STAYS = {"Resize": (1, 2), "Upsample": (1,)}


def in_dtype(model: Any, dtype: str) -> Any:
    """Return `model` with its floating tensors, casts and inputs in `dtype`; itself where it is.

    None where it has graphs inside of graphs, which are not rewritten.
    """
    import onnx

    wanted = getattr(onnx.TensorProto, "DOUBLE" if dtype == "float64" else "FLOAT")
    other = getattr(onnx.TensorProto, "FLOAT" if dtype == "float64" else "DOUBLE")
    if not _has(model, other):
        return model
    if any(node.op_type in SUBGRAPHS for node in model.graph.node):
        return None
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.value_info[:]
    stays = {
        node.input[place]
        for node in made.graph.node
        for place in STAYS.get(node.op_type, ())
        if place < len(node.input)
    }
    for tensor in made.graph.initializer:
        if tensor.name not in stays:
            _cast(tensor, other, dtype)
    for node in made.graph.node:
        if not stays.intersection(node.output):
            _cast_node(node, wanted, other, dtype)
    for value in (*made.graph.input, *made.graph.output):
        if value.type.tensor_type.elem_type == other:
            value.type.tensor_type.elem_type = wanted
    return made


def nudged(model: Any) -> Any:
    """Return `model`, made float64 of float32, with its constants one unit of float32 further.

    A file in float32 has rounded them; how far that moves what is computed is seen by this. Those
    that a few bits hold are what they were. None where there are none.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    changed = [_nudge(tensor) for tensor in made.graph.initializer if _is_scalar(tensor)]
    for node in made.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and _is_scalar(attribute.t):
                changed.append(_nudge(attribute.t))
            elif attribute.type == onnx.AttributeProto.FLOAT:
                further = _further(np.array(attribute.f))
                changed.append(bool(further != attribute.f))
                attribute.f = float(further)
    return made if any(changed) else None


def _is_scalar(tensor: Any) -> bool:
    from onnx import TensorProto

    return tensor.data_type == TensorProto.DOUBLE and all(length == 1 for length in tensor.dims)


def _nudge(tensor: Any) -> bool:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    further = _further(values)
    tensor.CopyFrom(numpy_helper.from_array(further, tensor.name))
    return bool((further != values).any())


def _further(values: np.ndarray) -> np.ndarray:
    single = values.astype(np.float32)
    next_ = np.nextafter(single, np.float32(np.inf)).astype(np.float64)
    mantissa, _ = np.frexp(values)
    few = np.isfinite(values) & (mantissa * FEW_BITS == np.round(mantissa * FEW_BITS))
    result: np.ndarray = np.where(few, values, next_)
    return result


def _has(model: Any, kind: int) -> bool:
    graph = model.graph
    values = (v.type.tensor_type.elem_type for v in (*graph.input, *graph.output))
    return kind in {*values, *(tensor.data_type for tensor in graph.initializer)}


def _cast_node(node: Any, wanted: int, other: int, dtype: str) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _cast(attribute.t, other, dtype)
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            _as_tensor(attribute, dtype)
        elif attribute.name in ("to", "dtype") and attribute.i == other:
            attribute.i = wanted


def _as_tensor(attribute: Any, dtype: str) -> None:
    """Give a constant that is a number a tensor, whose precision can be chosen."""
    from onnx import AttributeProto, numpy_helper

    is_one = attribute.name == "value_float"
    values = np.array(attribute.f if is_one else list(attribute.floats), FLOATS[dtype])
    attribute.name, attribute.type = "value", AttributeProto.TENSOR
    attribute.ClearField("f")
    attribute.ClearField("floats")
    attribute.t.CopyFrom(numpy_helper.from_array(values))


def _cast(tensor: Any, other: int, dtype: str) -> None:
    from onnx import numpy_helper

    if tensor.data_type == other:
        values = numpy_helper.to_array(tensor).astype(FLOATS[dtype])
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
