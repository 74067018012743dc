"""Alignment in two environments: a trace is recorded where only torch is installed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align.arrays.batch import Inputs
from align.stored.format import SHARD_BYTES


def record_trace(
    torch_net: Any,
    inputs: Inputs,
    folder: str | os.PathLike[str],
    *,
    train: bool = False,
    backward: bool = False,
    torch_loss: Any = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Run the reference in float64 and write everything that `force_trace` needs.

    Args:
        torch_net: any `torch.nn.Module` on the CPU; it is left as it was.
        inputs: arrays of any shape; a sequence is passed by position, a mapping by keyword.
            Floating arrays are cast to float64. With a loss the last one is the label.
        folder: where to; a trace that is there is replaced, anything else refused. It appears
            when it is whole.
        train: train mode instead of eval mode.
        backward: record gradients too, from `torch_loss` or from random cotangents.
        torch_loss: called with (outputs, label), returns a scalar; with `backward` only.
        seed: of the random cotangents.
        settings: plain data to keep beside it (the command's options).
        shard_bytes: the largest file of arrays, where one array is not larger. Arrays are written
            as they come; so much of them is held in memory.

    Returns:
        The folder (its format: docs/trace_format.md).

    Raises:
        UserError: the folder cannot be written or holds something else; a loss without `backward`;
            inputs that are no arrays. Whatever the net itself raises.
    """
    from align.stored.record_torch import write_trace

    return write_trace(
        torch_net,
        inputs,
        folder,
        train=train,
        backward=backward,
        torch_loss=torch_loss,
        seed=seed,
        settings=settings or {},
        shard_bytes=shard_bytes,
    )
