"""Evidence of several draws of first weights: what is zero with one is shown with another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from align.judge.comparison import NOISE, UNCHECKED
from align.judge.words import Cause
from commands.port.prove import Climb
from common.words.language import phrase

SEEDS = 4  # of first weights, one after the other, while they leave a layer unshown
RAISED = 0.5  # what biases of every further draw get, of its own: a ReLU that is shut opens
_ZERO = ("zero_on_both_sides", "zero_gradient_on_both_sides")


def shown_together(first: Climb, later: Climb) -> Climb:
    """Return a rung with what was zero in its first draw judged by a later one.

    A difference in either is one; a layer that both leave open stays so, whatever else is right.
    """
    if first.report is None or later.report is None:
        return first
    if later.code != 2:
        return later
    judged = {
        _key(call): call for call in later.report.calls if call.verdict not in (UNCHECKED, NOISE)
    }
    calls = [judged.get(_key(call), call) if is_zero(call) else call for call in first.report.calls]
    report = replace(first.report, calls=calls)
    shown_by = first.shown_by | ({later.seed} if calls != first.report.calls else set())
    return replace(first, code=report.exit_code, report=report, shown_by=shown_by)


def is_zero(call: Any) -> bool:
    """Tell whether a comparison is open because nothing but zeros was compared."""
    return call.verdict == UNCHECKED and Cause.told(call.cause or "").kind in _ZERO


def _key(call: Any) -> tuple[Any, ...]:
    return call.layer, call.call, call.where, call.step


def advice(outcomes: Sequence[Climb]) -> list[str]:
    """Return what to do where zeros are all that is open."""
    reports = [one.report for one in outcomes if one.report is not None]
    unchecked = [call for report in reports for call in report.unchecked]
    if not unchecked or not all(map(is_zero, unchecked)):
        return []
    layers = list(dict.fromkeys(call.layer for call in unchecked))
    said = {"count": len(layers), "draws": SEEDS, "layer": layers[0] or "(root)"}
    if all(call.at.is_gradient for call in unchecked):
        return [
            phrase(
                "{count} layers got no gradient with {draws} draws of first weights, the first is "
                "{layer}: nothing shows how they train. If nothing they give has an influence, as "
                "behind a softmax over one class, build the net with more (--args)",
                **said,
            )
        ]
    return [
        phrase(
            "{count} layers stayed zero with {draws} draws of first weights, the first is {layer}: "
            "give trained weights (--weights), or a larger --input-shape or batch",
            **said,
        )
    ]
