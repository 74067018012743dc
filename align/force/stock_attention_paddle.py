"""Gives Paddle's stock attention layers their arguments as `stock_attention.py` says them."""

from typing import Any

from paddle import nn

from align.arrays.arguments import Forward, bind
from align.arrays.arrays_paddle import to_array, to_tensor
from align.force.stock_attention import as_inside, as_ported, of_port
from align.record.stock_attention import SIGNATURES, AttentionSignature
from align.record.trace import Call

STOCK: dict[type, str] = {
    nn.MultiHeadAttention: "MultiheadAttention",
    nn.TransformerEncoderLayer: "TransformerEncoderLayer",
    nn.TransformerEncoder: "TransformerEncoder",
    nn.TransformerDecoderLayer: "TransformerDecoderLayer",
    nn.TransformerDecoder: "TransformerDecoder",
}


def is_ported(layer: nn.Layer, call: Call) -> bool:
    """Tell whether `layer` is Paddle's stock layer for the stock layer that `call` is of."""
    if call.attention is None or getattr(layer, "need_weights", False):
        return False
    return any(isinstance(layer, k) and call.attention.kind == kind for k, kind in STOCK.items())


def adapted(layer: nn.Layer, call: Call) -> Call:
    """Return `call` as the port's stock layer takes it; as it is for any other."""
    return as_ported(call) if is_ported(layer, call) else call


def inside(above: nn.Layer | None, call: Call) -> Call:
    """Return `call` as a layer gets it that the stock layer `above` holds; else as it is."""
    return as_inside(call) if isinstance(above, tuple(STOCK)) else call


def with_arguments(layer: nn.Layer, judged: Forward) -> Forward:
    """Return `judged`, called with every stream and with masks that are added to the scores."""
    kind = next((kind for k, kind in STOCK.items() if isinstance(layer, k)), None)
    if kind is None or getattr(layer, "need_weights", False):
        return judged
    signature = SIGNATURES[kind]

    def called(*args: Any, **kwargs: Any) -> Any:
        bound = bind(type(layer).forward, (layer, *args), kwargs)
        if bound is None or bound.arguments.get("cache") is not None:
            return judged(*args, **kwargs)
        bound.apply_defaults()
        given = _spread(signature, dict(bound.arguments))
        named = [name for name in given if name not in ("self", "cache")]
        return judged(*(given[name] for name in named))

    return called


def _spread(signature: AttentionSignature, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with each stream, and masks as what is added to the scores."""
    first = given[signature.streams[0]]
    for name in signature.streams[1:]:
        if given.get(name) is None and name != "memory":
            given[name] = first
    streams = [given[name] for name in signature.streams]
    for mask in signature.masks:
        tensor = given.get(mask.port)
        if tensor is not None and not tensor.stop_gradient:
            continue
        rows, columns = streams[mask.rows], streams[mask.columns]
        try:
            added = of_port(
                None if tensor is None else to_array(tensor),
                rows.shape[0],
                rows.shape[1],
                columns.shape[1],
            )
        except ValueError:
            continue  # the layer itself says what does not fit
        given[mask.port] = to_tensor(added).astype(rows.dtype)
    return given
