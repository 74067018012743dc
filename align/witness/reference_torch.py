"""What a third witness needs of the reference: its graph, and which BatchNorm follows what."""

import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from align.arrays.arrays_torch import is_tensor, to_array, to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import leaves, map_leaves
from align.nets import prepare_torch
from align.nets.layers_torch import module_paths
from align.nets.prepare_torch import state_kept
from common.errors import UserError
from common.streams import set_aside


def export_graph(net: nn.Module, batch: NetBatch, path: Path) -> Path:
    """Write the reference in eval mode as ONNX to `path`, its BatchNorms apart; return it.

    Raises UserError where torch cannot.
    """
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    told = ""
    with (
        _in_float32(net),
        state_kept(net),
        torch.no_grad(),
        warnings.catch_warnings(),
        set_aside(),
    ):
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                net,
                tuple(args),
                str(path),
                kwargs=kwargs or None,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                dynamo=False,
            )
        except Exception as error:
            told = " ".join(str(error).split())[:300] or type(error).__name__
    if told:
        raise UserError(
            f"--third export: torch cannot write the reference as ONNX: {told}. Give a file that "
            "was exported elsewhere: --third model.onnx"
        )
    return path


def outputs_of(net: nn.Module, batch: NetBatch) -> list[np.ndarray]:
    """Return the tensors that the reference gives in eval mode, in float64."""
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    with (
        prepare_torch.prepared(net, dtype=torch.float64, train=False, float32_constants=set[str]()),
        state_kept(net),
        torch.no_grad(),
    ):
        args, kwargs = map_leaves((args, kwargs), _in_float64)
        return [to_array(leaf) for leaf in leaves(net(*args, **kwargs)) if is_tensor(leaf)]


def _in_float64(leaf: Any) -> Any:
    return leaf.double() if is_tensor(leaf) and leaf.is_floating_point() else leaf


def followers(net: nn.Module, batch: NetBatch) -> dict[str, str]:
    """Return {a BatchNorm: the module whose output it gets}, by their first paths."""
    made: dict[int, tuple[str, Any]] = {}
    found: dict[str, str] = {}

    def watch(path: str) -> tuple[Any, Any]:
        def before(module: nn.Module, inputs: Any) -> None:
            if isinstance(module, _BatchNorm) and inputs and id(inputs[0]) in made:
                found[path] = made[id(inputs[0])][0]

        def after(module: nn.Module, inputs: Any, returned: Any) -> None:
            tensors = [leaf for leaf in leaves(returned) if is_tensor(leaf)]
            if len(tensors) == 1 and not made.get(id(tensors[0]), ("",))[0].startswith(f"{path}."):
                made[id(tensors[0])] = path, tensors[0]

        return before, after

    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    handles = []
    with _in_float32(net), torch.no_grad():
        for path in module_paths(net):
            if path:
                module, (before, after) = net.get_submodule(path), watch(path)
                handles += [module.register_forward_pre_hook(before)]
                handles += [module.register_forward_hook(after)]
        try:
            with state_kept(net):
                net(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
    return found


def _in_float32(net: nn.Module) -> AbstractContextManager[None]:
    """Hold the net in float32 and eval mode while the block runs."""
    return prepare_torch.prepared(
        net, dtype=torch.float32, train=False, float32_constants=set[str]()
    )
