"""The backward rung: the gradient of every activation, input and parameter, in one forced pass."""

from collections.abc import Callable
from typing import Any

from align.arrays.batch import Inputs, as_batch
from align.causes.blame import blame
from align.causes.explain import explain
from align.judge.comparison import DIFFERS, Comparison, unless_compared
from align.judge.words import Words
from align.nets.asked import ASSIGNMENT
from align.nets.whole import whole_pair
from align.pairing.pair_nets import pair_nets
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.report.report import Report
from align.rungs.forward import forward_calls, unread_rows
from align.rungs.loss import seen_from_the_net
from align.trial.findings import Findings
from align.trial.setup import prepared, rounding_note
from align.trial.trial import run_backward
from align.trial.unshown.evidence import doubt_nothing_shown
from align.trial.unshown.geometry import unshown_geometry
from align.trial.unshown.zero_weights import run_past_zero_weights
from common.errors import UserError


def align_backward(
    torch_net: Any,
    paddle_net: Any,
    inputs: Inputs,
    torch_loss: Callable[[Any, Any], Any] | None = None,
    paddle_loss: Callable[[Any, Any], Any] | None = None,
    *,
    train: bool = True,
    rules: Any = None,
) -> Report:
    """Judge the gradients of every layer of `paddle_net`, and of the code between.

    Args:
        torch_net: the reference, any `torch.nn.Module` on the CPU.
        paddle_net: the port, any `paddle.nn.Layer` on the CPU, with the reference's weights.
        inputs: arrays; a sequence is passed by position, a mapping by keyword. With losses the
            last one is the label.
        torch_loss, paddle_loss: called with (outputs, label), return a scalar. Without them
            backward starts from random cotangents of the outputs.
        train: train mode (the default) or eval mode.
        rules: how the reference names what the port names otherwise (`convert.names.rules`).

    Returns:
        A Report: `where` is grad_input:i, grad_output:i (of a child, reached through the glue
        of `layer`), grad:name of a parameter, or loss (layer "(loss)"); output:i or input:i where
        only the forward pass differs, as of an embedding's rows. Gradients that rounding
        alone makes (a convolution's bias in front of BatchNorm) are listed as noise. Where the
        reference's own backward pass raises, forward is judged and the rest could not be checked.

    Raises:
        UserError: one loss without the other. ConfigError: `rules` is no rules file. Whatever the
            nets themselves raise.
    """
    from align.causes.replayed_torch import replayed_by
    from align.pairing.reference_torch import LiveReference

    if (torch_loss is None) != (paddle_loss is None):
        raise UserError("align_backward takes both losses or none")
    with_loss = torch_loss is not None and paddle_loss is not None
    batch = as_batch(inputs, "float64", labelled=with_loss)
    report = Report("backward", settings={"train": train, "inputs": batch.shapes})
    seed: int | None = 0
    if torch_loss is not None and paddle_loss is not None:
        torch_net, paddle_net = whole_pair(torch_net, paddle_net, torch_loss, paddle_loss)
        batch, seed = batch.whole, None
    sides = pair_nets(LiveReference(torch_net), paddle_net, rules)
    with prepared(sides, dtype="float64", train=train) as rounded:
        unchecked: list[Comparison] = []

        def run() -> Findings:
            how: dict[str, Any] = {"train": train, "seed": seed, "keeps_gradients": False}
            found, unchecked[:] = run_backward(sides, batch, **how)
            explain(found.comparisons, sides, found, replayed_by(torch_net, batch))
            return found

        found = run_past_zero_weights(sides, run)
    constants = rounding_note(rounded, found.trace)
    if unchecked:
        report.calls = forward_calls(sides, found, train=train) + found.gradients + unchecked
        report.notes += found.notes + constants
        return blame(report, sides, seen_from_the_net if with_loss else None)
    return backward_report(report, sides, found, constants, with_loss=with_loss)


def backward_report(
    report: Report,
    sides: Sides[Reference],
    found: Findings,
    constants: list[Words],
    *,
    with_loss: bool,
) -> Report:
    """Fill `report` from what a forced pass found; `constants` are notes on rounded ones."""
    loss = [call for call in found.values if with_loss and _is_loss(call)]
    report.calls = loss + [call for call in found.values if _ends(call) and call not in loss]
    doubt_nothing_shown(found)
    report.calls += found.gradients
    report.calls += _without_a_gradient(report.calls, found)
    report.calls += unread_rows(sides, report.calls)
    report.calls += unshown_geometry(sides, found, report.calls)
    report.calls += found.unreached
    report.calls += unless_compared(found.gradients, "no_gradients")
    report.notes += found.notes + constants
    rename = seen_from_the_net if with_loss else None
    return blame(report, sides, rename)


def _without_a_gradient(judged: list[Comparison], found: Findings) -> list[Comparison]:
    """Return what differs forward in layers whose gradients are right or are not asked for.

    The gradient of an embedding's table does not hang on its values.
    """
    wrong = {call.layer for call in judged if call.verdict == DIFFERS}
    known = {id(call) for call in judged}
    return [
        call
        for call in found.values
        if call.verdict == DIFFERS and call.layer not in wrong and id(call) not in known
    ]


def _ends(call: Comparison) -> bool:
    """Tell whether no gradient could be asked for: another shape or number, or code that raises."""
    return call.verdict == DIFFERS and call.relative_error == float("inf")


def _is_loss(call: Comparison) -> bool:
    return call.layer in {"", "criterion", ASSIGNMENT} and call.at.kind == "output"
