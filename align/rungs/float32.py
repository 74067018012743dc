"""What a port shows in float32, beside what torch itself shows there: informative, no verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from align.arrays.batch import Inputs, as_batch
from align.judge.words import Words
from align.pairing.pair_nets import pair_nets
from align.record.trace import CallPlace
from align.report.report import Report
from align.rungs.forward import align_forward
from align.trial.setup import prepared


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
    from align.rungs.float32_torch import every_output

    sides = pair_nets(LiveReference(torch_net), paddle_net, rules)
    runs = []
    for dtype in ("float64", "float32"):
        with prepared(sides, dtype=dtype, train=train):
            runs.append(every_output(torch_net, as_batch(inputs, dtype)))
    exact, single = runs
    return {
        place: _distance(array, single[place])
        for place, array in exact.items()
        if place in single and array.dtype.kind == "f" and array.shape == single[place].shape
    }


def _distance(exact: np.ndarray, single: np.ndarray) -> float:
    if not exact.size:
        return 0.0
    scale = float(np.abs(exact).max()) or 1.0
    return float(np.abs(exact - single).max()) / scale
