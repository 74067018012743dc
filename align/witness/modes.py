"""Whether an ONNX graph predicts, or trains: written in train mode it is of another net."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError
from common.words.controls import in_one_line

EXPLICIT = 14  # the opset from which on BatchNormalization says its mode


def require_eval_mode(path: Any, model: Any) -> None:
    """Raise UserError where a graph normalises by the batch, or draws: it was not of eval mode."""
    if node := _training(model):
        raise UserError(
            f"{path}: could not check: the graph is of train mode ({node.op_type} "
            f"{in_one_line((node.name or node.output[0])[:80])}), which depends on the batch and "
            "on chance; export it again from net.eval(), with "
            "training=torch.onnx.TrainingMode.EVAL or without that argument"
        )


def _training(model: Any) -> Any:
    """Return the first node that does what only training does, None where there is none."""
    versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    constants = _flags(model.graph)
    for node in model.graph.node:
        settings = {one.name: one.i for one in node.attribute}
        if node.op_type == "BatchNormalization":
            says = settings.get("training_mode", 0) == 1
            if says or (max(versions, default=0) < EXPLICIT and len(node.output) > 1):
                return node
        if node.op_type == "Dropout" and len(node.input) > 2 and constants.get(node.input[2]):
            return node
    return None


def _flags(graph: Any) -> Mapping[str, bool]:
    """Return {name: value} of the constants that are one truth value."""
    from onnx import TensorProto, numpy_helper

    tensors = {one.name: one for one in graph.initializer}
    for node in graph.node:
        for one in node.attribute:
            if node.op_type == "Constant" and one.name == "value":
                tensors[node.output[0]] = one.t
    return {
        name: bool(np.all(numpy_helper.to_array(one)))
        for name, one in tensors.items()
        if one.data_type == TensorProto.BOOL and len(one.dims) == 0
    }
