"""Reads files of torch.save through torch's own restricted unpickler (weights_only)."""

import pickletools
import re
from collections import deque
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from common.errors import UnreadableError
from convert.checkpoint import Checkpoint
from convert.unwrap import find_state_dict

# torch dtype without a NumPy twin -> (integer type of its size, ml_dtypes' name).
_BITS: dict[str, tuple[torch.dtype, str]] = {
    "bfloat16": (torch.int16, "bfloat16"),
    "float8_e4m3fn": (torch.uint8, "float8_e4m3fn"),
    "float8_e5m2": (torch.uint8, "float8_e5m2"),
    "float8_e4m3fnuz": (torch.uint8, "float8_e4m3fnuz"),
    "float8_e5m2fnuz": (torch.uint8, "float8_e5m2fnuz"),
}


def read_torch(path: Path, key: str | None, legacy: bool) -> Checkpoint:
    """Read the state dict of a zip (mapped) or of a pre-1.6 file (`legacy`: one copy of it).

    Raises UnreadableError or UserError as `convert.read_checkpoint` says.
    """
    tree = _load(path, legacy)
    found = find_state_dict(tree, lambda value: isinstance(value, torch.Tensor), key, path)
    for name, tensor in found.tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise UnreadableError(f"{path}: {name} is not a plain dense tensor, but {_say(tensor)}")
    aliases = _shared(found.tensors)
    words = "pre-1.6 file (read into memory), " if legacy else "zip file, "
    words += found.describe(len(aliases))
    return Checkpoint(path, found.tensors, _to_array, aliases, words)


def _load(path: Path, legacy: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=not legacy)
    except AttributeError as error:
        if not legacy or "UntypedStorage" not in str(error):
            raise UnreadableError(f"{path}: cannot be read: {error}") from None
        raise UnreadableError(
            f"{path}: torch cannot read a dtype of this file (float8?) from its pre-1.6 format; "
            "save it again in the present one"
        ) from None
    except Exception as error:  # a damaged file can raise anything
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    wanted = re.search(r"GLOBAL (\S+)", text)
    if wanted is None or (legacy and _is_cut_off(path)):
        reason = text.strip().splitlines()[0] if text.strip() else "it ends too early"
        if wanted or "weights_only" in reason or "Weights only" in reason:
            reason = "its pickle is cut off or holds what a checkpoint does not"
        raise UnreadableError(f"{path}: cannot be read: {reason}; download or save it again")
    raise UnreadableError(
        f"{path}: reading it would run code: it asks for {wanted[1]}. Nothing was run. If you "
        "trust its source, save the weights alone, in PyTorch:\n"
        f"    checkpoint = torch.load({path.name!r}, weights_only=False)  # runs that code\n"
        "    torch.save(checkpoint['state_dict'], 'weights.pth')  # a whole net: .state_dict()"
    )


def _is_cut_off(path: Path) -> bool:
    """Return whether a pre-1.6 file ends inside its pickles: magic, protocol, system, object."""
    try:
        with path.open("rb") as file:
            for _ in range(4):
                deque(pickletools.genops(file), maxlen=0)
    except Exception:  # whatever a damaged pickle raises
        return True
    return False


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().resolve_conj().resolve_neg()
    name = str(tensor.dtype).removeprefix("torch.")
    if name in _BITS:
        bits, numpy_name = _BITS[name]
        return tensor.view(bits).numpy().view(getattr(ml_dtypes, numpy_name))
    return tensor.numpy()


def _shared(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """Return {second name: first name} of tensors that are the same piece of memory."""
    first: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            continue
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if place in first:
            aliases[name] = first[place]
        first.setdefault(place, name)
    return aliases


def _say(tensor: torch.Tensor) -> str:
    return f"{str(tensor.layout).removeprefix('torch.')}, {tensor.dtype}, on {tensor.device}"
