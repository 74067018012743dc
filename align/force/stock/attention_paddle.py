"""Gives Paddle's stock attention layers their arguments as `attention.py` says them."""

from typing import Any

from paddle import nn

from align.arrays.arguments import Forward, bind
from align.arrays.arrays_paddle import is_tensor, to_array, to_tensor
from align.force.stock.attention import as_inside, as_ported, of_port
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
    if call.attention is None:
        return False
    return any(isinstance(layer, k) and call.attention.kind == kind for k, kind in STOCK.items())


def adapted(layer: nn.Layer, call: Call) -> Call:
    """Return `call` as the port's stock layer takes it; as it is for any other."""
    return as_ported(call, _returns_maps(layer)) if is_ported(layer, call) else call


def _returns_maps(layer: nn.Layer) -> bool:
    return isinstance(layer, nn.MultiHeadAttention) and bool(layer.need_weights)


class HeadMaps:
    """Makes of the maps of all heads, which Paddle returns, their average, which torch does.

    What `averaged` takes away `restored` gives back: code of the port that averages the maps
    itself gets the average that it is handed, and every gradient with respect to it.
    """

    def __init__(self) -> None:
        self.apart: dict[str, Any] = {}  # by path: the maps without their average

    def averaged(self, path: str, layer: nn.Layer, call: Call, forward: Forward) -> Forward:
        """Return `forward` of the layer at `path` that returns what `call` of torch returned."""
        if not (_returns_maps(layer) and is_ported(layer, call)):
            return forward

        def run(*args: Any, **kwargs: Any) -> Any:
            outputs = forward(*args, **kwargs)
            out, maps, *rest = outputs
            if len(call.outputs) == 1:  # nobody asked torch for them
                self.apart[path] = maps.detach()
                return (out, *rest)
            if call.outputs[1].ndim != maps.ndim - 1:
                return outputs
            average = maps.mean(1)
            self.apart[path] = (maps - average.unsqueeze(1)).detach()
            return (out, average, *rest)

        return run

    def restored(self, path: str, outputs: Any) -> Any:
        """Return the outputs with a map for each head again."""
        apart = self.apart.pop(path, None)
        if apart is None:
            return outputs
        out, *rest = outputs
        if rest and is_tensor(rest[0]):
            return (out, apart + rest[0].unsqueeze(1), *rest[1:])
        return (out, apart, *rest)


def inside(above: nn.Layer | None, call: Call) -> Call:
    """Return `call` as a layer gets it that the stock layer `above` holds; else as it is."""
    return as_inside(call) if isinstance(above, tuple(STOCK)) else call


def with_arguments(layer: nn.Layer, judged: Forward) -> Forward:
    """Return `judged`, called with every stream and with masks that are added to the scores."""
    kind = next((kind for k, kind in STOCK.items() if isinstance(layer, k)), None)
    if kind is None:
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
