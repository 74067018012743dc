"""Writes operators that X2Paddle has no form for by others that it has, where they mean the same.

What this gets wrong the comparison with the file itself finds: it is never run.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def write_simpler(model: Any, notes: list[str]) -> None:
    """Replace the operators of FORMS, and note which there were; give poolings plain settings."""
    graph, kept, written = model.graph, [], list[str]()
    for number, node in enumerate(graph.node):
        if node.op_type in ("MaxPool", "AveragePool"):
            _say_settings(node)
        form = FORMS.get(node.op_type)
        made = list(form(graph, node, f"\0simpler{number}")) if form else []
        kept += made or [node]
        written += [node.op_type] if made else []
    del graph.node[:]
    graph.node.extend(kept)
    for op in dict.fromkeys(written):
        notes.append(f"{written.count(op)} {op} written by simpler operations")


def _say_settings(node: Any) -> None:
    """Leave out dilations of 1, which X2Paddle refuses; say strides of 1, which it takes for none.

    Without strides Paddle moves a window by its own size.
    """
    from onnx import helper

    settings = {one.name: one for one in node.attribute}
    size = len(settings["kernel_shape"].ints) if "kernel_shape" in settings else 0
    if "dilations" in settings and set(settings["dilations"].ints) == {1}:
        node.attribute.remove(settings["dilations"])
    if "strides" not in settings and size:
        node.attribute.append(helper.make_attribute("strides", [1] * size))


def _average_pool(graph: Any, node: Any, name: str) -> Iterator[Any]:
    """Yield a padding and a pooling where the border counts, which X2Paddle leaves out."""
    from onnx import helper, numpy_helper

    settings = {one.name: one for one in node.attribute}
    pads = list(settings["pads"].ints) if "pads" in settings else []
    if not any(pads) or not ("count_include_pad" in settings and settings["count_include_pad"].i):
        return
    half = len(pads) // 2
    whole = [0, 0, *pads[:half], 0, 0, *pads[half:]]
    graph.initializer.append(numpy_helper.from_array(np.array(whole), f"{name}p"))
    yield helper.make_node("Pad", [node.input[0], f"{name}p"], [name])
    pool = type(node)()
    pool.CopyFrom(node)
    pool.input[0] = name
    for one in [one for one in pool.attribute if one.name in ("pads", "count_include_pad")]:
        pool.attribute.remove(one)
    yield pool


def _hardswish(graph: Any, node: Any, name: str) -> Iterator[Any]:
    from onnx import helper

    (x,), (y,) = node.input, node.output
    yield helper.make_node("HardSigmoid", [x], [name], alpha=1 / 6, beta=0.5)
    yield helper.make_node("Mul", [x, name], [y])


def _mish(graph: Any, node: Any, name: str) -> Iterator[Any]:
    from onnx import helper

    (x,), (y,) = node.input, node.output
    yield helper.make_node("Softplus", [x], [f"{name}s"])
    yield helper.make_node("Tanh", [f"{name}s"], [f"{name}t"])
    yield helper.make_node("Mul", [x, f"{name}t"], [y])


def _gelu(graph: Any, node: Any, name: str) -> Iterator[Any]:
    """Yield x * (0.5 + 0.5 * erf(x / sqrt(2))); not the form by tanh."""
    from onnx import helper

    if any(one.name == "approximate" and one.s != b"none" for one in node.attribute):
        return
    (x,), (y,) = node.input, node.output
    root, half = _number(graph, f"{name}c", 0.5**0.5), _number(graph, f"{name}h", 0.5)
    yield helper.make_node("Mul", [x, root], [f"{name}x"])
    yield helper.make_node("Erf", [f"{name}x"], [f"{name}e"])
    yield helper.make_node("Mul", [f"{name}e", half], [f"{name}f"])
    yield helper.make_node("Add", [f"{name}f", half], [f"{name}g"])
    yield helper.make_node("Mul", [x, f"{name}g"], [y])


def _number(graph: Any, name: str, value: float) -> str:
    """Give the graph a constant and return its name."""
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return name


def _layer_norm(graph: Any, node: Any, name: str) -> Iterator[Any]:
    """Yield (x - mean) / sqrt(variance + epsilon) * scale + bias, of the last axis alone."""
    from onnx import helper

    settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if settings.get("axis", -1) != -1 or len(node.output) > 1:
        return
    epsilon = _number(graph, f"{name}e", settings.get("epsilon", 1e-5))
    x, scale, *bias = node.input
    mean = {"axes": [-1], "keepdims": 1}
    last = f"{name}y" if bias else node.output[0]
    yield helper.make_node("ReduceMean", [x], [f"{name}m"], **mean)
    yield helper.make_node("Sub", [x, f"{name}m"], [f"{name}d"])
    yield helper.make_node("Mul", [f"{name}d", f"{name}d"], [f"{name}q"])
    yield helper.make_node("ReduceMean", [f"{name}q"], [f"{name}v"], **mean)
    yield helper.make_node("Add", [f"{name}v", epsilon], [f"{name}w"])
    yield helper.make_node("Sqrt", [f"{name}w"], [f"{name}r"])
    yield helper.make_node("Div", [f"{name}d", f"{name}r"], [f"{name}n"])
    yield helper.make_node("Mul", [f"{name}n", scale], [last])
    if bias:
        yield helper.make_node("Add", [last, bias[0]], list(node.output))


FORMS: dict[str, Callable[[Any, Any, str], Iterator[Any]]] = {
    "AveragePool": _average_pool,
    "HardSwish": _hardswish,
    "Mish": _mish,
    "Gelu": _gelu,
    "LayerNormalization": _layer_norm,
}
