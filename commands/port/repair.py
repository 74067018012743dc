"""Tries other spellings of calls in the code that a proof blames; keeps what closes a finding."""

from collections.abc import Callable, Sequence

from commands.port.prove import Climb
from port.port import Port
from port.write.gaps import SpellingChoice

MOST = 4  # trials, each of which is a whole proof
Prove = Callable[[Port], list[Climb]]


def repaired(
    port: Port,
    climbs: list[Climb],
    write: Callable[[dict[SpellingChoice, int]], Port],
    prove: Prove,
) -> tuple[Port, list[Climb]]:
    """Return the port with the spellings that a proof likes best, and its outcomes.

    write: writes the port with other spellings; prove: climbs the rungs for it.
    """
    chosen: dict[SpellingChoice, int] = {}
    best = port, climbs
    waiting = [(one, n) for one in candidates(port, climbs) for n in range(1, one.count + 1)]
    for choice, number in waiting[:MOST]:
        if choice in chosen or not faults(best[1]):
            continue
        tried = write({**chosen, choice: number})
        found = prove(tried)
        if found and faults(found) < faults(best[1]):
            chosen[choice], best = number, (tried, found)
    if chosen or waiting:
        write(chosen)  # the last trial may have been another
    return best


def candidates(port: Port, climbs: Sequence[Climb]) -> list[SpellingChoice]:
    """Return the calls that may be spelled otherwise, those in blamed files first."""
    blamed = [
        (found.paddle_source or "").rpartition(":")[0]
        for climb in climbs
        for found in ([] if climb.report is None else climb.report.divergences)
    ]

    def is_blamed(path: str) -> bool:
        return any(place.endswith(f"/{path}") for place in blamed)

    files = sorted(port.files, key=lambda file: not is_blamed(file.path))
    return [choice for file in files for choice in file.needs.choices]


def faults(climbs: Sequence[Climb]) -> int:
    """Return how much is wrong: every rung that differs, and every place."""
    return sum(
        1 + (0 if climb.report is None else len(climb.report.divergences))
        for climb in climbs
        if climb.code == 1
    )
