"""Hostile files: every command ends as foreseen, in bounds, runs nothing and leaves nothing."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.hostile.case import problems_of
from tests.hostile.corpus import LONG, QUICK, cases

SEED, DRAWN = 0, 8
LEAST = 600
MAKERS = {"checkpoints": (), **{maker.__name__: (maker,) for maker in QUICK + LONG}}
counted = []  # names of the cases that were run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


def wrong_of(drawn, place):
    """Return {name: (what was wrong, what was printed)} of cases."""
    found = {}
    for number, case in enumerate(drawn):
        folder = place / f"case{number}"
        wrong, said = problems_of(case, folder, place / "ran")
        shutil.rmtree(folder)
        if wrong:
            found[case.name] = wrong, said[-2000:]
    return found


def test_a_sample(place):
    every = list(cases(place / "quick", place / "ran", QUICK))
    rng = np.random.default_rng(SEED)
    quick = [case for case in every if "slow" not in case.name and "backtrack" not in case.name]
    drawn = [quick[number] for number in rng.choice(len(quick), DRAWN, replace=False)]
    assert wrong_of(drawn, place) == {}


@pytest.mark.prove
@pytest.mark.timeout(3000)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", MAKERS)
def test_the_corpus(kind, place):
    every = list(cases(place / kind, place / "ran", MAKERS[kind]))
    counted.extend(case.name for case in every)
    assert wrong_of(every, place) == {}


@pytest.mark.prove
def test_there_are_enough():
    assert len(set(counted)) == len(counted) >= LEAST
