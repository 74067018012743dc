"""One call of one layer, alone: which change of its code makes the port's difference vanish?

`explain` is asked about layers whose own code differs. Each one's first call is replayed in the
port on the reference's inputs, what it calls hands on the reference's outputs, and hypotheses are
tried. Only what was measured is said.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from align.causes import step_recorder
from align.causes.budget import Budget
from align.causes.meaning import apart
from align.causes.replayed import JudgedTensor, ReplayedCalls
from align.causes.steps import (
    CodeStep,
    Steps,
    differences,
    handed_in_words,
    parting,
    stopped,
    stopped_at,
    value_of,
    word_of,
    words_at,
)
from align.causes.written_out import OTHERWISE
from align.force.call_order import Order
from align.judge.comparison import DIFFERS, Comparison
from align.judge.relations import FLOAT32, REST, factor_of, same
from align.judge.words import Cause, Words, joined
from align.nets import progress
from align.pairing.reference import Reference
from align.pairing.sides import Sides

# So many culprits are replayed at a time; of more, what the first ones share is said of all.
MOST = 12
FEW = 16
# So many places at which one call's code parts from the reference's are tried together.
MOST_PARTINGS = 3
# Below this a replayed tensor is equal; in code that calls an inexact kernel below the second.
EXACT, KERNELS = 1e-9, 1e-5


def explain(
    comparisons: Iterable[Comparison],
    sides: Sides[Reference],
    found: Any,
    replayed: ReplayedCalls,
    known: set[str] | None = None,
) -> None:
    """Write measured causes into comparisons that differ; both nets are `prepared`.

    `found` is what `run_forced` gave, `replayed` gives the reference's calls. `known` are layers
    that were asked about before; those of this call are added to it.
    """
    pairing, judged = sides.pairing, found.judged
    wrong = [c for c in comparisons if c.verdict == DIFFERS and c.layer in judged.port_group]
    wrong = [c for c in wrong if not _told_order(c, found.port_order.order)]
    asked = list(dict.fromkeys(c.layer for c in wrong if c.layer not in (known or set())))
    if known is not None:
        known.update(asked)
    if not asked:
        return
    if len(asked) > MOST:
        found.notes.append(Words("causes_of_the_first", count=len(asked), most=MOST))
        asked = asked[:MOST]
    from align.causes.replay_paddle import Replay

    partners = pairing.partners
    uneven = set(pairing.reference_group) - set(judged.reference_group)
    gradients = any(comparison.at.is_gradient for comparison in wrong)
    groups = set(judged.reference_group), uneven, {partners[p] for p in asked}
    try:
        calls = replayed(*groups, gradients)
    except Exception as error:  # code of the net does not like to be watched: the finding stays
        found.notes.append(_not_sought("no_cause_sought", error))
        return
    budget = Budget()
    progress.begin("seeking causes", len(asked), "layers")
    for path in asked:
        budget.begin(path)
        own = [comparison for comparison in wrong if comparison.layer == path]
        call = calls.get(partners[path])
        if call is None:
            continue
        floor = KERNELS if any(comparison.kernels for comparison in own) else EXACT
        gradients = any(comparison.at.is_gradient for comparison in own)
        told = any(comparison.cause for comparison in own)
        try:
            cause = _cause(Replay(sides, path, call, judged), floor, gradients, told, budget)
            progress.advance()
        except Exception as error:
            found.notes.append(_not_sought("no_cause_of_layer_sought", error, path=path))
            continue
        for comparison in own if cause else ():
            keeps = comparison.relative_error == float("inf") and not _tells(cause, comparison)
            comparison.cause = joined([comparison.cause, cause]) if keeps else cause
    found.notes += budget.notes


def _told_order(comparison: Comparison, order: Order) -> bool:
    """Write another order of calls into what it may explain; a replay goes by the calls' order."""
    cause = order.cause_of(comparison.layer, comparison.where)
    if cause:
        comparison.cause = joined([comparison.cause, cause])
    return bool(cause)


def _tells(cause: Cause | None, comparison: Comparison) -> bool:
    """Tell whether a cause says of a layer that the port lost what its comparison says."""
    lost = comparison.cause
    if cause is None or lost is None or lost.kind != "not_called":
        return False
    told = (part for part in cause.parts() if part.kind == "not_called_here")
    return any(part.values["partner"] == lost.values["path"] for part in told)


def _not_sought(kind: str, error: Exception, **values: str) -> Words:
    return Words(kind, error=type(error).__name__, words=str(error), **values)


def _cause(replay: Any, floor: float, gradients: bool, told: bool, budget: Budget) -> Cause | None:
    """Return what makes the differences of one call vanish, or where they begin."""
    if not budget.spend():
        return None
    places = replay.run()
    wrong = {p.name: p for p in places if p.error > floor}
    said, failed = list(replay.uneven), bool(replay.failure)
    if failed or not (wrong or gradients):
        return joined(said)
    steps, pairs = replay.recorded(gradients)
    reference = replay.call.steps
    if not (steps.whole and reference.whole):
        budget.too_long(step_recorder.MOST_STEPS)
        reference, steps = Steps(), Steps()
    if not wrong:
        cause = stopped(reference, steps, floor) or stopped_at(pairs)
        return joined([*said, cause])
    parted = parting(reference, steps, floor)
    replay.run()
    at = words_at(*parted, steps, floor) if parted else None
    said += _changes(replay, wrong, floor, at, budget, _meant_otherwise(parted))
    uneven = bool(replay.uneven)
    if not said or uneven:
        pool = replay.pool()
        terms = (_in_terms_of(place, pool, reference, floor) for place in wrong.values())
        found = [cause for each in terms for cause in each][:2]
        said += found
    if not said or (uneven and not found):
        cause = _by_steps(replay, wrong, floor, (reference, steps), not told, budget)
        cause = cause or handed_in_words(reference, pairs, floor, not told)
        said += [cause] if cause else []
    return joined(said)


def _meant_otherwise(parted: tuple[CodeStep, CodeStep | None] | None) -> list[tuple[Cause, Any]]:
    """Return each setting, said or a default, that is another one where the codes part."""
    if parted is None or parted[1] is None or parted[0].word != parted[1].word:
        return []
    from align.causes.hypotheses_paddle import other_settings

    return list(other_settings(parted[0].function, apart(parted[0].meant, parted[1].meant)))


def _by_steps(
    replay: Any,
    wrong: Mapping[str, JudgedTensor],
    floor: float,
    codes: tuple[Steps, Steps],
    orders: bool,
    budget: Budget,
) -> Cause | None:
    """Say where the port's code parts from the reference's; what is said together closes the gap.

    `codes` are the reference's and the port's. A step is given what the reference has there; where
    that is not all, the port is followed on from there.
    """
    reference, steps = codes
    said: list[Cause] = []
    patches: list[Any] = []
    for _ in range(MOST_PARTINGS):
        first: tuple[Cause, list[Any]] | None = None
        for cause, instead in differences(reference, steps, floor, orders):
            if not budget.spend():
                return None
            more = replay.patches(steps, instead)
            if _closes(replay, replay.patched([*patches, *more]), wrong, floor):
                return joined([*said, cause])
            if not replay.failure and first is None:
                first = cause, more
        if first is None or not budget.spend():
            return None
        said.append(first[0])
        patches += first[1]
        steps, _ = replay.recorded(False, patches)
    return None


def _closes(
    replay: Any, after: list[JudgedTensor], wrong: Mapping[str, JudgedTensor], floor: float
) -> bool:
    """Tell whether a place that differed is equal after a change, and none differs anew."""
    named: dict[str, JudgedTensor] = {place.name: place for place in after}
    if replay.failure or not set(wrong) <= set(named):
        return False
    better = any(named[n].error <= max(floor, REST * min(p.error, 1.0)) for n, p in wrong.items())
    return better and not any(p.error > floor for n, p in named.items() if n not in wrong)


def _changes(
    replay: Any,
    wrong: Mapping[str, JudgedTensor],
    floor: float,
    at: set[str] | None,
    budget: Budget,
    meant: list[tuple[Cause, Any]],
) -> list[Cause]:
    """Return the first change that explains a place, and further ones for what it leaves."""
    for cause, change in replay.layer_changes():
        if budget.spend() and _closes(replay, replay.run(change), wrong, floor):
            return [cause]
    said: list[Cause] = []
    left = set(wrong)
    for functions in (at, None)[: 1 + (at is not None)]:
        for cause, better in _hypotheses(replay, wrong, floor, functions, budget, meant):
            if left & better:
                said.append(cause)
                left -= better
            if not left:
                return said
        if not said:  # what code elsewhere would make right is no cause by itself
            break
    return said


def _hypotheses(
    replay: Any,
    wrong: Mapping[str, JudgedTensor],
    floor: float,
    at: set[str] | None,
    budget: Budget,
    meant: list[tuple[Cause, Any]],
) -> Iterator[tuple[Cause, set[str]]]:
    """Yield each change of a function call and the places that differ and are equal under it.

    `at` are the functions at which the port's code parts from the reference's, where these are
    known. Of a few numbers many a change gives nearly the right ones: they must be equal.
    """
    for cause, change in chain(replay.hypotheses(), meant):
        if at is not None and word_of(change[0]) not in at and not cause.has(*OTHERWISE):
            continue
        if not budget.spend():
            return
        after = {p.name: p for p in replay.run(change)}
        if replay.failure or set(after) != {*after, *wrong}:
            continue
        rest = {n: floor if p.expected.size < FEW else REST for n, p in wrong.items()}
        better = {n for n, p in wrong.items() if after[n].error <= rest[n] * min(p.error, 1.0)}
        worse = [n for n, p in after.items() if n not in wrong and p.error > floor]
        if better and not worse:
            yield cause, better


def _in_terms_of(
    place: JudgedTensor, pool: Mapping[Words, np.ndarray], reference: Steps, floor: float
) -> Iterator[Cause]:
    """Say a wrong tensor by the other tensors of the same call."""
    found, expected = place.found, place.expected
    if found is None or found.dtype.kind != "f" or expected.dtype.kind != "f":
        return
    usable = {n: _spread(a, expected.shape) for n, a in pool.items() if a.dtype.kind == "f"}
    own = {n: a for n, a in pool.items() if a.shape == found.shape and a.dtype.kind == "f"}
    same_shape = found.shape == expected.shape
    difference = expected - found if same_shape else np.zeros(0)
    rest = REST * float(np.abs(difference).max(initial=0.0))
    for name, other in usable.items() if same_shape else ():
        factor = None if other is None else factor_of(difference, other, rest)
        if factor is not None:
            yield _missing(place.name, name, factor)
            return
    for name, array in own.items():
        if same(array, found, REST * float(np.abs(found).max())):
            right = next((n for n, a in own.items() if np.array_equal(a, expected)), None)
            right = right or reference.say(value_of(expected, False), floor, but=place.name)
            if right:
                yield Cause("is_other", place=place.name, port=name, reference=right)
            else:
                yield Cause("is", place=place.name, what=name)
            return
    for name, other in usable.items() if same_shape else ():
        if other is None:
            continue
        if same(found * other, expected, rest):
            yield Cause("not_multiplied", place=place.name, what=name)
            return
        slopes = _slopes(found, expected, other, rest)
        if slopes is not None:
            yield Cause("slope", place=place.name, port=slopes[0], reference=slopes[1])
            return


def _missing(place: Words, what: Words, factor: float) -> Cause:
    if abs(factor - 1) < REST:
        return Cause("not_added", what=what, place=place)
    if abs(factor + 1) < REST:
        return Cause("added_too_often", what=what, place=place)
    kind = "times_missing_float32" if abs(factor) < FLOAT32 else "times_missing"
    return Cause(kind, factor=factor, what=what, place=place)


def _slopes(found: Any, expected: Any, source: Any, rest: float) -> tuple[float, float] | None:
    """Return (port's, reference's) slope where both are the input above zero, a multiple below."""
    low = source < 0
    if not low.any() or low.all() or source.shape != found.shape:
        return None
    ours = factor_of(found[low], source[low], rest)
    theirs = factor_of(expected[low], source[low], rest)
    if ours is None or theirs is None or not same(found[~low], expected[~low], rest):
        return None
    return ours, theirs


def _spread(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if array.ndim != len(shape) or array.size < 2:
        return None
    if any(a not in (1, b) for a, b in zip(array.shape, shape, strict=True)):
        return None
    return np.broadcast_to(array, shape)
