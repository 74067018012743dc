"""The tensors of the table's nets, from whichever framework is installed."""

from collections.abc import Mapping
from typing import Any

from convert.names.spec import BATCH_NORM, COUNTER, TensorSpec


def describe_row(row: str, options: Mapping[str, Any]) -> list[TensorSpec]:
    """List the tensors of the port of row `row`; without Paddle from the reference's twin.

    Raises ModuleNotFoundError where neither framework is installed.
    """
    try:
        from convert.nets import describe_paddle
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "paddle":
            raise
        from convert.nets.describe_torch import describe_port

        return describe_port(row, options)
    return describe_paddle.describe_row(row, options)


def shapes_of(row: str, options: Mapping[str, Any]) -> Mapping[str, tuple[int, ...]]:
    """Return {torch's name: shape} of row `row`; without torch from the port.

    Second names of a tensor are then missing.
    """
    try:
        from convert.nets import shapes_torch
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        from convert.names.spec import TRANSPOSED

        shapes: dict[str, tuple[int, ...]] = {}
        for spec in describe_row(row, options):
            transposed = (spec.kind, spec.role) in TRANSPOSED
            own = spec.shape[::-1] if transposed else spec.shape
            shapes[spec.torch_key] = own if spec.torch_shape is None else spec.torch_shape
            if spec.kind == BATCH_NORM and spec.role == "running_var":
                shapes[f"{spec.torch_key.rpartition('.')[0]}.{COUNTER}"] = ()
        return shapes
    return shapes_torch.shapes_of(row, options)
