"""First weights as torch.nn.init draws them."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import paddle
from paddle import nn


def fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    """Return how many inputs and outputs a weight joins; two axes are [in, out], as in a Linear.

    Those of all else are [out, in], as in PyTorch. Paddle's initialisers leave the groups of a
    convolution out.
    """
    if tensor.ndim == 2:
        return tuple(tensor.shape)[:: 1 if is_a_linears(tensor) else -1]
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def is_a_linears(matrix: Any) -> bool:
    """Tell whether a matrix is a Linear's, [in, out] in Paddle; parts of it stand as in PyTorch."""
    if not isinstance(matrix, paddle.base.framework.EagerParamBase):
        return False
    others = ("embedding", "lstm_cell", "gru_cell", "simple_rnn_cell")
    return not (getattr(matrix, "in_torch_order", False) or matrix.name.startswith(others))


def gain_of(nonlinearity: str, param: float = 0.01) -> float:
    """Return the factor by which a nonlinearity narrows a normal distribution."""
    gains = {"relu": math.sqrt(2.0), "tanh": 5.0 / 3, "selu": 0.75}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + param**2))
    return gains.get(nonlinearity, 1.0)


def written_over(tensor: Any, values: Any) -> Any:
    """Write values over a tensor that may ask for a gradient, or be a part of another.

    Paddle 2.6's `set_value` writes beside such a part.
    """
    paddle.assign(values.astype(tensor.dtype), output=tensor.detach())
    return tensor


def constant_(tensor: Any, val: float) -> Any:
    """Fill a tensor with a number, whether it asks for a gradient or not."""
    return written_over(tensor, paddle.full_like(tensor, val))


def zeros_(tensor: Any) -> Any:
    """Fill a tensor with zeros, whether it asks for a gradient or not."""
    return constant_(tensor, 0.0)


def ones_(tensor: Any) -> Any:
    """Fill a tensor with ones, whether it asks for a gradient or not."""
    return constant_(tensor, 1.0)


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Draw a tensor from a normal distribution, whether it asks for a gradient or not."""
    return written_over(tensor, paddle.normal(mean, std, tensor.shape))


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Draw a tensor between two numbers, whether it asks for a gradient or not."""
    return written_over(tensor, paddle.uniform(tensor.shape, tensor.dtype, a, b))


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Any:
    """Draw a normal distribution cut at two values: Paddle's is cut at two deviations."""
    ends = [math.erf((end - mean) / (std * math.sqrt(2.0))) for end in (a, b)]
    drawn = paddle.uniform(tensor.shape, "float64", *ends).erfinv() * (std * math.sqrt(2.0)) + mean
    return written_over(tensor, drawn.clip(a, b))


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Draw by He's rule: Paddle's initialiser has no fan_out."""
    fan = fan_in_and_fan_out(tensor)[mode == "fan_out"]
    return normal_(tensor, 0.0, gain_of(nonlinearity, a) / math.sqrt(fan))


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Draw by He's rule: Paddle's initialiser has no fan_out."""
    fan = fan_in_and_fan_out(tensor)[mode == "fan_out"]
    bound = gain_of(nonlinearity, a) * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound)


def reset_parameters(layer: Any) -> None:
    """Draw a layer's weights anew, as its constructor in torch does: Paddle's has no method."""
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if isinstance(layer, nn.layer.rnn.RNNBase | nn.layer.rnn.RNNCellBase):
        for part in layer.parameters():
            uniform_(part, -(layer.hidden_size**-0.5), layer.hidden_size**-0.5)
    elif hasattr(layer, "in_proj_weight"):  # an attention
        xavier_uniform_(layer.in_proj_weight)
        for part in (layer.in_proj_bias, layer.out_proj.bias):
            zeros_(part)
    elif isinstance(layer, nn.PReLU):
        constant_(layer._weight, layer._init)
    elif isinstance(layer, nn.Embedding):
        normal_(weight)
        if layer._padding_idx is not None and layer._padding_idx >= 0:
            rows = weight.detach().clone()  # type: ignore[union-attr]  # an Embedding has one
            rows[layer._padding_idx] = 0.0
            weight.set_value(rows)  # type: ignore[union-attr]  # likewise
    elif weight is not None and weight.ndim > 1:
        by_features = isinstance(layer, nn.Bilinear)
        fan = weight.shape[1] if by_features else fan_in_and_fan_out(weight)[0]
        bound = max(fan, 1) ** -0.5
        for part in (weight, bias):
            if part is not None:
                uniform_(part, -bound, bound)
    else:
        for part, value in ((weight, 1.0), (getattr(layer, "scale", None), 1.0), (bias, 0.0)):
            if part is not None:
                constant_(part, value)
        reset_running_stats(layer)


def embedding_of(embeddings: Any, freeze: bool = True, sparse: bool = False) -> Any:
    """Make an Embedding that holds these vectors: Paddle's is always drawn."""
    layer = nn.Embedding(*embeddings.shape, sparse=sparse)
    layer.weight.set_value(embeddings)
    layer.weight.stop_gradient = freeze
    return layer


def drawn_after(construct: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor of a layer end with the first weights of torch's."""

    @wraps(construct)
    def drawn(layer: Any, *args: Any, **kwargs: Any) -> None:
        construct(layer, *args, **kwargs)
        reset_parameters(layer)

    return drawn


def with_torch_first_weights(build: Callable[[], Any]) -> Any:
    """Build a net whose layers are drawn as in torch, where its own code draws nothing else.

    Weights and biases of torch's convolutions and Linear are uniform within 1 / sqrt(fan-in), an
    Embedding is normal; Paddle has other defaults, and biases of zero.
    """
    kinds: Any = (nn.layer.conv._ConvNd, nn.Linear, nn.Bilinear, nn.Embedding)
    constructors = {kind: kind.__init__ for kind in kinds}
    try:
        for kind, construct in constructors.items():
            kind.__init__ = drawn_after(construct)
        return build()
    finally:
        for kind, construct in constructors.items():
            kind.__init__ = construct


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Draw by Glorot's rule; Paddle's initialiser is for parameters that are being made."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fan_in_and_fan_out(tensor))))


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """Draw by Glorot's rule; Paddle's initialiser is for parameters that are being made."""
    bound = gain * math.sqrt(6.0 / sum(fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound)


def orthogonal_(tensor: Any, gain: float = 1.0) -> Any:
    """Draw a matrix with orthonormal rows or columns; Paddle's is for parameters being made."""
    rows = tensor.shape[0]
    drawn = paddle.normal(0.0, 1.0, [rows, math.prod(tensor.shape) // rows])
    wide = drawn.shape[0] < drawn.shape[1]
    q, r = paddle.linalg.qr(drawn.t() if wide else drawn)
    q = q * paddle.sign(paddle.diag(r))
    q = q.t() if wide else q
    return written_over(tensor, (q * gain).reshape(tensor.shape))


def eye_(tensor: Any) -> Any:
    """Fill a matrix with ones where row and column are equal, with zeros elsewhere."""
    return written_over(tensor, paddle.eye(*tensor.shape))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01) -> Any:
    """Draw a normal distribution, and put a share of the weights of each input to zero."""
    inputs, outputs = fan_in_and_fan_out(tensor)
    places = paddle.rand([outputs, inputs]).argsort(axis=0)  # every column in an order of its own
    drawn = paddle.normal(0.0, std, [outputs, inputs])
    drawn = drawn * (places >= math.ceil(sparsity * outputs)).astype(drawn.dtype)
    drawn = drawn.t() if is_a_linears(tensor) else drawn
    return written_over(tensor, drawn)


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Let a convolution hand its input on: ones in the middle, channel by channel."""
    outputs, inputs = tensor.shape[0] // groups, tensor.shape[1]
    middle = tuple(size // 2 for size in tensor.shape[2:])
    begin = paddle.zeros(tensor.shape, dtype=tensor.dtype)
    for group in range(groups):
        for channel in range(min(outputs, inputs)):
            begin[(group * outputs + channel, channel, *middle)] = 1.0
    return written_over(tensor, begin)


def reset_running_stats(layer: Any) -> None:
    """Let a BatchNorm begin anew with a mean of 0 and a variance of 1."""
    if hasattr(layer, "_mean"):
        constant_(layer._mean, 0.0)
        constant_(layer._variance, 1.0)
