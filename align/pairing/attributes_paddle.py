"""Attributes of Paddle's layers, in the vocabulary of `attributes.py`."""

from typing import Any

import numpy as np
from paddle import nn
from paddle.nn.layer import conv, norm, rnn

from align.pairing.attributes import Reader, counts_padding, read, spread

_MAX = (nn.MaxPool1D, nn.MaxPool2D, nn.MaxPool3D)
_AVG = (nn.AvgPool1D, nn.AvgPool2D, nn.AvgPool3D)
_ADAPTIVE = (
    *(nn.AdaptiveAvgPool1D, nn.AdaptiveAvgPool2D, nn.AdaptiveAvgPool3D),
    *(nn.AdaptiveMaxPool1D, nn.AdaptiveMaxPool2D, nn.AdaptiveMaxPool3D),
)


def attributes(layer: nn.Layer) -> dict[str, Any]:
    """Return the static attributes of `layer`."""
    return read(layer, READERS, CLASSES)


def _conv(layer: Any) -> dict[str, Any]:
    count = len(layer._kernel_size)
    transposed = isinstance(layer, (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose))
    return {
        "stride": spread(layer._stride, count),
        "padding_mode": layer._padding_mode,
        **_padding_and_dilation(layer, count),
        "groups": layer._groups,
        "kernel_size": layer._kernel_size,
        **({"output_padding": spread(layer.output_padding, count)} if transposed else {}),
    }


def _padding_and_dilation(layer: Any, count: int) -> dict[str, Any]:
    """Return both in numbers. "same" takes dilation for 1; with a stride it hangs on the size."""
    padding, dilation = layer._padding, spread(layer._dilation, count)
    if isinstance(padding, str) and padding.lower() == "valid":
        padding = 0
    if isinstance(padding, str):
        dilation = (1,) * count
        if max(spread(layer._stride, count)) > 1:
            return {"dilation": dilation}
        halves = [(k - 1) / 2 for k in layer._kernel_size]
        padding = [int(n) if n == int(n) else n for n in halves]
    return {"padding": _padding(padding, count), "dilation": dilation}


def _padding(padding: Any, count: int) -> Any:
    """Return one number an axis where both sides of it get as much, else a pair of each.

    Paddle takes one number, one an axis, [top, bottom, ...], or a pair of every axis of a batch,
    of which those with padding are the map's.
    """
    if padding is None or isinstance(padding, str):
        return padding
    numbers = np.ravel(spread(padding, count)).tolist()
    if len(numbers) == count:
        return tuple(numbers)
    pairs = [tuple(numbers[i : i + 2]) for i in range(0, len(numbers), 2)]
    if len(pairs) > count:  # [batch, channels, *map] or [batch, *map, channels]
        pairs = pairs[2:] if any(pairs[-1]) else pairs[1:-1]
    return tuple(one if one == other else (one, other) for one, other in pairs)


def _batch_norm(layer: Any) -> dict[str, Any]:
    return {
        "epsilon": layer._epsilon,
        "momentum": round(1.0 - layer._momentum, 12),  # 1 - 0.99 is not 0.01
        "channels": layer._mean.shape[0],
    }


def _pool(layer: Any) -> dict[str, Any]:
    # 1-D average pooling of Paddle names its kernel like torch, all others `ksize`.
    kernel = layer.ksize if hasattr(layer, "ksize") else layer.kernel_size
    mro = type(layer).__mro__
    name = next(kind.__name__ for kind in mro if kind.__module__.startswith("paddle."))
    count = int(name[-2]) if name[-1] == "D" else 1
    stride = kernel if layer.stride is None else layer.stride
    return {
        "kernel_size": spread(kernel, count),
        "stride": spread(stride, count),
        "padding": _padding(layer.padding, count),
        "ceil_mode": layer.ceil_mode,
    }


def _avg_pool(layer: Any) -> dict[str, Any]:
    found = _pool(layer)
    counts = counts_padding(found["padding"])
    return {**found, **({"count_include_pad": not layer.exclusive} if counts else {})}


def _pad(layer: Any) -> dict[str, Any]:
    sides = layer.padding if hasattr(layer, "padding") else layer._pad  # 3.3 renamed it
    return {"sides": tuple(map(int, sides)), "padding_mode": layer._mode}


def _adaptive_pool(layer: Any) -> dict[str, Any]:
    size = vars(layer).get("_output_size", vars(layer).get("output_size"))  # the latter of a line
    return {"output_size": spread(size, 2)}


READERS: dict[type, Reader] = {
    conv._ConvNd: _conv,
    norm._BatchNormBase: _batch_norm,
    nn.BatchNorm: _batch_norm,
    norm._InstanceNormBase: lambda layer: {"epsilon": layer._epsilon},
    nn.LayerNorm: lambda layer: {"epsilon": layer._epsilon, "shape": layer._normalized_shape},
    nn.GroupNorm: lambda layer: {
        "epsilon": layer._epsilon,
        "groups": layer._num_groups,
        "channels": layer._num_channels,
    },
    **dict.fromkeys(_MAX, _pool),
    **dict.fromkeys(_AVG, _avg_pool),
    **dict.fromkeys(_ADAPTIVE, _adaptive_pool),
    nn.Linear: lambda layer: {"bias": layer.bias is not None},
    nn.LeakyReLU: lambda layer: {"slope": layer._negative_slope},
    nn.ELU: lambda layer: {"alpha": layer._alpha},
    nn.CELU: lambda layer: {"alpha": layer._alpha},
    nn.Hardtanh: lambda layer: {"range": (layer._min, layer._max)},
    nn.GELU: lambda layer: {"approximate": bool(layer._approximate)},
    nn.Softmax: lambda layer: {"axis": layer._axis},
    nn.Upsample: lambda layer: {
        "mode": layer.mode,
        "align_corners": bool(layer.align_corners),
    },
    nn.UpsamplingNearest2D: lambda layer: {"mode": "nearest", "align_corners": False},
    nn.UpsamplingBilinear2D: lambda layer: {"mode": "bilinear", "align_corners": True},
    nn.Dropout: lambda layer: {
        "rate": layer.p,
        "mode": layer.mode,
        "drops": "values" if layer.axis is None else "channels",
    },
    **dict.fromkeys(
        (nn.Dropout2D, nn.Dropout3D), lambda layer: {"rate": layer.p, "drops": "channels"}
    ),
    nn.AlphaDropout: lambda layer: {"rate": layer.p},
    nn.PixelShuffle: lambda layer: {"factor": layer._upscale_factor},
    nn.Flatten: lambda layer: {"start": layer.start_axis, "stop": layer.stop_axis},
    rnn.RNNBase: lambda layer: {"rate": layer.dropout},
    nn.Embedding: lambda layer: {"padding_index": layer._padding_idx},
    nn.MultiHeadAttention: lambda layer: {"heads": layer.num_heads},
    **dict.fromkeys((nn.Pad1D, nn.Pad2D, nn.Pad3D, nn.ZeroPad2D), _pad),
}

_SAME_NAME = (
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "Mish"),
    *("Hardswish", "Hardsigmoid", "Hardtanh", "Hardshrink", "Softshrink", "Tanhshrink", "GLU"),
    *("Softplus", "Softsign", "Sigmoid", "LogSigmoid", "Tanh", "Softmax", "LogSoftmax"),
    *("Identity", "LayerNorm", "GroupNorm", "LocalResponseNorm", "RMSNorm", "AlphaDropout"),
)
_INSTANCE = (nn.InstanceNorm1D, nn.InstanceNorm2D, nn.InstanceNorm3D)
_LP = [getattr(nn, name) for name in ("LPPool1D", "LPPool2D") if hasattr(nn, name)]  # not in 2.6
CLASSES: dict[type, str] = {
    **{getattr(nn, name): name for name in _SAME_NAME if hasattr(nn, name)},
    **dict.fromkeys((nn.Silu, nn.Swish), "SiLU"),
    nn.Softmax2D: "Softmax",
    **dict.fromkeys((*_MAX, *_ADAPTIVE[3:]), "MaxPool"),
    **dict.fromkeys((*_AVG, *_ADAPTIVE[:3]), "AvgPool"),
    **dict.fromkeys(_LP, "LPPool"),
    **dict.fromkeys((norm._BatchNormBase, nn.BatchNorm, nn.SyncBatchNorm), "BatchNorm"),
    **dict.fromkeys((norm._InstanceNormBase, *_INSTANCE), "InstanceNorm"),
    **dict.fromkeys((nn.Dropout, nn.Dropout2D, nn.Dropout3D), "Dropout"),
}
