"""How often a pair is run, in which ways, and what the notes say of it."""

from types import SimpleNamespace

import pytest

pytest.importorskip("paddle")

from paddle import nn as pnn

from align.force.frame import NeedsWholeRun
from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import in_both
from align.pairing.by_path import Pairing
from align.trial.attempts import ATTEMPTS, MOST_RUNS, MaskTheOtherWay, aligned
from align.trial.findings import Findings

PATHS = {path: group for group, path in enumerate(["", "one", "one.0", "two", "two.0"])}
PAIRING = Pairing(PATHS, PATHS)


def found(*wrong):
    """Return what a run found: an output of each of these containers differs."""
    calls = [
        Comparison(path, f"{path}#0", "output:0", "glue", verdict=DIFFERS, relative_error=0.5)
        for path in wrong
    ]
    return Findings(None, None, PAIRING, PAIRING, None, calls)


class Scripted:
    """A pair whose runs go by what `outcome` says of each way: raise it, or find it."""

    attempts = ATTEMPTS

    def __init__(self, outcome):
        self.outcome, self.ways = outcome, []
        self.port = pnn.BatchNorm1D(1)
        self.setup = SimpleNamespace(sides=SimpleNamespace(port=self.port))

    def align(self, way):
        assert self.port._mean.item() == 0.0, "a run starts from the buffers of the first"
        self.port._mean.set_value(self.port._mean + 1.0)
        self.ways.append(way)
        result = self.outcome(way)
        if isinstance(result, Exception):
            raise result
        return result

    def is_seen(self, findings, path):
        return True


def test_one_run_needs_no_note():
    trial = Scripted(lambda way: found())
    assert aligned(trial).notes == []
    assert [way.attempt for way in trial.ways] == [ATTEMPTS[0]]


def test_what_does_not_serve_is_not_tried_again_with_containers_as_glue():
    def outcome(way):
        return NeedsWholeRun() if way.attempt.alone else found("one")

    trial = Scripted(outcome)
    assert aligned(trial).notes == [
        "the pair was run 3 times: layers could not be judged by themselves; containers were tried "
        "as code around what they hold"
    ]
    assert [way.attempt for way in trial.ways] == [ATTEMPTS[0], ATTEMPTS[1], ATTEMPTS[1]]
    assert [set(way.as_glue) for way in trial.ways] == [set(), set(), {PATHS["one"]}]


def test_masks_are_turned_for_each_choice_of_containers():
    def outcome(way):
        key = ("one", 0)
        if way.turned == 0:
            return MaskTheOtherWay(frozenset({key}))
        assert way.below == {key}
        return found("one")

    trial = Scripted(outcome)
    (note,) = aligned(trial).notes
    assert note == (
        "the pair was run 4 times: masks were tried the other way round (2 times); containers were "
        "tried as code around what they hold"
    )
    assert [way.turned for way in trial.ways] == [0, 1, 0, 1]


def test_the_last_attempt_raises_what_it_raises():
    trial = Scripted(lambda way: NeedsWholeRun())
    with pytest.raises(NeedsWholeRun):
        aligned(trial)
    assert [way.attempt for way in trial.ways] == list(ATTEMPTS)


def test_the_worst_pair_is_run_as_often_as_the_table_says():
    """Every attempt but the last fails, every mask is turned twice, no container explains."""
    many = {path: n for n, path in enumerate(["", *"abcdefgh", *(f"{c}.0" for c in "abcdefgh")])}
    pairing = Pairing(many, many)

    def outcome(way):
        if way.attempt is not ATTEMPTS[-1]:
            return NeedsWholeRun()
        if way.turned < 2:
            return MaskTheOtherWay(frozenset({("a", way.turned)}))
        own = found(*"abcdefgh")
        own.pairing = own.judged = pairing
        return own

    trial = Scripted(outcome)
    (note,) = aligned(trial).notes
    assert len(trial.ways) == MOST_RUNS == 23
    assert note.startswith("the pair was run 23 times: ")
    english, chinese = in_both(note)
    assert english == note
    assert not set("abcdefghijklmnopqrstuvwxyz") & set(chinese)
