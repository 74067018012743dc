"""Tries other spellings of calls in the code that a proof blames; keeps what closes a finding."""

import time
from collections.abc import Callable, Sequence

from commands.port.prove import NAMES, Climb
from commands.port.trials import FORWARD, SpellingTrial, trials
from common.words.language import phrase
from port.port import Port
from port.write.gaps import SpellingChoice

LIMIT = 180.0  # seconds in which a trial may begin
Write = Callable[[dict[SpellingChoice, int]], Port]
Climbing = Callable[[Sequence[str]], list[Climb]]


class _Repair:
    """The trials of one port: what was chosen, what was in vain, and the time that is left."""

    def __init__(self, write: Write, climb: Climbing, tell: Callable[[str], None]) -> None:
        self.write, self.climb, self.tell = write, climb, tell
        self.chosen: dict[SpellingChoice, int] = {}
        self.in_vain: set[tuple[bool, SpellingTrial]] = set()
        self.begun = time.monotonic()
        self.untried = 0

    def rung(self, port: Port, first: Climb) -> None:
        """Choose what makes one rung better, which is climbed again for every trial."""
        now = first
        if self.chosen:  # what another rung asked for may have closed this one
            now = _only(self.climb([first.name])) or first
        forward = first.name in FORWARD
        waiting = [one for one in trials(port, now) if (forward, one) not in self.in_vain]
        for number, trial in enumerate(waiting, 1):
            if now.code != 1:
                return
            if time.monotonic() - self.begun > LIMIT:
                self.untried += len(waiting) - number + 1
                return
            self._say(trial, number, len(waiting), first.name)
            self.write({**self.chosen, **trial.spelled})
            found = _only(self.climb([first.name]))
            if found is not None and is_better([found], [now]):
                self.chosen, now = {**self.chosen, **trial.spelled}, found
            else:
                self.in_vain.add((forward, trial))

    def _say(self, trial: SpellingTrial, number: int, count: int, rung: str) -> None:
        first = trial.choices[0]
        left = max(0.0, LIMIT - (time.monotonic() - self.begun))
        self.tell(
            phrase(
                "{what}: trying another spelling of {api} at {place}, {number} of {count}; "
                "trials begin for {seconds} s more",
                what=phrase(NAMES[rung]),
                api=first.api,
                place=first.where,
                number=number,
                count=count,
                seconds=round(left),
            )
        )


def repaired(
    port: Port,
    climbs: list[Climb],
    write: Write,
    climb: Climbing,
    tell: Callable[[str], None],
) -> tuple[Port, list[Climb], str]:
    """Return the port with the spellings that a proof likes best, its outcomes, and what to tell.

    write: writes the port with other spellings; climb: climbs rungs for what is written. Of a
    trial the rung that failed is climbed, and all of them once for what is kept.
    """
    repair = _Repair(write, climb, tell)
    for one in climbs:
        if one.code == 1:
            repair.rung(port, one)
    told = ""
    if repair.untried:
        told = phrase(
            "{count} other spellings were not tried: {seconds} s were over",
            count=repair.untried,
            seconds=round(LIMIT),
        )
    if repair.chosen:
        tried = write(repair.chosen)
        found = climb(list(NAMES))
        if is_better(found, climbs):
            return tried, found, told
    if repair.chosen or repair.in_vain:
        write({})
    return port, climbs, told


def is_better(found: Sequence[Climb], than: Sequence[Climb]) -> bool:
    """Tell whether less is wrong, no rung is worse, and each could be climbed as before.

    A rung in which nothing differs any more, and too little was there to compare, is better than
    one that differs: other first weights can still show the rest.
    """
    if [one.name for one in found] != [one.name for one in than]:
        return False
    if any(_is_worse(now, before) for now, before in zip(found, than, strict=True)):
        return False
    return faults(found) < faults(than)


def _is_worse(now: Climb, before: Climb) -> bool:
    if now.code == 0:
        return False
    if now.code != before.code:
        return now.report is None or before.code != 1
    return faults([now]) > faults([before])


def faults(climbs: Sequence[Climb]) -> int:
    """Return how much is wrong: every rung that differs, and every place."""
    return sum(
        1 + (0 if climb.report is None else len(climb.report.divergences))
        for climb in climbs
        if climb.code == 1
    )


def _only(climbs: Sequence[Climb]) -> Climb | None:
    return climbs[0] if climbs else None
