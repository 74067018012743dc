"""What a port shows in float32, beside what torch itself shows there: informative, no verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from align.arrays.batch import Inputs, NetBatch, as_batch
from align.judge.words import Words
from align.pairing.pair_nets import pair_nets
from align.record.trace import CallPlace
from align.report.report import Report
from align.rungs.forward import align_forward
from align.trial.setup import prepared

Outputs = dict[CallPlace, np.ndarray]


def add_float32(
    report: Report,
    torch_net: Any,
    paddle_net: Any,
    inputs: Inputs,
    *,
    train: bool = False,
    rules: Any = None,
) -> None:
    """Add float32's figures to `report`: `settings["float32"]` and one note.

    For every output of every matched layer: the distance of the port from torch, both in float32
    and running freely, and that of torch in float32 from torch in float64, relative to the largest
    magnitude. The nets are as before afterwards.
    """
    single = align_forward(torch_net, paddle_net, inputs, train=train, rules=rules, dtype="float32")
    noise = float32_noise(torch_net, paddle_net, inputs, train=train, rules=rules)
    found: list[dict[str, Any]] = []
    for call in single.calls:
        path, _, index = call.call.rpartition("#")
        key = (path, int(index) if index.isdigit() else -1, call.where)
        if call.cumulative is not None and key in noise:
            place = f"{call.layer or '(root)'} {call.where}"
            found.append({"at": place, "port": call.cumulative, "torch": noise[key]})
    if not found:
        report.notes.append(Words("no_float32"))
        return
    worst = max(found, key=lambda figure: figure["port"])
    report.settings["float32"] = {"worst": worst, "outputs": found}
    figures = {"port": worst["port"], "place": worst["at"], "torch": worst["torch"]}
    report.notes.append(Words("float32", **figures))


def float32_noise(
    torch_net: Any, paddle_net: Any, inputs: Inputs, *, train: bool = False, rules: Any = None
) -> Mapping[CallPlace, float]:
    """Return how far each output of the reference in float32 is from the same in float64."""
    from align.pairing.reference_torch import LiveReference

    sides = pair_nets(LiveReference(torch_net), paddle_net, rules)
    runs = []
    for dtype in ("float64", "float32"):
        with prepared(sides, dtype=dtype, train=train):
            runs.append(_outputs(torch_net, as_batch(inputs, dtype)))
    exact, single = runs
    return {
        place: _distance(array, single[place])
        for place, array in exact.items()
        if place in single and array.dtype.kind == "f" and array.shape == single[place].shape
    }


def _outputs(torch_net: Any, batch: NetBatch) -> Outputs:
    """Run the reference once; return the outputs of every call of every module."""
    import torch

    from align.arrays.arguments import Forward
    from align.arrays.arrays_torch import is_tensor, to_array, to_tensor
    from align.arrays.trees import leaves, map_leaves
    from align.nets.calls import wrapped_forwards
    from align.nets.layers_torch import module_paths
    from align.nets.prepare_torch import out_of_place, state_kept

    found: Outputs = {}
    counts: dict[str, int] = {}

    def wrap(path: str, module: Any, forward: Forward) -> Forward:
        def noting(*args: Any, **kwargs: Any) -> Any:
            index = counts[path] = counts.get(path, -1) + 1
            outputs = forward(*args, **kwargs)
            tensors = [leaf for leaf in leaves(outputs) if is_tensor(leaf)]
            for position, tensor in enumerate(tensors):
                found[path, index, f"output:{position}"] = np.array(to_array(tensor))
            return outputs

        return noting

    modules = {path: torch_net.get_submodule(path) for path in module_paths(torch_net)}
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    with state_kept(torch_net), torch.no_grad(), out_of_place(torch_net):
        torch.manual_seed(0)  # the same dropout masks in both precisions
        with wrapped_forwards(modules, wrap):
            torch_net(*args, **kwargs)
    return found


def _distance(exact: np.ndarray, single: np.ndarray) -> float:
    if not exact.size:
        return 0.0
    scale = float(np.abs(exact).max()) or 1.0
    return float(np.abs(exact - single).max()) / scale
