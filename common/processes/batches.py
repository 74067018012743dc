"""Batches that travel between the processes of a training: arrays and plain values, no code."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.data.batch import Batch, Target
from common.processes.group import ProcessGroup


def batches_of_all(own: Batch, group: ProcessGroup) -> list[Batch]:
    """Return the batches of all processes by their number, of which each gives `own`."""
    if not group.several:
        return [own]
    return [Batch(*unpacked(told)) for told in group.gather_bytes(packed(own))]


def packed(parts: Sequence[Target]) -> bytes:
    """Return arrays, and targets of several, as bytes; lists in them hold what JSON has.

    A line of JSON says names, dtypes and shapes, then come the arrays' bytes. Whole numbers travel
    as int32 where all of them fit.
    """
    about, contents = [], []
    for part in parts:
        told: dict[str, Any] = {}
        for name, value in (part if isinstance(part, dict) else {"": part}).items():
            if isinstance(value, np.ndarray):
                narrow = _narrow(value)
                told[name] = [value.dtype.name, narrow.dtype.name, value.shape]
                contents.append(narrow.tobytes())
            else:
                told[name] = {"list": value}
        about.append(told)
    return b"".join((json.dumps(about, default=_plain).encode(), b"\n", *contents))


def unpacked(content: bytes) -> list[Any]:
    """Return what `packed` was given."""
    end = content.index(b"\n") + 1
    parts: list[Any] = []
    for told in json.loads(content[: end - 1]):
        part = {}
        for name, one in told.items():
            if isinstance(one, dict):
                part[name] = one["list"]
                continue
            dtype, travelled, shape = one
            count = int(np.prod(shape))
            array = np.frombuffer(content, travelled, count, end)
            end += array.nbytes
            part[name] = array.reshape(shape).astype(dtype, copy=False)
        parts.append(part.get("", part))
    return parts


def _narrow(array: np.ndarray) -> np.ndarray:
    wide = array.dtype == np.int64 and array.size
    if wide and array.min() >= -(2**31) and array.max() < 2**31:
        return array.astype(np.int32)
    return array


def _plain(value: Any) -> Any:
    """Return what NumPy holds in a list as JSON has it."""
    return value.tolist()
