"""Records the calls of some modules of the reference, and of what they call, to replay them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arguments import Forward, arguments_in_order
from align.arrays.arrays_torch import is_tensor, to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import leaves, map_leaves
from align.causes.replayed import Replayed, ReplayedCalls
from align.causes.step_recorder_torch import TorchRecorder, WatchSteps
from align.causes.steps import named
from align.nets.calls import wrapped_forwards
from align.nets.prepare_torch import out_of_place, state_kept
from align.record.trace import TENSOR
from common.nets import members


def replayed_by(net: nn.Module, batch: NetBatch) -> ReplayedCalls:
    """Return what runs `net`, prepared, on `batch` for the calls to replay."""

    def replayed(
        judged: set[str], uneven: set[str], wanted: set[str], gradients: bool
    ) -> dict[str, Replayed]:
        args, kwargs = map_leaves(
            (batch.args, dict(batch.kwargs)),
            lambda leaf: to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf,
        )
        return replayed_calls(net, args, kwargs, judged, uneven, wanted, gradients)

    return replayed


def replayed_calls(
    net: nn.Module,
    args: tuple,
    kwargs: Mapping[str, Any],
    judged: set[str],
    uneven: set[str],
    wanted: set[str],
    gradients: bool = False,
) -> dict[str, Replayed]:
    """Run `net`, prepared, and return the first call of each module in `wanted` as arrays.

    `judged` are the paths whose calls stand as calls inside; the code of all others is the code
    of the module around them. Calls of `uneven`, which have a partner, are noted. State and
    random state are as before.
    """
    watch = _Watch(wanted, uneven, _names(net))
    modules = {path: net.get_submodule(path) for path in judged | uneven}
    random_state = torch.get_rng_state()
    try:
        wrapped = wrapped_forwards(modules, watch.wrap)
        steps = WatchSteps(watch.running)
        mode = torch.enable_grad() if gradients else torch.no_grad()
        # What is no call inside writes as it does: it is the code of the module around it.
        in_place = out_of_place(net, {path for path, _ in members.named_modules(net)} - judged)
        with state_kept(net), mode, in_place, wrapped, steps:
            net(*args, **dict(kwargs))
    finally:
        torch.set_rng_state(random_state)
    return watch.found


class _Watch:
    def __init__(self, wanted: set[str], uneven: set[str], names: Mapping[int, str]) -> None:
        self.wanted, self.uneven, self.names = wanted, uneven, names
        self.found: dict[str, Replayed] = {}
        self.stack: list[tuple[Replayed, TorchRecorder] | None] = []

    def running(self) -> TorchRecorder | None:
        """Return the recorder of the code that runs, where it is wanted."""
        top = self.stack[-1] if self.stack else None
        return None if top is None else top[1]

    def wrap(self, path: str, module: nn.Module, forward: Forward) -> Forward:
        def watched(*args: Any, **kwargs: Any) -> Any:
            above, around = (self.stack[-1] if self.stack else None) or (None, None)
            if path in self.uneven:
                if above is not None:
                    above.called.append(path)
                return _named_output(around, path, forward(*args, **kwargs))
            keep = path in self.wanted and path not in self.found
            own = Replayed(path) if keep or above is not None else None
            if own is not None:
                own.args, own.kwargs = _arrays((args, kwargs))
                own.inputs = [
                    _array(leaf)
                    for leaf in arguments_in_order(forward, args, kwargs)
                    if is_tensor(leaf)
                ]
                if above is not None:
                    above.children.append(own)
                if keep:
                    self.found[path] = own
            recorder = TorchRecorder(self.names) if keep else None
            given = [leaf for leaf in leaves((args, kwargs)) if is_tensor(leaf)]
            if own is not None and around is not None:
                order = arguments_in_order(forward, args, kwargs)
                own.arrived = [around.value(leaf) for leaf in order if is_tensor(leaf)]
            if own is not None and recorder is not None:
                for index, leaf in enumerate(given):
                    recorder.name(named("input", index if len(given) > 1 else None), leaf)
                own.given = [recorder.value(leaf) for leaf in given]
            self.stack.append((own, recorder) if own is not None and recorder else None)
            try:
                outputs = forward(*args, **kwargs)
            finally:
                self.stack.pop()
            if own is not None:
                made = [leaf for leaf in leaves(outputs) if is_tensor(leaf)]
                own.outputs = [_array(leaf) for leaf in made]
                own.template = map_leaves(outputs, lambda v: TENSOR if is_tensor(v) else v)
                if recorder is not None:
                    own.returned = [recorder.value(leaf) for leaf in made]
                    own.steps = recorder.found
                if around is not None:
                    own.passed = [around.value(leaf) for leaf in made]
            return outputs if own is None else _named_output(around, path, outputs)

        return watched


def _named_output(around: TorchRecorder | None, path: str, outputs: Any) -> Any:
    """Tell the recorder of the code around a call what its outputs are called; return them."""
    made = [leaf for leaf in leaves(outputs) if is_tensor(leaf)] if around is not None else []
    for index, leaf in enumerate(made):
        assert around is not None
        around.name(named("output_of", index if len(made) > 1 else None, path=path), leaf)
    return outputs


def _names(net: nn.Module) -> dict[int, str]:
    """Return {identity: name} of all parameters and buffers."""
    held = [*members.named_parameters(net), *members.named_buffers(net)]
    return {id(tensor): name for name, tensor in reversed(held)}


def _arrays(tree: Any) -> Any:
    return map_leaves(tree, lambda leaf: _array(leaf) if is_tensor(leaf) else leaf)


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().clone().numpy()
