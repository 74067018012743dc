"""What two replays of a step come to: a verdict in one of few kinds, its exit code, its words."""

from dataclasses import dataclass
from typing import Any

from commands.entry import CHECKED_BAD, CHECKED_GOOD, COULD_NOT_CHECK
from commands.replay.sides import ReplayedSide, StepReplay
from commands.replay.sighting import UPDATE, Sighting
from common.words.language import phrase

# Phases of a step, as phrases.
PHASES = {
    "data": "in the images",
    "weights": "in the weights, before the step: an earlier update made it",
    "forward": "in the forward pass",
    "loss": "in the loss",
    "backward": "in the backward pass",
    "update": "in the update",
}


@dataclass(frozen=True)
class ReplayVerdict:
    """kind: both, elsewhere, one, update, alone, other, mended, gone; `words` say it."""

    kind: str
    exit_code: int
    words: str


def judged(replay: StepReplay, own: ReplayedSide, other: ReplayedSide | None) -> ReplayVerdict:
    """Return the verdict of a step; `other` is None where the other framework could not run it."""
    names = {"name": own.framework, "other": replay.other}
    if own.first is None:
        return _finite(replay, other, names)
    at = told_place(own.first)
    if other is None:
        text = phrase("the first value that is not finite stands {at}, in {name}", at=at, **names)
        return ReplayVerdict("alone", CHECKED_BAD, text)
    if other.first is None and own.first.phase == UPDATE:
        text = phrase(
            "the first value that is not finite stands {at}, in {name}: look at the rate and at "
            "what the optimizer holds (momentum, squares), which {other} began without",
            **{"at": at, **names},
        )
        return ReplayVerdict("update", CHECKED_BAD, text)
    if other.first is None:
        text = phrase(
            "the first value that is not finite stands {at}, in {name} alone: the same step is "
            "finite in {other}, so look at what the two codes do there",
            **{"at": at, **names},
        )
        return ReplayVerdict("one", CHECKED_BAD, text)
    if _place(replay, own) == _place(replay, other):
        text = phrase(
            "the first value that is not finite stands {at}, on both frameworks: it is the data, "
            "the rate or the recipe, not the port",
            at=at,
        )
        return ReplayVerdict("both", CHECKED_BAD, text)
    text = phrase(
        "the first value that is not finite stands {at} in {name}, and {there} in {other}",
        **{"at": at, "there": told_place(other.first), **names},
    )
    return ReplayVerdict("elsewhere", CHECKED_BAD, text)


def _finite(replay: StepReplay, other: ReplayedSide | None, names: dict[str, str]) -> ReplayVerdict:
    if other is not None and other.first is not None:
        text = phrase(
            "the step is finite in {name} now, and not in {other}: there it begins {at}",
            **{"at": told_place(other.first), **names},
        )
        return ReplayVerdict("other", CHECKED_BAD, text)
    if changed := replay.step.changed:
        text = phrase(
            "mended: the step is finite, and {files} changed since the run",
            files=", ".join(changed),
        )
        return ReplayVerdict("mended", CHECKED_GOOD, text)
    if replay.step.compiled:
        text = phrase(
            "could not check: the step is finite where the net runs as it is written, and the run "
            "computed with a compiled one: train with train.compile=false, and see"
        )
        return ReplayVerdict("gone", COULD_NOT_CHECK, text)
    text = phrase(
        "could not check: the step is finite now, and no code of yours changed; what made it "
        "infinite is not in what was saved (another device or version, or a generator)"
    )
    return ReplayVerdict("gone", COULD_NOT_CHECK, text)


def _place(replay: StepReplay, side: ReplayedSide) -> tuple[str, str, str]:
    assert side.first is not None
    phase, part, layer = side.first.place
    is_port = side.framework == "paddle" and part == "net"
    return phase, part, replay.partner(layer) if is_port else layer


def told_place(found: Sighting) -> str:
    """Say in words where a value stood: phase, layer, tensor."""
    layer = found.layer if found.part == "net" else f"criterion.{found.layer}".rstrip(".")
    words = {"phase": phrase(PHASES[found.phase]), "layer": layer, "where": found.where}
    if not layer:
        return phrase("{phase}, {where}", **words)
    kind = f" ({found.kind})" if found.kind else ""
    return phrase("{phase}, layer {layer}, {where}", **{**words, "layer": layer + kind})


def told_values(found: Sighting) -> str:
    """Say how many values it was, and at which line."""
    bad = found.bad
    text = phrase(
        "{nan} NaN and {infinite} infinite of {total} values, the first at {index}",
        nan=bad.nan,
        infinite=bad.infinite,
        total=bad.total,
        index=list(bad.index),
    )
    return f"{text}; {found.source}" if found.source else text


def as_plain(side: ReplayedSide | None, reason: str) -> dict[str, Any]:
    """Return one side as plain values; `reason` says why it could not run."""
    if side is None:
        return {"could_not_run": reason}
    return {
        "version": side.version,
        "device": side.device,
        "losses": {name: repr(float(value)) for name, value in side.losses.items()},
        "first": side.first.to_dict() if side.first else None,
        "first_nan": side.first_nan.to_dict() if side.first_nan else None,
    }
