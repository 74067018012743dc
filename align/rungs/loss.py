"""Losses under judgement: net and criterion as one module, and the loss rung."""

from collections.abc import Mapping
from typing import Any

from align.arrays.batch import Inputs, as_batch
from align.causes.blame import blame
from align.causes.explain import explain
from align.judge.comparison import Comparison, unless_compared
from align.judge.where import Where
from align.nets.asked import ASSIGNMENT
from align.nets.whole import Criterion, whole_pair
from align.pairing.pair_nets import pair_nets
from align.report.report import Report
from align.trial.setup import prepared, rounding_note
from align.trial.trial import run_backward
from common.errors import UserError

LOSS = "(loss)"


def seen_from_the_net(call: Comparison, alone: bool = False) -> Comparison:
    """Rename the layer of a comparison of `NetWithLoss`: the net is the root, the loss beside it.

    `alone`: there is no net, the loss is the root.
    """
    path, loss = call.layer, "" if alone else LOSS
    if path in {"", "criterion"}:
        call.layer = loss
        if path == "" and call.at.kind == "output" and call.at.name:
            call.where = str(Where("loss", call.at.name if alone else ""))
    elif path == "net":
        call.layer = ""
    elif path.startswith("net."):
        call.layer = path.removeprefix("net.")
    elif path == ASSIGNMENT:
        call.layer = f"{loss}.{path}".lstrip(".")
    elif path.startswith("criterion."):
        call.layer = f"{loss}.{path.removeprefix('criterion.')}".lstrip(".")
    call.call = call.call.removeprefix("net.").removeprefix("criterion.")
    return call


def align_loss(
    torch_loss: Criterion, paddle_loss: Criterion, inputs: Inputs, *, rules: Any = None
) -> Report:
    """Judge a loss: its value and its gradients with respect to the outputs of the net.

    Args:
        torch_loss, paddle_loss: called with (outputs, label); modules or functions. They return
            a scalar, or a tuple of scalars. Where both have a method `assignment(outputs, label)`
            and take `assignment=`, they are called with the reference's, and the port's own is
            judged as layer "assignment".
        inputs: the outputs of the net, then the label. One array of outputs is passed as it is,
            several (or one tuple) as a tuple.
        rules: how the reference names what the port names otherwise (`convert.names.rules`).

    Returns:
        A Report. `where` is loss (loss:i of a tuple), grad_input:i, or what stands inside a loss
        that is a module; `layer` is "" for the loss itself.

    Raises:
        UserError: inputs are a mapping. ConfigError: `rules` is no rules file. Whatever the losses
            raise.
    """
    from align.causes.replayed_torch import replayed_by
    from align.pairing.reference_torch import LiveReference

    if isinstance(inputs, Mapping):
        raise UserError("align_loss takes a sequence: the outputs of the net, then the label")
    batch = as_batch(inputs, "float64", labelled=True)
    report = Report("loss", settings={"inputs": batch.shapes})
    torch_whole, paddle_whole = whole_pair(None, None, torch_loss, paddle_loss)
    sides = pair_nets(LiveReference(torch_whole), paddle_whole, rules)
    with prepared(sides, dtype="float64", train=True) as rounded:
        found, unchecked = run_backward(sides, batch.whole, train=True)
        replayed = replayed_by(torch_whole, batch.whole)
        explain(found.comparisons, sides, found, replayed)
    report.calls = found.comparisons + found.unreached + unchecked
    outputs = [call for call in report.calls if call.at.kind == "output"]
    report.calls += unless_compared(outputs, "no_loss")
    report.notes += found.notes + rounding_note(rounded, found.trace)
    return blame(report, sides, lambda call: seen_from_the_net(call, True))
