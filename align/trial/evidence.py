"""Layers of which all that was compared is empty, or zero on both sides: nothing was shown."""

from collections.abc import Iterable

from align.judge.comparison import EQUAL, UNCHECKED, Comparison
from align.judge.words import Cause
from align.record.trace import Trace


def doubt_nothing_shown(comparisons: Iterable[Comparison], trace: Trace) -> None:
    """Turn what is equal into could not check where a layer has no other evidence.

    A tensor that random code made zero is what it drew, which is judged.
    """
    drew = {path for draw in trace.draws for path, _ in draw.calls}
    by_layer: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_layer.setdefault(comparison.layer, []).append(comparison)
    for layer, own in by_layer.items():
        gradients = any(comparison.at.is_gradient for comparison in own)
        if (gradients and drew) or layer in drew or not all(map(_says_nothing, own)):
            continue
        for comparison in own:
            empty = 0 in comparison.shape
            zero = "zero_gradient_on_both_sides" if gradients else "zero_on_both_sides"
            comparison.verdict = UNCHECKED
            comparison.cause = Cause("empty_on_both_sides" if empty else zero)


def _says_nothing(comparison: Comparison) -> bool:
    """Tell whether it compared nothing, or zeros with zeros."""
    if comparison.verdict != EQUAL or comparison.cause:
        return False
    return 0 in comparison.shape or comparison.scale == comparison.relative_error == 0.0
