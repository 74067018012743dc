"""Reads weights in Paddle's names: .pdparams and .safetensors, running no code of theirs."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from common.errors import UnreadableError

PADDLE_SUFFIXES = (".pdparams", ".safetensors")
# What a .pdparams of Paddle 2 and 3, written under NumPy 1 or 2, needs to be rebuilt.
_ALLOWED = {
    (module, name)
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "ndarray", "dtype", "scalar")
} | {("_codecs", "encode"), ("builtins", "tuple"), ("collections", "OrderedDict")}


class _Unpickler(pickle.Unpickler):
    """Builds arrays and plain containers, and refuses to call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks to call {module}.{name}; nothing was run")
        return super().find_class(module, name)


def read_paddle_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Return {Paddle's name: array} of a file that `paddle.save` or safetensors wrote.

    Raises UnreadableError where it is absent, damaged, no state dict, or would run code.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such file") from None
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        if path.suffix == ".safetensors":
            return dict(load_safetensors(content))
        state = _Unpickler(io.BytesIO(content)).load()
    except (SafetensorError, pickle.UnpicklingError) as error:
        raise UnreadableError(f"{path}: {error}") from None
    except Exception as error:  # whatever a damaged pickle stumbles over
        raise UnreadableError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    if not isinstance(state, dict):
        raise UnreadableError(f"{path}: holds a {type(state).__name__}, not a state dict")
    # Paddle's own map from structured to internal names.
    state = {key: value for key, value in state.items() if key != "StructuredToParameterName@@"}
    strange = [key for key, value in state.items() if not isinstance(value, np.ndarray)]
    if strange or not state:
        raise UnreadableError(f"{path}: not a state dict of arrays: {strange[:3] or 'it is empty'}")
    return state
