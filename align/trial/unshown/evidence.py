"""Layers of which all that was compared is empty, or zero on both sides: nothing was shown."""

from collections.abc import Iterable

from align.judge.comparison import EQUAL, UNCHECKED, Comparison
from align.judge.words import Cause
from align.record.draws import MASK
from align.record.trace import Trace
from align.trial.findings import Findings


def doubt_nothing_shown(found: Findings) -> None:
    """Turn what is equal into could not check where a layer has no other evidence."""
    for own in in_doubt(found).values():
        gradients = any(comparison.at.is_gradient for comparison in own)
        for comparison in own:
            empty = 0 in comparison.shape
            zero = "zero_gradient_on_both_sides" if gradients else "zero_on_both_sides"
            comparison.verdict = UNCHECKED
            comparison.cause = Cause("empty_on_both_sides" if empty else zero)
    for own in _all_empty(found.values):
        for comparison in own:
            comparison.verdict, comparison.cause = UNCHECKED, Cause("empty_on_both_sides")


def _all_empty(values: Iterable[Comparison]) -> list[list[Comparison]]:
    """Return the outputs of each call that returns nothing but empty tensors: no box was found."""
    calls: dict[str, list[Comparison]] = {}
    for comparison in values:
        if comparison.at.kind == "output":
            calls.setdefault(comparison.call, []).append(comparison)
    return [
        own
        for own in calls.values()
        if all(c.verdict == EQUAL and 0 in c.shape and not c.cause for c in own)
    ]


def in_doubt(found: Findings) -> dict[str, list[Comparison]]:
    """Return {layer of the port: its comparisons} where these say nothing of the layer.

    Those of the backward pass where there is one: a layer whose gradients are zero although its
    values are not, and one flows into it, was compared (a rounding has no slope). What random
    code made zero is what it drew, which is judged.
    """
    values, gradients = _by_layer(found.values), _by_layer(found.gradients)
    drew = {path for draw in found.trace.draws for path, _ in draw.calls}
    partners = found.judged.partners
    silent = {
        layer: own
        for layer, own in values.items()
        if partners.get(layer) not in drew and all(map(_says_nothing, own))
    }
    if not gradients:
        return silent
    flows = _gets_a_gradient(found.gradients)
    dropped = _may_drop_all(found.trace)
    return {
        layer: own
        for layer, own in gradients.items()
        if all(map(_says_nothing, own))
        and not dropped
        and (layer in silent or (layer and partners.get(layer) not in flows))
    }


def _by_layer(comparisons: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    found: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        found.setdefault(comparison.layer, []).append(comparison)
    return found


def _says_nothing(comparison: Comparison) -> bool:
    """Tell whether it compared nothing, or zeros with zeros."""
    if comparison.verdict != EQUAL or comparison.cause:
        return False
    return 0 in comparison.shape or comparison.scale == comparison.relative_error == 0.0


def _gets_a_gradient(gradients: Iterable[Comparison]) -> set[str]:
    """Return the reference's modules to whose outputs a gradient comes that is not zero."""
    return {
        call.call.rpartition("#")[0]
        for call in gradients
        if call.at.kind == "grad_output" and call.scale
    }


def _may_drop_all(trace: Trace) -> bool:
    """Tell whether random code may have put zeros in place of a whole tensor."""
    return any(draw.kind != MASK or not draw.values.any() for draw in trace.draws)
