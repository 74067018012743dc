"""Brings a torch net into the state in which it is judged, and back to the bit."""

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import cache
from pathlib import Path
from types import CodeType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils import checkpoint

from align.arrays.arrays_torch import is_tensor, to_array
from align.arrays.trees import leaves, map_leaves
from align.nets.calls import attributes_kept
from align.nets.casts.follow_torch import TorchTables, follows_run
from align.nets.layers_torch import tables_of
from common.nets import members
from common.processes.gradient_checkpoints import runs_again


@contextmanager
def prepared(
    net: nn.Module,
    *,
    dtype: torch.dtype,
    train: bool,
    float32_constants: set[str],
    spectral_norms: Collection[str] = (),
    tables: TorchTables | None = None,
) -> Iterator[None]:
    """Cast `net` to `dtype` and to the mode; put everything back at the end.

    Floating parameters and buffers only are cast, as copies: what the passes write never reaches
    the net. Modules that were frozen in eval mode inside a net in train mode stay so.
    `float32_constants` are first paths of normalisations whose port holds epsilon and
    momentum in float32: theirs are rounded likewise. `spectral_norms` are modules that are to
    iterate as Paddle's hook does; `tables` are the port's that code of `net` computes. The random
    state is restored too.
    Checkpointed code runs once, attention always calls the modules that it is made of, and code
    under `inference_mode`, whose tensors nobody may look at, runs under `no_grad`. In float64 what
    code casts to float32 follows (`align.nets.casts`).
    """
    random_state = torch.get_rng_state()
    default = torch.get_default_dtype()
    threads = torch.get_num_threads()
    fused = torch.backends.mha.get_fastpath_enabled()
    undo: list[tuple[Any, str, Any]] = []

    def change(module: Any, name: str, value: Any) -> None:
        undo.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    gradients = [(parameter, parameter.grad) for parameter in members.parameters(net)]
    for parameter in members.parameters(net):
        parameter.grad = None
    tensors = _cast(net, dtype)
    modes = {module: module.training for module in members.modules(net)}
    try:
        torch.set_num_threads(1)  # beside Paddle, more threads stall on a busy machine
        torch.set_default_dtype(dtype)
        torch.backends.mha.set_fastpath_enabled(False)
        for name, plain in _NO_CHECKPOINTS.items():
            change(checkpoint, name, plain)
        change(torch.inference_mode, "__enter__", _without_gradients)
        for path, module in members.named_modules(net):
            if path in float32_constants:
                for name, value in rounded_constants(module).items():
                    change(module, name, value)
        follows = follows_run(tables) if dtype == torch.float64 else nullcontext()
        with attributes_kept(members.modules(net)), _own_checkpoints_once(), follows:
            _set_mode(net, train, modes)
            for module in members.modules(net):
                _run_on_one_device(module)
                _cast_attributes(module, dtype)
                if vars(module).get("_compiled_call_impl") is not None:
                    vars(module)["_compiled_call_impl"] = None  # compiled code is not watched
            for path in spectral_norms:
                module = net.get_submodule(path)
                vars(module)["_power_method"] = MethodType(_power_method, module)
            if tables is not None:
                tables.own = {id(tensor): tensor for _, _, tensor in tables_of(net)}
            yield
    finally:
        for module, name, value in reversed(undo):
            setattr(module, name, value)
        for module, training in modes.items():
            module.training = training
        _restore(tensors)
        _uncast.clear()
        for parameter, gradient in gradients:
            parameter.grad = gradient
        torch.set_default_dtype(default)
        torch.backends.mha.set_fastpath_enabled(fused)
        torch.set_num_threads(threads)
        torch.set_rng_state(random_state)


def _set_mode(net: nn.Module, train: bool, modes: Mapping[nn.Module, bool]) -> None:
    """Set the mode of `net` as its user would; modules frozen in a net in train mode stay so.

    A class may have a `train` of its own, which makes or drops what its `forward` reads: a frozen
    module of such a class is asked for eval mode by it.
    """
    frozen = {module for module, training in modes.items() if modes[net] and not training}
    net.train(train)
    now = {module: module.training and module not in frozen for module in members.modules(net)}
    for module in frozen:
        if type(module).train is not nn.Module.train:
            module.train(False)
    for module, training in now.items():
        module.training = training


def _run_on_one_device(module: nn.Module) -> None:
    """Let SyncBatchNorm, which trains on GPUs alone, run as the BatchNorm that it is on one."""
    if type(module).forward is nn.SyncBatchNorm.forward and "forward" not in vars(module):
        vars(module)["forward"] = MethodType(_BatchNorm.forward, module)


@torch.no_grad()
def _power_method(module: Any, matrix: torch.Tensor, times: int) -> None:
    """Iterate from u to v and back, as Paddle's hook and torch's older one; torch's from v to u."""
    for _ in range(times):
        for name, by, side in (("_v", "_u", matrix.H), ("_u", "_v", matrix)):
            product = torch.mv(side, getattr(module, by))
            nn.functional.normalize(product, dim=0, eps=module.eps, out=getattr(module, name))


def power_methods_apart(net: nn.Module, path: str, vectors: Mapping[str, np.ndarray]) -> float:
    """Return how far torch's own spectral norm at `path` and Paddle's are apart in one iteration.

    Relative to it. `vectors` are the buffers "path._u" and "path._v" before it.
    """
    module: Any = net.get_submodule(path)
    weight: Any = net.get_submodule(path.rpartition(".")[0])
    matrix = module._reshape_weight_to_matrix(weight.original).detach()
    norms = []
    for iterate in (type(module)._power_method, _power_method):
        tried = copy(module)
        tried._buffers = {
            name: torch.from_numpy(vectors[f"{path}.{name}"].copy()) for name in ("_u", "_v")
        }
        iterate(tried, matrix, module.n_power_iterations)
        norms.append(float(torch.vdot(tried._u, torch.mv(matrix, tried._v))))
    return abs(norms[1] / norms[0] - 1.0)


def _without_gradients(mode: Any) -> None:
    """Stand for what enters an inference mode."""
    mode._inference_mode_context = torch.set_grad_enabled(not mode.mode)
    mode._inference_mode_context.__enter__()


class _RunsOnce:
    """Stands for reentrant checkpoints."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args)


def _no_second_run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[None]:
    """Stand for checkpoints that run `function` between the two steps of a generator."""
    yield


# What `checkpoint` looks up: code that runs again in the backward pass calls modules again.
_NO_CHECKPOINTS = {
    "CheckpointFunction": _RunsOnce,
    "_checkpoint_without_reentrant_generator": _no_second_run,
}


@contextmanager
def _own_checkpoints_once() -> Iterator[None]:
    """Let what such functions run twice, the first time without a graph, run once and with one."""
    changed: list[Any] = []
    try:
        for kind in _below(torch.autograd.Function):
            if "apply" not in vars(kind) and (parameters := _of_a_checkpoint(kind)):
                kind.apply = staticmethod(_run_once(has_length=len(parameters.split(", ")) == 3))
                changed.append(kind)
        yield
    finally:
        for kind in changed:
            del kind.apply


def _run_once(has_length: bool) -> Callable[..., Any]:
    def apply(function: Callable[..., Any], *given: Any) -> Any:
        return function(*given[1 : 1 + given[0]]) if has_length else function(*given)

    return apply


def _below(kind: Any) -> Iterator[Any]:
    """Yield the classes of people's own that inherit from `kind`."""
    for one in kind.__subclasses__():
        if one.__module__.partition(".")[0] != "torch":
            yield one
        yield from _below(one)


@cache
def _of_a_checkpoint(kind: Any) -> str | None:
    code: CodeType | None = getattr(kind.forward, "__code__", None)
    if code is None:
        return None
    try:
        tree = ast.parse(Path(code.co_filename).read_bytes())
    except (OSError, ValueError, SyntaxError):  # made without a file
        return None
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    own = [one for one in classes if any(_begins(part, code) for part in one.body)]
    return runs_again(own[0]) if len(own) == 1 else None


def _begins(node: ast.stmt, code: CodeType) -> bool:
    """Tell whether a statement is the function of `code`."""
    if not isinstance(node, ast.FunctionDef) or node.name != code.co_name:
        return False
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return first == code.co_firstlineno


def tensor_dtype(name: str) -> torch.dtype:
    """Return torch's dtype called `name`."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def rounded_constants(module: nn.Module) -> dict[str, float]:
    """Return epsilon and momentum as Paddle's float32 holds them (it keeps 1 - momentum).

    Paddle's instance norms run no statistics: no kernel of theirs holds a momentum.
    """
    rounded: dict[str, float] = {}
    epsilon, momentum = getattr(module, "eps", None), getattr(module, "momentum", None)
    if isinstance(epsilon, float):
        rounded["eps"] = float(np.float32(epsilon))
    if isinstance(momentum, float) and not isinstance(module, _InstanceNorm):
        rounded["momentum"] = 1.0 - float(np.float32(1.0 - momentum))
    return rounded


Tensors = list[tuple[Any, str, torch.Tensor]]
# Of the net that is prepared: {identity of a cast parameter or buffer: its values before}.
_uncast: dict[int, torch.Tensor] = {}


def _cast(net: nn.Module, dtype: torch.dtype) -> Tensors:
    """Put cast copies in place of parameters' data and of buffers; return what was there.

    Parameters that share their memory, as after `a.weight.data = b.weight.data`, go on to.
    """
    kept: Tensors = []
    copies: dict[int, torch.Tensor] = {}
    shared: dict[tuple[Any, ...], torch.Tensor] = {}
    for parameter in members.parameters(net):
        kept.append((parameter, "", parameter.data))
        if parameter.is_floating_point() or parameter.is_complex():
            _uncast[id(parameter)] = parameter.data
            data = parameter.data
            place = data.data_ptr(), data.shape, data.stride(), data.dtype
            if not data.data_ptr() or place not in shared:
                shared[place] = data.to(_as(parameter, dtype), copy=True)
            parameter.data = shared[place]
    for module in members.modules(net):
        for name, buffer in module._buffers.items():
            if buffer is None:
                continue
            kept.append((module, name, buffer))
            if id(buffer) not in copies:
                copies[id(buffer)] = buffer.detach().to(_as(buffer, dtype), copy=True)
                _uncast[id(copies[id(buffer)])] = buffer.detach()
            module._buffers[name] = copies[id(buffer)]
    return kept


def _cast_attributes(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast floating tensors that a module holds as plain attributes, which Paddle has as buffers.

    They are copies; `attributes_kept` puts back what was there.
    """

    def cast(leaf: Any) -> Any:
        if not is_tensor(leaf) or leaf.dtype == _as(leaf, dtype):
            return leaf
        return leaf.detach().to(_as(leaf, dtype)).requires_grad_(leaf.requires_grad)

    for name, value in list(vars(module).items()):
        plain = is_tensor(value) or type(value) in (list, tuple, dict)
        if plain and any(cast(leaf) is not leaf for leaf in leaves(value)):
            vars(module)[name] = map_leaves(value, cast)


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to which a cast to `dtype` casts a tensor: complex ones stay complex."""
    if tensor.is_complex():
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype if tensor.is_floating_point() else tensor.dtype


def _restore(kept: Tensors) -> None:
    for owner, name, tensor in kept:
        if name:
            owner._buffers[name] = tensor
        else:
            owner.data = tensor


def _drop_gradients(net: nn.Module) -> None:
    for parameter in members.parameters(net):
        parameter.grad = None


@contextmanager
def state_kept(net: nn.Module, weights_of: Collection[nn.Module] | None = None) -> Iterator[None]:
    """Give parameters and buffers their values back at the end, and the random state.

    So is every other attribute that code assigns, a buffer assigned anew for one. Gradients are
    dropped, at the start and at the end. `weights_of` are the modules whose parameters the code
    that runs may change; None: all.
    """
    holders = members.modules(net) if weights_of is None else weights_of
    weights = [p for module in holders for p in module._parameters.values() if p is not None]
    tensors = {id(tensor): tensor for tensor in (*weights, *members.buffers(net))}
    values = {key: _compact(tensor) for key, tensor in tensors.items()}
    random_state = torch.get_rng_state()
    _drop_gradients(net)
    before = {module: dict(vars(module)) for module in members.modules(net)}
    try:
        with attributes_kept(members.modules(net)):
            yield
            for module, attributes in before.items():
                now = vars(module)
                new = {n for n, value in attributes.items() if now.get(n) is not value}
                _assigned.setdefault(module, set()).update(new)
    finally:
        _drop_gradients(net)
        with torch.no_grad():
            for key, tensor in tensors.items():
                tensor.copy_(values[key])
        torch.set_rng_state(random_state)


# By module: attributes that a run of it assigned anew.
_assigned: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


def is_assigned(module: nn.Module, name: str) -> bool:
    """Tell whether a run under `state_kept` gave a module another attribute of that name."""
    return name in _assigned.get(module, ())


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values; in float32 where that holds the very same ones, as a cast net's do.

    No copy, where they are those from before the cast.
    """
    before = _uncast.get(id(tensor))
    tensor = tensor.detach()
    if tensor.dtype == torch.float64:
        if before is not None and torch.equal(before.double(), tensor):
            return before
        half = torch.from_numpy(to_array(tensor).astype(np.float32))
        if torch.equal(half.double(), tensor):
            return half
    return tensor.clone()


@contextmanager
def out_of_place(net: nn.Module, but: Collection[str] = ()) -> Iterator[list[str]]:
    """Let in-place modules work out of place: a tensor that is overwritten cannot be recorded.

    Those of the first paths `but` go on as they are. Yields the paths of the others.
    """
    paths = [
        path
        for path, module in members.named_modules(net)
        if path not in but and getattr(module, "inplace", False)
    ]
    modules = [net.get_submodule(path) for path in paths]
    try:
        for module in modules:
            vars(module)["inplace"] = False
        yield paths
    finally:
        for module in modules:
            vars(module)["inplace"] = True
