"""What a proof needs of the reference: weights without zeros, a loss of any outputs, a rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from align.arrays.trees import leaves, map_leaves
from align.nets.calls import attributes_kept
from common.nets import members

SHARE = 0.1  # of a tensor's spread
LEAST = 0.05  # the spread that a constant tensor is taken to have
RATE, MOMENTUM = 0.01, 0.9


def moved(net: nn.Module, seed: int, raised: float = 0.0) -> None:
    """Move every parameter and running statistic by noise of a tenth of its spread.

    First weights hold zeros and ones, behind which a wrong layer computes the right thing.
    `raised` is what biases get on top, at most, each a share of its own.
    """
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in members.named_parameters(net):
            _move(parameter, noise)
            if raised and name.rpartition(".")[2] == "bias":
                parameter.add_(raised * torch.rand(parameter.shape, generator=noise))
        for name, buffer in members.named_buffers(net):
            if name.endswith("running_mean"):
                _move(buffer, noise)
            elif name.endswith("running_var"):
                buffer.mul_(1 + SHARE * torch.rand(buffer.shape, generator=noise))


def _move(tensor: torch.Tensor, noise: torch.Generator) -> None:
    if not tensor.is_floating_point() or not tensor.numel():
        return
    spread = tensor.std(unbiased=False).clamp(min=LEAST)
    tensor.add_(SHARE * spread * torch.randn(tensor.shape, generator=noise, dtype=tensor.dtype))


@contextmanager
def nothing_in_place(net: nn.Module, inputs: Any) -> Iterator[None]:
    """Let no layer write into its input, where the net's outputs stay the same to the bit.

    A training step is judged with every tensor kept, which such a layer would overwrite. The
    outputs are compared in eval and in train mode; buffers and seeds are as they were afterwards.
    """
    layers: list[Any] = [
        one for one in members.modules(net) if getattr(one, "inplace", False) is True
    ]
    before = _outputs(net, inputs) if layers else []
    for layer in layers:
        layer.inplace = False
    try:
        after = _outputs(net, inputs) if layers else []
        if len(before) != len(after) or not all(map(torch.equal, before, after)):
            for layer in layers:
                layer.inplace = True
        yield
    finally:
        for layer in layers:
            layer.inplace = True


def _outputs(net: nn.Module, inputs: Any) -> list[torch.Tensor]:
    """Return the outputs in eval and in train mode; the net is left as it was."""
    modes = {module: module.training for module in members.modules(net)}
    buffers = {name: buffer.clone() for name, buffer in members.named_buffers(net)}
    given = map_leaves(inputs, _tensor)
    found: list[Any] = []
    kept = attributes_kept(members.modules(net))  # activations that `forward` keeps, too
    with torch.no_grad(), torch.random.fork_rng(devices=[]), kept:
        for training in (False, True):
            torch.manual_seed(0)
            net.train(training)
            found.append(net(**given) if isinstance(given, dict) else net(*given))
            found[-1] = map_leaves(found[-1], _copied)
        for name, buffer in members.named_buffers(net):
            buffer.copy_(buffers[name])
    for module, training in modes.items():
        module.training = training
    return [one for one in leaves(found) if isinstance(one, torch.Tensor)]


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(array.astype("float32") if array.dtype.kind == "f" else array)


def mean_square(outputs: Any, label: Any) -> torch.Tensor:
    """Return the sum of the mean squares of all outputs with a point."""
    found = [one for one in leaves(outputs) if _counts(one)]
    return torch.stack([one.pow(2).mean() for one in found]).sum()


def _counts(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def momentum(parameters: Any) -> torch.optim.Optimizer:
    """Return gradient descent with momentum."""
    return torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM)
