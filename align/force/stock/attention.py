"""Calls of torch's stock attention, as the stock layers of Paddle take and return them.

Paddle's are batch first and return the result alone. They know one mask, of which True is kept;
torch's know two, of which True is hidden. Here a mask is what is added to the scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from align.judge.words import Cause
from align.record.stock_attention import SIGNATURES
from align.record.trace import TENSOR, Call

HIDDEN = -1e9
HIDES = -1e4  # the exponential of what is below vanishes


def as_ported(call: Call, weights: bool = False) -> Call:
    """Return `call` as a stock layer of Paddle would have been called and would have returned.

    With the map of weights, as torch returns it, where the port returns one. As it is where a
    mask is learned.
    """
    attention = call.attention
    assert attention is not None
    signature = SIGNATURES[attention.kind]
    given = dict(zip(attention.names, range(len(call.inputs)), strict=True))
    masks = [given[name] for name in attention.names if name not in signature.streams]
    if any(_at(call.grad_inputs, index) is not None for index in masks):
        return call
    if not set(signature.streams) <= set(given):
        return call

    def in_order(array: Any) -> Any:
        return array if attention.batch_first else turned(array)

    streams = [given[name] for name in signature.streams]
    inputs = [in_order(call.inputs[index]) for index in streams]
    lengths = [array.shape[:2] for array in inputs]
    constant = {
        f"input:{i}" for i, index in enumerate(streams) if f"input:{index}" in call.constant
    }
    for mask in signature.masks:
        found = {
            kind: call.inputs[given[name]]
            for kind, name in (("rows", mask.reference), ("padding", mask.padding))
            if name in given
        }
        (batch, rows), columns = lengths[mask.rows], lengths[mask.columns][1]
        constant.add(f"input:{len(inputs)}")
        inputs.append(_of_torch(found, (batch, attention.heads, rows, columns)))
    gradients = [in_order(_at(call.grad_inputs, index)) for index in streams]
    maps = call.outputs[1:2] if weights else []
    return replace(
        call,
        inputs=inputs,
        numbers=[],
        grad_inputs=[*gradients, *[None] * (len(inputs) - len(streams))],
        outputs=[in_order(call.outputs[0]), *maps],
        grad_outputs=[
            *(in_order(gradient) for gradient in call.grad_outputs[:1]),
            *call.grad_outputs[1 : 1 + len(maps)],
        ],
        template=(TENSOR, *[TENSOR] * len(maps)) if weights else TENSOR,
        constant=constant | (call.constant & {f"output:{i}" for i in range(1 + len(maps))}),
        written=set(),
    )


def as_inside(call: Call) -> Call:
    """Return the call of a layer inside of a stock layer of Paddle, where batches come first.

    As it is where they do in the reference, and where the layer is a stock layer itself.
    """
    around = call.parent
    while around is not None and around.attention is None:
        around = around.parent
    first = around is None or around.attention is None or around.attention.batch_first
    if first or call.attention is not None:
        return call
    return replace(
        call,
        inputs=[turned(array) for array in call.inputs],
        outputs=[turned(array) for array in call.outputs],
        grad_inputs=[turned(gradient) for gradient in call.grad_inputs],
        grad_outputs=[turned(gradient) for gradient in call.grad_outputs],
    )


def turned(array: Any) -> Any:
    """Exchange length and batch of [length, batch, channels]; all else as it is."""
    if not isinstance(array, np.ndarray) or array.ndim != 3:
        return array
    return np.ascontiguousarray(array.swapaxes(0, 1))


def not_turned(call: Call, expected: np.ndarray | None, found: np.ndarray | None) -> Cause | None:
    """Say that the port gives a stock layer what the reference's takes with its length first."""
    if call.attention is None or call.attention.batch_first or expected is None or found is None:
        return None
    if expected.ndim != 3:
        return None
    other = expected.swapaxes(0, 1)
    if found.shape != other.shape:
        return None
    if other.shape == expected.shape and not np.allclose(found, other, rtol=1e-6, atol=1e-9):
        return None
    return Cause("batch_first")


def _of_torch(masks: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return what torch's masks add to the scores [batch, heads, rows, columns]."""
    if not masks:
        return np.zeros((1, 1, 1, 1))
    batch, heads, rows, columns = shape
    total = np.zeros((batch, 1, rows, columns))
    for kind, mask in masks.items():
        added = np.where(mask, HIDDEN, 0.0) if mask.dtype == bool else mask.astype(np.float64)
        if kind == "padding":
            added = added.reshape(-1, 1, 1, columns)
        elif added.ndim == 3:
            added = added.reshape(batch, heads, rows, columns)
        total = total + added
    return _once(total)


def of_port(mask: np.ndarray | None, batch: int, rows: int, columns: int) -> np.ndarray:
    """Return what a mask of Paddle adds to the scores [batch, heads, rows, columns].

    Raises ValueError where it cannot be spread over them.
    """
    if mask is None:
        return np.zeros((1, 1, 1, 1))
    added = mask.astype(np.float64)
    if mask.dtype.kind in "biu":
        added = np.where(mask != 0, 0.0, HIDDEN)
    heads = mask.shape[-3] if mask.ndim > 2 else 1
    return _once(np.broadcast_to(added, (batch, heads, rows, columns)))


def _once(added: np.ndarray) -> np.ndarray:
    """Return a mask with one entry for all heads where they have the same, or for everything."""
    if not added.any():
        return np.zeros((1, 1, 1, 1))
    added = np.where(added <= HIDES, HIDDEN, added)
    first = added[:, :1]
    return first.copy() if (added == first).all() else added


def _at(gradients: Sequence, index: int) -> Any:
    return gradients[index] if index < len(gradients) else None
