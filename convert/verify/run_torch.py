"""Runs the reference of a row with the file's weights, in float64."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import torch_ref
from common import resizes
from convert.names.rules import Rules, resolve
from convert.names.spec import COUNTER
from convert.verify.outputs import listed

_SIGNATURE = inspect.signature(F.interpolate)


class InexactResizes(TorchFunctionMode):
    """Notes while it is active whether a resize was one that Paddle computes in part in float32."""

    found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`; look at the sizes if it is `F.interpolate`."""
        result = func(*args, **(kwargs or {}))
        if func is F.interpolate:
            call = _SIGNATURE.bind(*args, **(kwargs or {})).arguments
            sizes = call["input"].shape[2:], result.shape[2:]
            self.found |= not resizes.is_exact(*sizes, call)
        return result


def run_reference(
    row: str,
    options: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    rules: Rules,
    image: np.ndarray,
) -> tuple[list[np.ndarray], bool]:
    """Return (outputs, whether a resize was inexact) for `image` [N, 3, H, W] float64, eval mode.

    `arrays` is the file's state dict, under its own names; `rules` lead from them to the net's.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two runtimes in one process stall each other
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), InexactResizes() as noted:
            net = torch_ref.build_model(row, **options).double().eval()
            net.load_state_dict(reference_state(net, arrays, rules), strict=True)
            outputs = net(torch.from_numpy(image))
    finally:
        torch.set_num_threads(threads)
    return [output.numpy() for output in listed(outputs)], noted.found


def reference_state(
    net: torch.nn.Module, arrays: Mapping[str, np.ndarray], rules: Rules
) -> dict[str, torch.Tensor]:
    """Return the file's tensors under every name that `net` has for them."""
    state = net.state_dict()
    file = resolve(arrays, rules).sources
    names = resolve(state, rules)
    keys = {key: name for name, key in names.sources.items()}
    for key, tensor in list(state.items()):
        name = keys[names.aliases.get(key, key)]
        if name in file:
            array = arrays[file[name]]
            state[key] = torch.from_numpy(
                array.astype("float64" if tensor.is_floating_point() else array.dtype)
            )
        else:
            assert name.endswith(COUNTER), name  # recognition lets nothing else be absent
    return state
