"""The live torch net of a conversion: built, moved off its zeros, run in both modes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.trees import leaves
from align.nets.prepare_torch import prepared
from commands.graph.ran import GraphRun
from commands.port.nets_torch import moved
from commands.subjects.callables import SOURCE
from commands.subjects.own import build_reference, fill_reference
from common.errors import UserError
from common.nets import members
from port.graph.mend import Norm
from port.record.stand_ins.operators_torch import lent

STATE, INPUTS = "state.npz", "inputs.npz"
IDLE = "of a layer that eval mode does not call"
_NORMS = nn.modules.batchnorm._BatchNorm


def reference(asked: Mapping[str, Any]) -> nn.Module:
    """Return the net that is asked for, in eval mode; its first weights moved off their zeros."""
    net = _built(asked)
    if asked["weights"]:
        fill_reference(net, asked["weights"], asked["spec"])
    else:
        moved(net, asked["seed"])
    return net.eval()


def _built(asked: Mapping[str, Any]) -> nn.Module:
    """Return the net with its own first weights, with operators that torchvision may miss."""
    given = asked["spec"], asked["seed"], asked["arguments"]
    net: nn.Module = lent(lambda: build_reference(*given, option=SOURCE))
    return net


def state_of(net: nn.Module) -> dict[str, np.ndarray]:
    """Return its parameters and buffers, those too that its state dict leaves out."""
    state = {name: one.detach().numpy() for name, one in net.state_dict().items()}
    for name, one in members.named_buffers(net):
        state.setdefault(name, one.detach().numpy())
    return state


def trained(net: nn.Module) -> set[str]:
    """Return the names of what it trains."""
    return {name for name, one in members.named_parameters(net) if one.requires_grad}


def norms_of(net: nn.Module) -> dict[str, Norm]:
    """Return {running mean: what its BatchNorm is set to}."""
    found = {}
    for path, one in members.named_modules(net):
        if isinstance(one, _NORMS) and one.running_mean is not None:
            share = None if one.momentum is None else round(1 - one.momentum, 12)
            words = f"torch's {one.momentum:g} is what is new" if share is not None else ""
            words = words or "torch averages all batches (momentum=None)"
            found[f"{path}.running_mean" if path else "running_mean"] = Norm(share, one.eps, words)
    return found


def for_converter(asked: Mapping[str, Any], folder: Path) -> tuple[nn.Module, list[torch.Tensor]]:
    """Return net and inputs in the converter's process: with the values of this one."""
    import sys

    sys.path[1:1] = [place for place in asked["path"] if place not in sys.path]
    net = _built(asked)
    with np.load(folder / STATE, allow_pickle=False) as state:
        wanted = net.state_dict()
        net.load_state_dict({name: torch.from_numpy(state[name]) for name in wanted})
    with np.load(folder / INPUTS, allow_pickle=False) as arrays:
        inputs = [torch.from_numpy(arrays[name]) for name in arrays]
    return net.eval(), inputs


def run_torch(
    net: nn.Module, inputs: Sequence[np.ndarray], train: bool, dtype: str = "float64"
) -> GraphRun:
    """Return what the net gives, its gradients and statistics after it; the net stays as it is.

    Epsilon and momentum of BatchNorms are rounded to float32, as Paddle's kernels hold them.
    """
    norms = {path for path, one in members.named_modules(net) if isinstance(one, _NORMS)}
    kind = getattr(torch, dtype)
    with (
        prepared(net, dtype=kind, train=train, float32_constants=norms),
        _counted(net) as counts,
    ):
        return _ran(net, [_tensor(array, dtype) for array in inputs], counts)


def _ran(net: nn.Module, tensors: list[torch.Tensor], counts: Mapping[str, int]) -> GraphRun:
    torch.manual_seed(0)
    outputs = [one for one in leaves(net(*tensors)) if isinstance(one, torch.Tensor)]
    ran = GraphRun([one.detach().numpy().copy() for one in outputs])
    score = ran.score(outputs, torch.from_numpy)
    if score is not None and score.requires_grad:
        score.backward()
        for name, parameter in members.named_parameters(net):
            if parameter.grad is not None:
                ran.gradients[name] = parameter.grad.numpy().copy()
    ran.inputs = [None if one.grad is None else one.grad.numpy().copy() for one in tensors]
    ran.buffers = {
        n: one.numpy().copy()
        for n, one in members.named_buffers(net)
        if one.dtype.is_floating_point
    }
    ran.counts = dict(counts)
    return ran


def _tensor(array: np.ndarray, dtype: str) -> torch.Tensor:
    if array.dtype.kind != "f":
        return torch.from_numpy(array)
    return torch.from_numpy(array.astype(dtype)).requires_grad_()


@contextmanager
def _counted(net: nn.Module) -> Iterator[dict[str, int]]:
    """Count how many values of a channel each BatchNorm averages: {running variance: number}."""
    counts: dict[str, int] = {}
    hooks = []
    for path, one in members.named_modules(net):
        if isinstance(one, _NORMS):
            name = f"{path}.running_var" if path else "running_var"

            def note(_: Any, given: Any, name: str = name) -> None:
                counts[name] = given[0].numel() // given[0].shape[1]

            hooks.append(one.register_forward_pre_hook(note))
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def require_tensors(net: nn.Module, inputs: Sequence[np.ndarray], spec: str) -> dict[str, str]:
    """Run the inputs in eval mode, as which a graph is traced.

    Returns {name: why it is not in the graph} of the tensors of modules that were not called.
    Raises UserError where the net cannot run them.
    """
    from commands.subjects.callables import users_errors

    called: set[nn.Module] = set()
    hooks = [
        one.register_forward_pre_hook(lambda m, _: called.add(m)) for one in members.modules(net)
    ]
    try:
        with users_errors(f"the net {spec}: cannot run the input"), torch.no_grad():
            outputs = net(*(torch.from_numpy(array) for array in inputs))
    finally:
        for hook in hooks:
            hook.remove()
    if not any(isinstance(one, torch.Tensor) for one in leaves(outputs)):
        raise UserError(f"the net {spec}: returns no tensor")
    idle = {path for path, one in members.named_modules(net) if one not in called}
    return {name: IDLE for name in state_of(net) if name.rpartition(".")[0] in idle}


def are_unread(net: nn.Module, inputs: Sequence[np.ndarray], names: Collection[str]) -> bool:
    """Tell whether eval mode gives the same to the bit whatever some buffers are; all stay."""
    buffers = [one for name, one in members.named_buffers(net) if name in names]
    given = [torch.from_numpy(array) for array in inputs]
    kept = [one.clone() for one in buffers]
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            before = [one for one in leaves(net(*given)) if isinstance(one, torch.Tensor)]
            for one in buffers:
                one.fill_(torch.nan)
            torch.manual_seed(0)
            after = [one for one in leaves(net(*given)) if isinstance(one, torch.Tensor)]
    finally:
        for one, values in zip(buffers, kept, strict=True):
            one.copy_(values)
    return len(before) == len(after) and all(map(torch.equal, before, after))
