"""Layers and parameters with torch's meaning."""

from copy import deepcopy
from functools import wraps
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from port.helpers.calls_paddle import NothingLoaded, on_each_axis, rms_norm
from port.helpers.places_paddle import write_into


def Parameter(data: Any, requires_grad: bool = True) -> Any:
    """Make a parameter that begins as `data`: Paddle makes them from a shape and an initialiser."""
    begin = nn.initializer.Assign(data)
    made = paddle.create_parameter(data.shape, data.dtype, default_initializer=begin)
    made.stop_gradient = not requires_grad
    made.in_torch_order = True
    return made


def sublayer_at(layer: Any, path: str) -> Any:
    """Return the layer at a dotted path: `get_submodule`."""
    for name in filter(None, path.split(".")):
        layer = getattr(layer, name)
    return layer


class BatchNormOfAnyRank(nn.layer.norm._BatchNormBase):
    """Batch norm of which a subclass tells the rank alone: Paddle's base wants the layout, too."""

    def _check_data_format(self, input: Any) -> None:
        pass


def batches_of(layer: Any) -> Any:
    """Return how many batches a BatchNorm was trained on.

    Paddle's keeps no count, and no weights hold one: it begins at 0, and is no buffer.
    """
    if "num_batches_tracked" not in layer.__dict__:
        layer.__dict__["num_batches_tracked"] = paddle.zeros([], dtype="int64")
    return layer.__dict__["num_batches_tracked"]


def on_its_axes(layer: Any, size: Any) -> list[int]:
    """Return a size for each axis of a convolution: Paddle's keeps lists alone."""
    axes = len(layer._kernel_size)
    return [size] * axes if isinstance(size, int) else list(on_each_axis(size, axes))


def set_padding(layer: Any, padding: Any) -> None:
    """Give a convolution another padding: Paddle's keeps what it was given, and what it uses."""
    layer._padding = layer._updated_padding = on_its_axes(layer, padding)


def named_weights_of(layer: Any) -> list[tuple[str, Any]]:
    """Return names and parameters without the statistics of BatchNorms, which Paddle counts in."""
    inside = layer.sublayers(include_self=True)
    norms = [one for one in inside if isinstance(one, nn.layer.norm._BatchNormBase)]
    statistics = {id(one) for norm in norms for one in (norm._mean, norm._variance)}
    return [(name, one) for name, one in layer.named_parameters() if id(one) not in statistics]


def weights_of(layer: Any) -> list[Any]:
    """Return the parameters that torch counts: those of a BatchNorm without its statistics."""
    return [one for _, one in named_weights_of(layer)]


def requires_grad_of_layer(layer: Any, requires_grad: bool = True) -> Any:
    """Freeze a layer, or not: `requires_grad_()` of a module."""
    for parameter in weights_of(layer):
        parameter.stop_gradient = not requires_grad
    return layer


def load_all(layer: Any, state: Any, strict: bool = True) -> Any:
    """Load a state dict, all of it if `strict`: Paddle skips what does not fit, with a warning."""
    if isinstance(state, NothingLoaded):
        return [], []
    missing, unexpected = layer.set_state_dict(state)
    if strict and (missing or unexpected):
        raise RuntimeError(f"the state dict lacks {missing} and has {unexpected} too many")
    return missing, unexpected


class RMSNorm(nn.Layer):
    """PyTorch's layer, which Paddle has as a fused function alone."""

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        shape = [normalized_shape] if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        ones = nn.initializer.Constant(1.0)
        made = elementwise_affine
        self.weight = self.create_parameter(list(shape), default_initializer=ones) if made else None

    def forward(self, x: Any) -> Any:
        """Return [..., *normalized_shape] divided by the root of its mean square."""
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)


class MultiheadAttention(nn.Layer):
    """PyTorch's attention: one matrix for query, key and value, and (result, weights) returned.

    Paddle's has three matrices, keeps where torch's boolean mask hides, and returns the result.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, batch_first: bool = False
    ) -> None:
        super().__init__()
        self.embed_dim = self.kdim = self.vdim = embed_dim
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        begin = nn.initializer.XavierUniform(embed_dim, 3 * embed_dim)
        self.in_proj_weight = self.create_parameter(
            [3 * embed_dim, embed_dim], default_initializer=begin
        )
        self.in_proj_weight.in_torch_order = True  # for first weights: it stands as in PyTorch
        self.in_proj_bias = self.create_parameter([3 * embed_dim], is_bias=True)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.initializer.Constant(0.0)(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
    ) -> Any:
        """Return (result, weights or None); [length, batch, size] unless `batch_first`."""
        inputs = (query, key, value)
        if not self.batch_first:
            inputs = tuple(x.transpose([1, 0, 2]) for x in inputs)
        scores, v = self.scores(*inputs)
        hidden = self.hidden(scores, attn_mask, key_padding_mask)
        weights = F.softmax(hidden, axis=-1)
        mixed = paddle.matmul(F.dropout(weights, self.dropout, training=self.training), v)
        mixed = mixed.transpose([0, 2, 1, 3]).flatten(2)
        result = F.linear(mixed, self.out_proj.weight, self.out_proj.bias)
        if not self.batch_first:
            result = result.transpose([1, 0, 2])
        if not need_weights:
            return result, None
        return result, weights.mean(axis=1) if average_attn_weights else weights

    def scores(self, query: Any, key: Any, value: Any) -> Any:
        """Return the scores [batch, heads, to, from] and the values [batch, heads, from, size]."""
        weights = self.in_proj_weight.chunk(3, axis=0)
        biases = self.in_proj_bias.chunk(3)
        parts = []
        for x, w, b in zip((query, key, value), weights, biases, strict=True):
            x = F.linear(x, w.t(), b)
            x = x.reshape([x.shape[0], x.shape[1], self.num_heads, -1])
            parts.append(x.transpose([0, 2, 1, 3]))
        q, k, v = parts
        return paddle.matmul(q * q.shape[-1] ** -0.5, k, transpose_y=True), v

    def hidden(self, scores: Any, attn_mask: Any, key_padding_mask: Any) -> Any:
        """Return the scores with what the masks hide at minus infinity."""
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze([1, 2])
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.reshape(scores.shape)
        for mask in (attn_mask, key_padding_mask):
            if mask is not None and mask.dtype == paddle.bool:
                scores = paddle.where(mask, paddle.full_like(scores, float("-inf")), scores)
            elif mask is not None:
                scores = scores + mask
        return scores


def part_of(layers: Any, part: slice) -> Any:
    """Return a slice of a Sequential under its old keys: Paddle's own slices count anew."""
    return nn.Sequential(*list(layers.named_children())[part])


class TransformerEncoderLayer(nn.Layer):
    """PyTorch's layer around PyTorch's attention: Paddle's has other weights and another order."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, batch_first)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model, layer_norm_eps)
        self.norm2 = nn.LayerNorm(d_model, layer_norm_eps)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None) -> Any:
        """Return the encoded sequence, of the shape of `src`."""
        masks = (src_mask, src_key_padding_mask)
        if self.norm_first:
            src = src + self.attended(self.norm1(src), *masks)
            return src + self.fed_forward(self.norm2(src))
        src = self.norm1(src + self.attended(src, *masks))
        return self.norm2(src + self.fed_forward(src))

    def attended(self, x: Any, mask: Any, padding: Any) -> Any:
        """Return what the sequence gathers from itself."""
        found, _ = self.self_attn(x, x, x, padding, need_weights=False, attn_mask=mask)
        return self.dropout1(found)

    def fed_forward(self, x: Any) -> Any:
        """Return the two linear layers of every place."""
        activation = F.gelu if self.activation == "gelu" else F.relu
        return self.dropout2(self.linear2(self.dropout(activation(self.linear1(x)))))


class TransformerEncoder(nn.Layer):
    """PyTorch's stack of copies of one layer."""

    def __init__(self, encoder_layer: Any, num_layers: int, norm: Any = None) -> None:
        super().__init__()
        self.layers = nn.LayerList([deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None) -> Any:
        """Return the sequence behind all layers."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)


class TransformerDecoderLayer(nn.Layer):
    """PyTorch's layer of a decoder around PyTorch's attention."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, batch_first)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, batch_first)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model, layer_norm_eps)
        self.norm2 = nn.LayerNorm(d_model, layer_norm_eps)
        self.norm3 = nn.LayerNorm(d_model, layer_norm_eps)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(dropout)
        self.dropout3 = nn.Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
    ) -> Any:
        """Return the decoded sequence, of the shape of `tgt`."""
        own, other = (tgt_mask, tgt_key_padding_mask), (memory_mask, memory_key_padding_mask)
        if self.norm_first:
            tgt = tgt + self.attended(self.norm1(tgt), *own)
            tgt = tgt + self.looked_up(self.norm2(tgt), memory, *other)
            return tgt + self.fed_forward(self.norm3(tgt))
        tgt = self.norm1(tgt + self.attended(tgt, *own))
        tgt = self.norm2(tgt + self.looked_up(tgt, memory, *other))
        return self.norm3(tgt + self.fed_forward(tgt))

    def attended(self, x: Any, mask: Any, padding: Any) -> Any:
        """Return what the sequence gathers from itself."""
        found, _ = self.self_attn(x, x, x, padding, need_weights=False, attn_mask=mask)
        return self.dropout1(found)

    def looked_up(self, x: Any, memory: Any, mask: Any, padding: Any) -> Any:
        """Return what the sequence gathers from the encoder's."""
        found, _ = self.multihead_attn(
            x, memory, memory, padding, need_weights=False, attn_mask=mask
        )
        return self.dropout2(found)

    def fed_forward(self, x: Any) -> Any:
        """Return the two linear layers of every place."""
        activation = F.gelu if self.activation == "gelu" else F.relu
        return self.dropout3(self.linear2(self.dropout(activation(self.linear1(x)))))


class TransformerDecoder(nn.Layer):
    """PyTorch's stack of copies of one layer of a decoder."""

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Any = None) -> None:
        super().__init__()
        self.layers = nn.LayerList([deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt: Any, memory: Any, *args: Any, **masks: Any) -> Any:
        """Return the sequence behind all layers."""
        for layer in self.layers:
            tgt = layer(tgt, memory, *args, **masks)
        return tgt if self.norm is None else self.norm(tgt)


class IntoInput:
    """Of a layer that writes what it computes over its input, as torch's do with `inplace=True`."""

    def forward(self, x: Any) -> Any:
        """Return the input itself, with its new values."""
        return write_into(x, super().forward(x.clone()))  # type: ignore[misc]


def in_place(layer: Any) -> Any:
    """Let a layer write into its input, which a caller reads afterwards; Paddle's never do."""
    kind = type(layer)
    layer.__class__ = type(f"{kind.__name__}InPlace", (IntoInput, kind), {})
    return layer


class ReLUInPlace(nn.Layer):
    """ReLU(inplace=True) whose input is read elsewhere afterwards: Paddle's makes a new tensor."""

    def forward(self, x: Any) -> Any:
        """Return `x`, with zeros written over what is below zero."""
        return F.relu_(x)


class OneDevice(nn.Layer):
    """DataParallel on one device: the net inside under the name `module`, called as it is."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the net inside returns."""
        return self.module(*args, **kwargs)


def weight_norm_of(layer: Any, name: str = "weight", dim: Any = 0) -> Any:
    """Give a layer `weight_norm`: a Linear's weight is [in, out] here, its axes the other way."""
    if isinstance(layer, nn.Linear) and dim is not None and dim != -1:
        dim = 1 - dim
    return nn.utils.weight_norm(layer, name=name, dim=dim)


class AutogradFunction(paddle.autograd.PyLayer):
    """PyTorch's Function: `saved_tensors` is no method, and every argument has a gradient.

    Paddle wants the gradients of tensors alone.
    """

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        forward, backward = cls.__dict__.get("forward"), cls.__dict__.get("backward")
        if isinstance(forward, staticmethod):
            cls.forward = staticmethod(noting_tensors(forward.__func__))
        if isinstance(backward, staticmethod):
            cls.backward = staticmethod(for_tensors(backward.__func__))


def noting_tensors(forward: Any) -> Any:
    """Let a forward note which of its arguments are tensors."""

    @wraps(forward)
    def noting(ctx: Any, *arguments: Any) -> Any:
        ctx.tensors = [paddle.is_tensor(argument) for argument in arguments]
        ctx.needs_input_grad = tuple(paddle.is_tensor(a) and not a.stop_gradient for a in arguments)
        return forward(ctx, *arguments)

    return noting


def for_tensors(backward: Any) -> Any:
    """Let a backward return the gradients of tensors alone."""

    @wraps(backward)
    def chosen(ctx: Any, *gradients: Any) -> Any:
        ctx.saved_tensors = ctx.saved_variables = ctx.saved_tensor()
        found = backward(ctx, *gradients)
        found = found if isinstance(found, tuple) else (found,)
        kept = tuple(g for g, is_tensor in zip(found, ctx.tensors, strict=False) if is_tensor)
        return kept if len(kept) != 1 else kept[0]

    return chosen


class LayerListWithNone(nn.Layer):
    """ModuleList with None among its modules, which Paddle's list does not take."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.there: list[bool] = []
        for layer in layers:
            self.append(layer)

    def append(self, layer: Any) -> Any:
        """Add a layer or None at the end."""
        if layer is not None:
            self.add_sublayer(str(len(self.there)), layer)
        self.there.append(layer is not None)
        return self

    def __len__(self) -> int:
        return len(self.there)

    def __getitem__(self, index: int) -> Any:
        index = range(len(self.there))[index]
        return self._sub_layers[str(index)] if self.there[index] else None

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self.there)))
