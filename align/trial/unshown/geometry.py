"""Windows that read other places, which small maps do not tell: a dilation beyond them, say."""

from collections.abc import Sequence
from typing import Any

from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import Cause
from align.pairing.sides import Sides
from align.trial.findings import Findings


def unshown_geometry(
    sides: Sides[Any], found: Findings, judged: Sequence[Comparison]
) -> list[Comparison]:
    """Return the settings of convolutions and poolings that differ where the values are equal.

    On a map of 8x8, a 3x3 convolution of dilation 32 reads one place, as one of dilation 16 does;
    `ceil_mode` shows only where sizes do not divide. Such layers are other functions still.
    `judged` is what was compared of them.
    """
    wrong = {call.layer for call in judged if call.verdict == DIFFERS}
    called = {call.path for call in found.trace.calls}
    ran = {port for port, path in found.judged.partners.items() if path in called}
    differing = sides.at_rest.other_geometry(ran - wrong)
    for call in differing:
        if call.cause:
            call.cause = call.cause.also(Cause("not_shown"))
    return differing
