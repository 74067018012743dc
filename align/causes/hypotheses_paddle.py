"""What may be wrong in a layer of the port: changes of it that are tried one by one."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional
from paddle.nn.layer import rnn

from align.arrays.arrays_paddle import is_tensor
from align.causes.written_out.functions_paddle import as_torch
from align.judge.words import Cause
from common.nets import members

# function, which call of it (-1: all), replacement
Replacement = tuple[str, int, Callable[..., Any]]


@dataclass(frozen=True)
class LayerSetting:
    """Another value of a setting of a whole layer, and of the layers inside that have it.

    settings: {attribute: value} of the one setting.
    """

    layer: nn.Layer
    settings: Mapping[str, Any]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the block with it."""
        kept = [
            (layer, name, getattr(layer, name))
            for layer in members.modules(self.layer)
            for name in self.settings
            if hasattr(layer, name)
        ]
        for layer, name, _ in kept:
            setattr(layer, name, self.settings[name])
        try:
            yield
        finally:
            for layer, name, value in kept:
                setattr(layer, name, value)


_CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)


def layer_changes(layer: nn.Layer) -> Iterator[tuple[Cause, LayerSetting]]:
    """Yield (cause, change) of the settings of a whole layer that ports get wrong."""
    if isinstance(layer, (rnn.RNNBase, nn.RNN, nn.BiRNN)):
        own = bool(layer.time_major)
        yield (
            _setting(type(layer).__name__, "time_major", own, not own),
            LayerSetting(layer, {"time_major": not own}),
        )
    if isinstance(layer, _CONVOLUTIONS) and str(layer._padding).upper() == "SAME":
        numbers = [size // 2 for size in layer._kernel_size]  # as much on either side
        held = {"_padding": numbers, "_updated_padding": numbers, "_padding_algorithm": "EXPLICIT"}
        cause = _setting(type(layer).__name__, "padding", layer._padding, numbers)
        yield cause, LayerSetting(layer, held)


ACTIVATIONS = (
    *("relu", "gelu", "silu", "relu6", "elu", "sigmoid", "leaky_relu"),
    *("softplus", "mish", "swish", "hardswish", "tanh"),
)


# Settings that ports get wrong: function -> setting -> values to try.
SETTINGS: dict[str, dict[str, tuple[Any, ...]]] = {
    "interpolate": {
        "align_corners": (True, False),
        "align_mode": (0, 1),
        "mode": ("nearest", "bilinear", "bicubic"),
    },
    **{
        name: {"exclusive": (True, False), "ceil_mode": (True, False)}
        for name in ("avg_pool1d", "avg_pool2d", "avg_pool3d")
    },
    "max_pool2d": {"ceil_mode": (True, False)},
    "cross_entropy": {
        "axis": (1, -1),
        "reduction": ("mean", "sum"),
        "ignore_index": (255, -100, -1),
        "soft_label": (False,),
    },
    "gelu": {"approximate": (True, False)},
    "leaky_relu": {"negative_slope": (0.01, 0.1, 0.2)},
    "pad": {"mode": ("constant", "reflect", "replicate", "circular")},
    "layer_norm": {"epsilon": (1e-5, 1e-6, 1e-12, 1e-3)},
    "batch_norm": {"epsilon": (1e-5, 1e-6, 1e-12, 1e-3)},
    "normalize": {"epsilon": (1e-12, 1e-5)},
}


AXES = ("softmax", "log_softmax", "normalize", "mean", "max", "sum", "concat")


OTHERS: dict[str, tuple[tuple[str, Any], ...]] = {
    "adaptive_max_pool2d": (("adaptive_avg_pool2d", functional.adaptive_avg_pool2d),),
    "adaptive_avg_pool2d": (("adaptive_max_pool2d", functional.adaptive_max_pool2d),),
    "max_pool2d": (("avg_pool2d", functional.avg_pool2d),),
    "avg_pool2d": (("max_pool2d", functional.max_pool2d),),
    "max": (("mean", paddle.mean),),
    "mean": (("max", paddle.max),),
}


def changes_of(name: str, arguments: dict[str, Any]) -> Iterator[tuple[Cause, Any]]:
    """Yield (cause, replacement) of every hypothesis on one call of function `name`."""
    for setting, values in SETTINGS.get(name, {}).items():
        own = arguments.get(setting)
        for value in values:
            if value != own:
                yield _setting(name, setting, own, value), _with(**{setting: value})
    tensor = next((value for value in arguments.values() if is_tensor(value)), None)
    if name in AXES:
        ndim = tensor.ndim if tensor is not None else 4
        own = arguments.get("axis", arguments.get("dim"))
        for axis in range(ndim):
            if axis != own and (not isinstance(own, int) or axis != own % ndim):
                yield _setting(name, "axis", own, axis), _with(axis=axis)
    for other, function in OTHERS.get(name, ()):
        yield Cause("stands_for", function=name, reference=other), _instead(function)
    if name in ACTIVATIONS:
        for other in ACTIVATIONS:
            if other != name:
                cause = Cause("stands_for", function=name, reference=other)
                yield cause, _instead(getattr(functional, other))
    yield from _special(name, arguments)


def other_settings(
    function: str, settings: Iterable[tuple[str, Any, Any]]
) -> Iterator[tuple[Cause, Replacement]]:
    """Yield (cause, change) of settings as (name, port's value, reference's) of a function."""
    for name, own, value in settings:
        yield _setting(function, name, own, value), (function, -1, _with(**{name: value}))


def _setting(function: str, name: str, port: Any, reference: Any) -> Cause:
    return Cause("setting", function=function, name=name, port=port, reference=reference)


def _special(name: str, arguments: dict[str, Any]) -> Iterator[tuple[Cause, Any]]:
    if name == "concat":
        parts = next((v for v in arguments.values() if isinstance(v, (list, tuple))), [])
        if 1 < len(parts) <= 4:
            for order in permutations(range(len(parts))):
                if order != tuple(range(len(parts))):
                    yield Cause("concat_order", order=list(order)), _reorder(order)
    if name == "matmul":
        yield Cause("matmul_exchanged"), _exchanged
        yield Cause("matmul_not_divided"), _divided
    if name == "embedding" and arguments.get("padding_idx") is not None:
        yield Cause("padding_row", index=arguments["padding_idx"]), _with(padding_idx=None)
    if name == "norm" and arguments.get("p") == 2:
        yield Cause("matrix_norm"), _with(p="fro")
    if name == "roll":
        own = arguments.get("shifts")
        shifts = [-s for s in own] if isinstance(own, (list, tuple)) else -(own or 0)
        yield _setting(name, "shifts", own, shifts), _with(shifts=shifts)
    if name == "pad" and isinstance(arguments.get("pad"), (list, tuple)):
        own = list(arguments["pad"])
        pairs = [entry for i in range(0, len(own), 2) for entry in own[i : i + 2][::-1]]
        if pairs != own:
            yield Cause("padding_side", port=own, reference=pairs), _with(pad=pairs)
    yield from as_torch(name, arguments)


def _with(**settings: Any) -> Any:
    def call(function: Any, args: Any, kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.arguments.update(settings)
        return function(*bound.args, **bound.kwargs)

    return call


def _instead(other: Any) -> Any:
    accepted = set(inspect.signature(other).parameters)

    def call(function: Any, args: Any, kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        settings = {k: v for k, v in bound.arguments.items() if k in accepted}
        return other(**settings)

    return call


def _reorder(order: tuple[int, ...]) -> Any:
    def call(function: Any, args: Any, kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        first = next(iter(bound.arguments))
        parts = bound.arguments[first]
        bound.arguments[first] = [parts[index] for index in order]
        return function(*bound.args, **bound.kwargs)

    return call


def _exchanged(function: Any, args: Any, kwargs: Any) -> Any:
    return function(args[1], args[0], *args[2:], **kwargs)


def _divided(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs) / math.sqrt(args[0].shape[-1])
