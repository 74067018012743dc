"""Writes the operators of a newer ONNX as those that X2Paddle reads, where they mean the same.

What this gets wrong the comparison with the file itself finds: it is never run.
"""

from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError

NEWEST = 15  # of the operators that X2Paddle 1.6.0 reads


def write_older(path: Path, model: Any) -> int:
    """Make `model` one of opset NEWEST; return the opset that it had, 0 where it stays.

    Raises UserError where an operation means something that the older one cannot.
    """
    imports = [one for one in model.opset_import if one.domain in ("", "ai.onnx")]
    version = max((one.version for one in imports), default=0)
    if version <= NEWEST:
        return 0
    constants = _constants(model.graph)
    for node in model.graph.node:
        if what := _older_node(node, version, constants):
            raise UserError(
                f"{path}: the operation {node.op_type} of opset {version} ({what}) has no older "
                f"form, and X2Paddle reads opset {NEWEST}; export with opset_version={NEWEST}"
            )
    for one in imports:
        one.version = NEWEST
    return version


def newer_than_read(model: Any) -> str:
    """Return an operation that came after the operators X2Paddle reads, "" where there is none."""
    from onnx import defs

    names = dict.fromkeys(node.op_type for node in model.graph.node)
    return next((n for n in names if defs.has(n) and not defs.has(n, NEWEST)), "")


def _constants(graph: Any) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    found = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        values = [one.t for one in node.attribute if one.name == "value"]
        if node.op_type == "Constant" and values:
            found[node.output[0]] = numpy_helper.to_array(values[0])
    return found


def _older_node(node: Any, version: int, constants: dict[str, np.ndarray]) -> str:
    """Make a node one of NEWEST; return what of it cannot be, "" where all can."""
    from onnx import defs, helper

    try:
        new = defs.get_schema(node.op_type, version, "")
        old = defs.get_schema(node.op_type, NEWEST, "")
    except Exception:
        return ""  # none of NEWEST: X2Paddle names what it lacks
    if new.since_version == old.since_version:
        return ""
    if "axes" in old.attributes and "axes" not in new.attributes and len(node.input) > 1:
        axes = constants.get(node.input[1])
        if node.input[1] and axes is None:
            return "axes that are computed"
        del node.input[1:]
        if axes is not None:
            node.attribute.append(helper.make_attribute("axes", axes.ravel().tolist()))
    if len([name for name in node.input if name]) > old.max_input:
        return f"{len(node.input)} operands"
    kept = []
    for one in node.attribute:
        if one.name in old.attributes:
            kept.append(one)
        elif not _is_default(node, one, new):
            return one.name
    del node.attribute[:]
    node.attribute.extend(kept)
    return ""


def _is_default(node: Any, attribute: Any, schema: Any) -> bool:
    """Tell whether a setting that the older operation lacks says nothing new."""
    from onnx import helper

    if attribute.name == "num_outputs":  # of Split, which makes as many as it has outputs
        return bool(attribute.i == len(node.output))
    if attribute.name == "noop_with_empty_axes":
        return True  # its axes are given, or it is 0
    known = schema.attributes.get(attribute.name)
    if known is None or not known.default_value.name:
        return False
    default = helper.get_attribute_value(known.default_value)
    return bool(helper.get_attribute_value(attribute) == default)
