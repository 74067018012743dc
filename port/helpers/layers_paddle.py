"""Layers and parameters with torch's meaning."""

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from port.helpers.calls_paddle import group_norm_without_weight


def Parameter(data: Any, requires_grad: bool = True) -> Any:
    """Make a parameter that begins as `data`: Paddle makes them from a shape and an initialiser."""
    begin = nn.initializer.Assign(data)
    made = paddle.create_parameter(data.shape, data.dtype, default_initializer=begin)
    made.stop_gradient = not requires_grad
    return made


def sublayer_at(layer: Any, path: str) -> Any:
    """Return the layer at a dotted path: `get_submodule`."""
    for name in filter(None, path.split(".")):
        layer = getattr(layer, name)
    return layer


class GroupNormWithoutWeight(nn.Layer):
    """GroupNorm(affine=False): the gradient of Paddle's, without a weight, is another."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps

    def forward(self, x: Any) -> Any:
        """Return [N, C, ...] with every group of channels normalised."""
        return group_norm_without_weight(x, self.num_groups, self.eps)


class MultiheadAttention(nn.Layer):
    """PyTorch's attention: one matrix for query, key and value, and (result, weights) returned.

    Paddle's has three matrices, keeps where torch's boolean mask hides, and returns the result.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, batch_first: bool = False
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        begin = nn.initializer.XavierUniform(embed_dim, 3 * embed_dim)
        self.in_proj_weight = self.create_parameter(
            [3 * embed_dim, embed_dim], default_initializer=begin
        )
        self.in_proj_bias = self.create_parameter([3 * embed_dim], is_bias=True)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

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
