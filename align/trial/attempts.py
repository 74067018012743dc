"""How often, in which ways and why a pair is run until its findings stand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from align.force.frame import NeedsWholeRun
from align.judge.words import Words, listed
from align.record.draws import CallKey
from align.trial.findings import Findings
from align.trial.moved_boundaries import across_moved_boundaries
from align.trial.setup import Setup


@dataclass(frozen=True)
class Attempt:
    """One way to record the reference.

    `alone` judges layers while the reference's backward runs: that holds fewer arrays at a time.
    `copies` records copies of them. `why` is the kind of the words that say what it is for that the
    one before cannot do.
    """

    alone: bool
    copies: bool
    why: str = ""


# Tried from the first on. What does not serve a pair is not tried again with it.
ATTEMPTS = (
    Attempt(alone=True, copies=False),
    Attempt(alone=False, copies=False, why="not_by_themselves"),
    Attempt(alone=False, copies=True, why="writes_into_recording"),
)
# Each attempt that serves is made again, for two more reasons (kinds of words) so often at most.
MASKS, MOST_MASKS = "masks_turned", 2  # for each choice of containers
CONTAINERS, MOST_CONTAINERS = "containers_taken_apart", 6
# All in all: every attempt but the last may fail once, the others are for these two reasons.
MOST_RUNS = len(ATTEMPTS) - 1 + (1 + MOST_MASKS) * (1 + MOST_CONTAINERS)


@dataclass(frozen=True)
class Way:
    """How one run is made.

    `as_glue` are groups of the pairing that are judged as code around others, `below` calls whose
    masks are tried the other way round, `turned` counts how often these were chosen.
    """

    attempt: Attempt
    as_glue: frozenset[int] = frozenset()
    below: frozenset[CallKey] = frozenset()
    turned: int = 0


class MaskTheOtherWay(Exception):
    """Random code of the port differs if it keeps what is above a rate: it may keep the rest."""

    def __init__(self, below: frozenset[CallKey]) -> None:
        self.below = below


class Runnable(Protocol):
    """What `aligned` runs: see `align.trial.trial.Trial`."""

    @property
    def setup(self) -> Setup:
        """Return the nets and how they run."""

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Return the rows of `ATTEMPTS` that make sense."""

    def align(self, way: Way) -> Findings:
        """Record, force and judge; raises NeedsWholeRun and MaskTheOtherWay."""

    def is_seen(self, found: Findings, path: str) -> bool | None:
        """Tell whether a lost layer's result reaches anything that is judged; None: unknown."""


def aligned(trial: Runnable) -> Findings:
    """Return what `trial` finds, run again for as long as there is a reason in this file.

    Every run starts from the port's buffers of now. More runs than one are told in a note.

    Raises:
        NeedsWholeRun: the last attempt does not serve either.
    """
    from align.nets.prepare_paddle import remembered

    undo = remembered(trial.setup.sides.port)
    attempts = iter(trial.attempts)
    search = across_moved_boundaries(trial.is_seen, MOST_CONTAINERS)
    way = Way(next(attempts), next(search))
    reasons: Counter[str] = Counter()
    while True:
        result = _tried(trial, way)
        if isinstance(result, NeedsWholeRun):
            attempt = next(attempts, None)
            if attempt is None:
                raise result
            way, reason = replace(way, attempt=attempt), attempt.why
        elif isinstance(result, MaskTheOtherWay):
            way, reason = replace(way, below=result.below, turned=way.turned + 1), MASKS
        else:
            try:
                way, reason = Way(way.attempt, search.send(result)), CONTAINERS
            except StopIteration as end:
                best: Findings = end.value
                best.notes += _in_words(reasons)
                return best
        reasons[reason] += 1
        assert reasons.total() < MOST_RUNS
        undo()


def _tried(trial: Runnable, way: Way) -> Findings | NeedsWholeRun | MaskTheOtherWay:
    """Return what one run finds, or what it raises to be made otherwise, without its arrays."""
    try:
        return trial.align(way)
    except (NeedsWholeRun, MaskTheOtherWay) as reason:
        return reason.with_traceback(None)


def _in_words(reasons: Counter[str]) -> list[Words]:
    """Say how often a pair was run and why, if it was more than once."""
    if not reasons:
        return []
    said = [
        Words("several_times", what=Words(why), count=count) if count > 1 else Words(why)
        for why, count in reasons.items()
    ]
    return [Words("several_runs", count=1 + reasons.total(), why=listed(said, "also"))]
