"""Attributes of torch's layers, in the vocabulary of `attributes.py`."""

from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules import batchnorm, conv, instancenorm, padding
from torch.nn.modules.dropout import _DropoutNd

from align.pairing.attributes import Reader, counts_padding, read, spread

_MAX = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVG = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE_MAX = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_ADAPTIVE_AVG = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return the static attributes of `module`."""
    return read(module, READERS, CLASSES)


def _conv(layer: Any) -> dict[str, Any]:
    count = len(layer.kernel_size)
    return {
        "stride": spread(layer.stride, count),
        **_conv_padding(layer),
        "padding_mode": layer.padding_mode,
        "dilation": spread(layer.dilation, count),
        "groups": layer.groups,
        "kernel_size": layer.kernel_size,
        **({"output_padding": spread(layer.output_padding, count)} if layer.transposed else {}),
    }


def _conv_padding(layer: Any) -> dict[str, Any]:
    """Return the padding in numbers; nothing where the class pads by code of its own."""
    if type(layer).forward is not _library_class(layer).forward:
        return {}
    count = len(layer.kernel_size)
    padding = spread(layer.padding, count)
    if padding == "valid":
        padding = (0,) * count
    if padding == "same":
        dilation = spread(layer.dilation, count)
        sums = [d * (k - 1) for d, k in zip(dilation, layer.kernel_size, strict=True)]
        padding = tuple(n // 2 if n % 2 == 0 else n / 2 for n in sums)
    return {"padding": padding}


def _library_class(layer: Any) -> Any:
    """Return the class of torch that `layer` is of or inherits from."""
    return next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn."))


def _batch_norm(layer: Any) -> dict[str, Any]:
    channels = layer.num_features
    if not channels and layer.running_mean is not None:  # of a lazy one that was loaded
        channels = len(layer.running_mean)
    return {"epsilon": layer.eps, "momentum": layer.momentum, "channels": channels}


def _pool(layer: Any) -> dict[str, Any]:
    name = _library_class(layer).__name__
    count = int(name[-2]) if name[-1] == "d" else 1
    return {
        "kernel_size": spread(layer.kernel_size, count),
        "stride": spread(layer.stride, count),
        "padding": spread(layer.padding, count),
        "ceil_mode": layer.ceil_mode,
    }


def _avg_pool(layer: Any) -> dict[str, Any]:
    found = _pool(layer)
    counts = counts_padding(found["padding"])
    return {**found, **({"count_include_pad": layer.count_include_pad} if counts else {})}


_PADS: dict[type, str] = {
    padding._ConstantPadNd: "constant",
    padding._ReflectionPadNd: "reflect",
    padding._ReplicationPadNd: "replicate",
    padding._CircularPadNd: "circular",
}


def _pad(layer: Any, mode: str) -> dict[str, Any]:
    return {"sides": tuple(layer.padding), "padding_mode": mode}


READERS: dict[type, Reader] = {
    conv._ConvNd: _conv,
    batchnorm._NormBase: _batch_norm,
    nn.LayerNorm: lambda layer: {"epsilon": layer.eps, "shape": layer.normalized_shape},
    nn.GroupNorm: lambda layer: {
        "epsilon": layer.eps,
        "groups": layer.num_groups,
        "channels": layer.num_channels,
    },
    **dict.fromkeys(_MAX, _pool),
    **dict.fromkeys(_AVG, _avg_pool),
    **dict.fromkeys(
        (*_ADAPTIVE_MAX, *_ADAPTIVE_AVG),
        lambda layer: {"output_size": spread(layer.output_size, 2)},
    ),
    nn.Linear: lambda layer: {"bias": layer.bias is not None},
    nn.LeakyReLU: lambda layer: {"slope": layer.negative_slope},
    nn.ELU: lambda layer: {"alpha": layer.alpha},
    nn.CELU: lambda layer: {"alpha": layer.alpha},
    nn.Hardtanh: lambda layer: {"range": (layer.min_val, layer.max_val)},
    nn.GELU: lambda layer: {"approximate": layer.approximate == "tanh"},
    nn.Softmax: lambda layer: {"axis": layer.dim},
    nn.Upsample: lambda layer: {
        "mode": layer.mode,
        "align_corners": bool(layer.align_corners),
    },
    _DropoutNd: lambda layer: {"rate": layer.p, "mode": "upscale_in_train", "drops": "channels"},
    nn.Dropout: lambda layer: {"drops": "values"},
    nn.PixelShuffle: lambda layer: {"factor": layer.upscale_factor},
    nn.Flatten: lambda layer: {"start": layer.start_dim, "stop": layer.end_dim},
    nn.RNNBase: lambda layer: {"rate": layer.dropout},
    nn.Embedding: lambda layer: {"padding_index": layer.padding_idx},
    nn.MultiheadAttention: lambda layer: {"heads": layer.num_heads},
    **{kind: partial(_pad, mode=mode) for kind, mode in _PADS.items()},
}

_SAME_NAME = (
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "SiLU"),
    *("Mish", "Hardswish", "Hardsigmoid", "Hardtanh", "Hardshrink", "Softshrink", "Tanhshrink"),
    *("Softplus", "Softsign", "Sigmoid", "LogSigmoid", "Tanh", "Softmax", "LogSoftmax", "GLU"),
    *("Identity", "LayerNorm", "GroupNorm", "LocalResponseNorm", "RMSNorm", "AlphaDropout"),
)
CLASSES: dict[type, str] = {
    **{getattr(nn, name): name for name in _SAME_NAME if hasattr(nn, name)},
    nn.Softmax2d: "Softmax",
    **dict.fromkeys((*_MAX, *_ADAPTIVE_MAX), "MaxPool"),
    **dict.fromkeys((*_AVG, *_ADAPTIVE_AVG), "AvgPool"),
    **dict.fromkeys((nn.LPPool1d, nn.LPPool2d), "LPPool"),
    batchnorm._BatchNorm: "BatchNorm",
    nn.SyncBatchNorm: "BatchNorm",
    instancenorm._InstanceNorm: "InstanceNorm",
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), "Dropout"),
}
