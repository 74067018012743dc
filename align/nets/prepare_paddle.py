"""Brings a Paddle net into the state in which it is judged, and back to the bit."""

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.jit.dy2static.program_translator import ProgramTranslator

from align.arrays.arrays_paddle import to_array, to_tensor
from align.nets.calls import attributes_kept, attributes_remembered
from align.nets.casts.follow_paddle import PaddleTables, cast, follows_run
from align.nets.layers_paddle import is_static, layers_by_path, tables_of
from common.nets import members

COMPLEX = (paddle.complex64, paddle.complex128)
FLOATING = (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64, *COMPLEX)


@contextmanager
def prepared(
    net: nn.Layer, *, dtype: str, train: bool, tables: PaddleTables | None = None
) -> Iterator[None]:
    """Cast `net` to `dtype` and to the mode; put everything back.

    That is values, dtypes, modes, gradients, settings of parameters and the random state.

    Floating parameters and buffers only are cast: `Layer.to` would cast integers too and breaks
    recurrent layers. New tensors of the net's own code get `dtype` as well, and in float64 what
    it casts to float32 (`align.nets.casts`); `tables` are the reference's that it computes.
    Recomputed code runs once, and what `to_static` would compile runs as it is written.
    """
    default = paddle.get_default_dtype()
    random_state = paddle.get_rng_state()
    modes = [(layer, layer.training) for layer in _every(net)]
    recurrent = [layer for layer, _ in modes if isinstance(layer, nn.layer.rnn.RNNBase)]
    rates = {layer: layer.dropout for layer in recurrent}
    held = [_held(parameter) for parameter in members.parameters(net)]
    tensors = _floating_tensors(net)
    kept = [(tensor, tensor.detach().clone()) for tensor in tensors]
    others = [(t, t.detach().clone()) for t in _tensors(net) if t.dtype not in FLOATING]
    _uncast.update((id(tensor), values) for tensor, values in kept)
    try:
        paddle.set_default_dtype(dtype)
        for tensor, values in kept:
            to = dtype
            if values.dtype in COMPLEX:
                to = "complex128" if dtype == "float64" else "complex64"
            same = values.dtype == tensor_dtype(to)
            _rebind(tensor, values.clone() if same else values.cast(to))
        for parameter in members.parameters(net):
            parameter.clear_gradient(False)
        follows = follows_run(tables) if dtype == "float64" else nullcontext()
        with (
            _without_recomputing(),
            _as_written(),
            attributes_kept(_every(net)),
            follows,
        ):
            _set_mode(net, train, modes)
            for layer in rates:
                if not layer.training:  # the same values; else its backward has nothing to read
                    layer.dropout, layer.training = 0.0, True
            for layer, _ in modes:
                _run_on_one_device(layer)
                _run_as_written(layer)
            if tables is not None:
                own = tables_of(layers_by_path(net), saved=False)
                tables.own = {id(tensor): tensor for _, _, tensor in own}
            yield
    finally:
        for tensor, values in (*kept, *others):
            _rebind(tensor, values)
        for layer, training in modes:
            layer.training = training
        for layer, rate in rates.items():
            layer.dropout = rate
        for parameter, gradient, settings in held:
            parameter.clear_gradient(False)
            if gradient is not None:
                parameter.grad = gradient
            vars(parameter).update(settings)
        _uncast.clear()
        paddle.set_default_dtype(default)
        paddle.set_rng_state(random_state)


# Of the net that is prepared: {identity of a parameter or buffer: its values before the cast}.
_uncast: dict[int, paddle.Tensor] = {}


def _set_mode(net: nn.Layer, train: bool, modes: list[tuple[nn.Layer, bool]]) -> None:
    """Set the mode of `net` as its user would; layers frozen in a net in train mode stay so.

    A class may have an `eval` of its own, which makes or drops what its `forward` reads: a frozen
    layer of such a class is asked for eval mode by it.
    """
    frozen = {layer for layer, training in modes if net.training and not training}
    net.train() if train else net.eval()
    own = [layer for layer in frozen if type(layer).eval is not nn.Layer.eval]
    now = [(layer, layer.training and layer not in frozen) for layer in _every(net)]
    for layer in own:
        layer.eval()
    for layer, training in now:
        layer.training = training


def _every(net: nn.Layer) -> list[nn.Layer]:
    return members.modules(net)


def _run_on_one_device(layer: nn.Layer) -> None:
    """Let SyncBatchNorm, which has no kernel on the CPU, run as the BatchNorm that it is there."""
    if type(layer).forward is not nn.SyncBatchNorm.forward or "forward" in vars(layer):
        return

    def forward(x: paddle.Tensor) -> paddle.Tensor:
        layer._check_data_format()
        return nn.functional.batch_norm(
            x,
            layer._mean,
            layer._variance,
            weight=layer.weight,
            bias=layer.bias,
            training=layer.training,
            momentum=layer._momentum,
            epsilon=layer._epsilon,
            data_format=layer._data_format,
        )

    vars(layer)["forward"] = forward


def _run_as_written(layer: nn.Layer) -> None:
    """Let a `forward` decorated with `to_static` run as it is written: layers in it are watched."""
    if is_static(layer.forward):
        function = layer.forward.dygraph_function
        bound = function if hasattr(function, "__self__") else MethodType(function, layer)
        vars(layer)["forward"] = bound
        _decorated.append(layer)


# Of the net that is prepared: layers whose `forward` is decorated with `to_static`.
_decorated: list[nn.Layer] = []


def run_as_written() -> list[nn.Layer]:
    """Return the layers of the net that is `prepared` whose decorated `forward` runs as written."""
    return list(_decorated)


@contextmanager
def _as_written() -> Iterator[None]:
    """Let other code decorated with `to_static` run as it is written, and nobody be told."""
    translator = ProgramTranslator()
    before, logger = translator.enable_to_static, logging.getLogger("Dynamic-to-Static")

    def told(record: logging.LogRecord) -> bool:
        return "enable_to_static" not in record.getMessage()

    logger.addFilter(told)
    translator.enable_to_static = False
    try:
        yield
    finally:
        translator.enable_to_static = before
        logger.removeFilter(told)
        _decorated.clear()


@contextmanager
def activations_apart(layers: Iterable[nn.Layer]) -> Iterator[None]:
    """Let `paddle.nn.BatchNorm(act=...)` normalise alone, its activation follow outside of it."""
    fused = [(layer, layer._act) for layer in layers if _activation(layer) is not None]
    hooks = []
    try:
        for layer, _ in fused:
            function = _activation(layer)
            layer._act = None
            hook = layer.register_forward_post_hook(_instead_of_output(function))
            layer._forward_post_hooks.move_to_end(hook._hook_id, last=False)  # before the user's
            hooks.append(hook)
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, name in fused:
            layer._act = name


def _activation(layer: nn.Layer) -> Any:
    """Return the function that `layer` applies to what it has normalised, None without one."""
    fused = isinstance(layer, nn.BatchNorm) and layer._act
    return getattr(nn.functional, fused, None) if fused else None


def _instead_of_output(function: Any) -> Callable[..., Any]:
    return lambda layer, inputs, output: function(output)


@contextmanager
def _without_recomputing() -> Iterator[None]:
    """Let `recompute` run its function once: a second run calls layers again."""
    home: Any = sys.modules.get("paddle.distributed.fleet.recompute.recompute")
    names = () if home is None else ("RecomputeFunction", "_recompute_without_reentrant")
    kept = {name: getattr(home, name) for name in names if hasattr(home, name)}
    for name, original in kept.items():
        once = _once(getattr(original, "forward", original))
        setattr(
            home, name, type(name, (), {"apply": staticmethod(once)}) if name[0] != "_" else once
        )
    try:
        yield
    finally:
        for name, original in kept.items():
            setattr(home, name, original)


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs its first argument on those that are none of `function`'s settings."""
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    settings = named - (next(iter(inspect.signature(function).parameters)) == "ctx")
    return lambda run, *args, **kwargs: run(*args[settings - 1 :], **kwargs)


State = list[tuple[paddle.Tensor, Any, paddle.Tensor]]  # tensor, its dtype, its values


def state_of(net: nn.Layer) -> State:
    """Return the values of every parameter and buffer, to be given back by `state_kept`."""
    return [(tensor, tensor.dtype, _compact(tensor)) for tensor in _tensors(net)]


@contextmanager
def state_kept(net: nn.Layer, state: State | None = None) -> Iterator[None]:
    """Give every parameter and buffer its values back at the end, and other attributes.

    `state` is `state_of` the net as it is, from who gives it back more than once.
    """
    values = state_of(net) if state is None else state
    try:
        with attributes_kept(_every(net)):
            yield
    finally:
        for tensor, dtype, value in values:
            if value.dtype != dtype:
                _rebind(tensor, value.cast(dtype))
            else:
                _rebind(tensor, value if state is None else value.clone())


@contextmanager
def undone_on(error: type[Exception], net: nn.Layer) -> Iterator[None]:
    """Give what layers update outside the optimizer its values back where `error` is raised."""
    undo = remembered(net)
    try:
        yield
    except error:
        undo()
        raise


def remembered(net: nn.Layer) -> Callable[[], None]:
    """Return what gives what layers update outside the optimizer its values of now back."""
    values = [(t, t.detach().clone()) for t in _tensors(net) if t.stop_gradient]
    attributes = attributes_remembered(_every(net))

    def undo() -> None:
        attributes()
        for tensor, value in values:
            _rebind(tensor, value.clone())

    return undo


def _compact(tensor: paddle.Tensor) -> paddle.Tensor:
    """Return the values; in float32 where that holds the very same ones, as a cast net's do.

    No copy, where they are those from before the cast.
    """
    before = _uncast.get(id(tensor))
    tensor = tensor.detach()
    if tensor.dtype == paddle.float64:
        other = before is not None and before.dtype != tensor.dtype  # else it would be shared
        half = before if other else cast(tensor, paddle.float32)
        # Paddle 2.6.2 calls numbers equal that are less than 1e-8 apart.
        if half is not None and np.array_equal(to_array(half), to_array(tensor)):
            return half
    return tensor.clone()


def _held(parameter: paddle.Tensor) -> tuple[Any, Any, dict[str, Any]]:
    """Return what backward passes and optimizers write on a parameter: gradient and settings."""
    gradient = None if parameter.grad is None else parameter.grad.clone()
    names = ("optimize_attr", "regularizer")
    settings = {name: vars(parameter)[name] for name in names if name in vars(parameter)}
    if "optimize_attr" in settings:
        settings["optimize_attr"] = dict(settings["optimize_attr"])
    return parameter, gradient, settings


def tensor_dtype(name: str) -> Any:
    """Return Paddle's dtype called `name`."""
    return getattr(paddle, name)


def _tensors(net: nn.Layer) -> list[paddle.Tensor]:
    found = {id(tensor): tensor for tensor in (*members.parameters(net), *members.buffers(net))}
    # A recurrent layer has a buffer for dropout's state that holds no memory before it is needed;
    # nor has a parameter of no elements any.
    return [t for t in found.values() if t._is_initialized() or _is_empty(t)]


def _is_empty(tensor: paddle.Tensor) -> bool:
    return 0 in tensor.shape and tensor.dtype in FLOATING


def _floating_tensors(net: nn.Layer) -> list[paddle.Tensor]:
    return [tensor for tensor in _tensors(net) if tensor.dtype in FLOATING]


def hold(net: nn.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Let tensors of `net`, by their names, hold `arrays` of whatever dtype, to the bit."""
    state = net.state_dict()
    for name, array in arrays.items():
        _rebind(state[name], to_tensor(array))


def _rebind(tensor: paddle.Tensor, values: paddle.Tensor) -> None:
    """Make `tensor` the holder of `values`, of whatever dtype: the object stays the same."""
    # Both tensors are named: the DenseTensor of a temporary dies with it.
    target = tensor.value().get_tensor()
    source = values.value().get_tensor()
    target._share_data_with(source)
