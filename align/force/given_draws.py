"""Hands the reference's random draws to the code of the port that draws."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np

from align.judge.words import Cause, Words
from align.record.draws import (
    MASK,
    NEAR,
    NORMAL,
    UNIFORM,
    UNKNOWN,
    CallKey,
    Draw,
    DrawKind,
    by_owner,
)

WORDS = {MASK: Words("mask"), UNIFORM: Words("uniform"), NORMAL: Words("normal")}


@dataclass(frozen=True)
class Wanted:
    """What a random function of the port is about to give.

    `keep` is the probability of True in a mask; `may_flip` tells that code may use it the other
    way round, as the mask of what is dropped.
    """

    function: str
    kind: DrawKind
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    keep: float = 0.5
    may_flip: bool = False

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.function} {list(self.shape)}"


@dataclass
class DrawingCall:
    """A running call of the port: what is left for it, and what was said of it."""

    path: str
    key: CallKey
    left: list[Draw]
    below: bool
    known: bool  # everything its partner drew can be given again
    wrong: Cause | None = None
    escaped: bool = False


class DrawGiver:
    """Gives each call of the port what its partner drew, draw by draw.

    Args:
        draws: what the reference drew.
        judged: paths of the reference's modules whose calls have a partner.
        below: calls whose code keeps what is below a rate, not what is above.
    """

    def __init__(
        self,
        draws: Iterable[Draw],
        judged: Collection[str],
        below: Collection[CallKey] = (),
    ) -> None:
        self.draws = by_owner(draws, judged)
        self.below = below
        # Hears of each call whose draws do not fit: (path in the port, its partner, why).
        self.told: Callable[[str, CallKey, Cause], None] | None = None
        self.frames: list[DrawingCall] = []
        self.either: set[CallKey] = set()  # calls that may keep what is below as well as above
        self.unknown: dict[CallKey, str] = {
            key: next(draw.function for draw in own if draw.kind == UNKNOWN)
            for key, own in self.draws.items()
            if any(draw.kind == UNKNOWN for draw in own)
        }

    def change(self, key: CallKey, layout: Callable[[np.ndarray], np.ndarray]) -> None:
        """Give the values of a call in another layout."""
        if key in self.draws:
            changed = [replace(draw, values=layout(draw.values)) for draw in self.draws[key]]
            self.draws[key] = changed

    def enter(self, path: str, key: CallKey) -> None:
        """Begin a call of `path` in the port; `key` is its partner's."""
        left = [] if key in self.unknown else list(self.draws.get(key, ()))
        self.frames.append(DrawingCall(path, key, left, key in self.below, key not in self.unknown))

    def leave(self) -> None:
        """End it."""
        frame = self.frames.pop()
        if frame.left and not frame.escaped and not frame.wrong:
            frame.wrong = Cause("draws_less", reference=str(frame.left[0]))
        if frame.wrong and frame.known and self.told is not None:
            self.told(frame.path, frame.key, frame.wrong)

    def escaped(self) -> None:
        """Note that code of the port drew what it was not given."""
        if self.frames:
            frame = self.frames[-1]
            if frame.left:
                frame.escaped = True
                self.unknown[frame.key] = Words("out_of_reach", function=frame.left[0].function)

    def next(self, wanted: Wanted) -> np.ndarray:
        """Return the values of a draw of the port, of its shape: bool for a mask, else float."""
        if not self.frames:
            return _own(wanted)
        frame = self.frames[-1]
        draw = frame.left.pop(0) if frame.left else None
        wrong = frame.wrong or _misfit(draw, wanted)
        if draw is None or wrong:
            frame.wrong = wrong
            return _own(wanted)
        if draw.kind == UNIFORM or wanted.kind == UNIFORM or _is_even(draw, wanted):
            self.either.add(frame.key)
        return _converted(draw, wanted, frame.below).reshape(wanted.shape)


def _own(wanted: Wanted) -> np.ndarray:
    """Return numbers for a draw that has no partner: the same ones in each run."""
    rng = np.random.default_rng(0)
    if wanted.kind == NORMAL:
        return wanted.low + wanted.high * rng.standard_normal(wanted.shape)
    uniform = rng.random(wanted.shape)
    if wanted.kind == MASK:
        return uniform < wanted.keep
    return wanted.low + (wanted.high - wanted.low) * uniform


def _misfit(draw: Draw | None, wanted: Wanted) -> Cause | None:
    """Say why `draw` cannot stand for what the port draws; None where it can."""
    if draw is None:
        return Cause("draws_more", port=str(wanted))
    kinds = {draw.kind, wanted.kind}
    if NORMAL in kinds and len(kinds) > 1:
        return Cause("draws_other", port=WORDS[wanted.kind], reference=WORDS[draw.kind])
    if not _is_one_shape(draw.values.shape, wanted.shape):
        return Cause("draws_other", port=str(wanted), reference=str(draw))
    if draw.kind == wanted.kind == MASK and draw.keep is not None:
        flipped = wanted.may_flip and abs(1.0 - wanted.keep - draw.keep) < NEAR
        if abs(wanted.keep - draw.keep) > NEAR and not flipped:
            shares = {"port": wanted.keep, "reference": draw.keep}
            return Cause("keeps_other_share", function=wanted.function, **shares)
    return None


def _is_one_shape(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether neighbouring axes of one shape, taken together, give the other."""
    bounds = [set(np.cumprod([n for n in shape if n != 1]).tolist()) for shape in (one, other)]
    same_size = np.prod(one) == np.prod(other)
    return bool(same_size) and (bounds[0] <= bounds[1] or bounds[1] <= bounds[0])


def _is_even(draw: Draw, wanted: Wanted) -> bool:
    """Tell whether a mask's rate leaves open which way round the port uses it."""
    return wanted.may_flip and (draw.keep is None or abs(draw.keep - 0.5) < NEAR)


def _converted(draw: Draw, wanted: Wanted, below: bool) -> np.ndarray:
    """Return what a draw of the reference gives the port in place of its own."""
    if wanted.kind == NORMAL:
        if (draw.low, draw.high) == (wanted.low, wanted.high):
            return draw.values
        return (draw.values - draw.low) / draw.high * wanted.high + wanted.low
    if wanted.kind == MASK:
        return _as_mask(draw, wanted, below)
    if draw.kind == UNIFORM and not below and (draw.low, draw.high) == (wanted.low, wanted.high):
        return draw.values
    unit = _as_unit(draw, below)
    return wanted.low + (wanted.high - wanted.low) * unit


def _as_mask(draw: Draw, wanted: Wanted, below: bool) -> np.ndarray:
    if draw.kind == UNIFORM:
        unit = (draw.values - draw.low) / (draw.high - draw.low)
        return unit < wanted.keep if below else unit >= 1.0 - wanted.keep
    mask = draw.values.astype(bool)
    if _is_even(draw, wanted):
        return ~mask if below else mask
    flipped = draw.keep is not None and abs(wanted.keep - draw.keep) > NEAR
    return ~mask if flipped else mask


def _as_unit(draw: Draw, below: bool) -> np.ndarray:
    """Return numbers in [0, 1): of a mask, where `keep + number >= 1` or `number < keep`."""
    if draw.kind == UNIFORM:
        unit = (draw.values - draw.low) / (draw.high - draw.low)
        return 1.0 - unit if below else unit
    keep = draw.keep
    kept = draw.values.astype(bool)
    if keep is None:
        return np.where(kept != below, 1.0 - NEAR, NEAR)
    if below:
        return np.clip(np.where(kept, keep - NEAR, keep + NEAR), 0.0, 1.0 - NEAR)
    return np.clip(np.where(kept, 1.0 - keep + NEAR, 1.0 - keep - NEAR), 0.0, 1.0 - NEAR)
