"""Runs the port of a row with converted weights, in float64."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import paddle

import paddle_impl
from common.errors import ConversionError
from convert.verify.outputs import listed


def load_pdparams(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file that this process has just written (it is a pickle)."""
    state: dict[str, np.ndarray] = paddle.load(str(path), return_numpy=True)
    return state


def run_port(
    row: str, options: Mapping[str, Any], state: Mapping[str, np.ndarray], image: np.ndarray
) -> list[np.ndarray]:
    """Return the outputs for `image` [N, 3, H, W] float64 in eval mode, on the CPU.

    `state` has Paddle's names; bfloat16 as uint16 bits. Raises ConversionError where Paddle does
    not take every tensor.
    """
    dtype, device, random = paddle.get_default_dtype(), paddle.get_device(), paddle.get_rng_state()
    try:
        paddle.set_device("cpu")
        paddle.set_default_dtype("float64")
        net = paddle_impl.build_model(row, **options)
        net.eval()
        missing, unexpected = net.set_state_dict({k: _float64(a) for k, a in state.items()})
        if missing or unexpected:
            raise ConversionError(f"Paddle does not take {[*missing, *unexpected]}")
        with paddle.no_grad():
            outputs = net(paddle.to_tensor(image))
    finally:
        paddle.set_default_dtype(dtype)
        paddle.set_device(device)
        paddle.set_rng_state(random)
    return [output.numpy() for output in listed(outputs)]


def _float64(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint16:
        array = array.view(ml_dtypes.bfloat16)
    is_float = array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16
    return np.ascontiguousarray(array, np.float64) if is_float else np.ascontiguousarray(array)
