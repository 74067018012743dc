"""A part of the mutation suite: each fault is found, blamed on its layer, and told its cause.

The whole suite is docs/proof/faults.py, which `make prove` runs.
"""

import pytest

pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.faults import ALL, SUBJECTS, Fault, run_stage, triples
from tests.faults.core import found_layers

SLOW = {"stdc"}
OLD = paddle.__version__ < "3"


def stage(number, fault):
    """Return one stage of a fault; the proof runs all.

    Of one fault in two the one that sees most, of the other the first that runs the net.
    """
    runs = [name for name in ("forward", "train") if number % 2 and name in fault.blame]
    return [*fault.blame, *runs[:1]][-1]


def drawn():
    """Return one in two of the faults that a stage sees in a subject, the first of them always."""
    found = {}
    for number, fault in enumerate(ALL):
        if fault.subject not in SLOW:
            case = fault, stage(number, fault)
            found.setdefault((fault.subject, case[1]), []).append(case)
    return [case for cases in found.values() for case in cases[::2]]


SMALL = drawn()
STDC = [
    (fault, stages[-1])
    for fault in ALL
    if fault.subject in SLOW
    and fault.name == "OHEM threshold"  # docs/proof/faults.py runs all
    and (stages := [s for s in fault.blame if s in ("forward", "backward", "loss")])
]


def named(case):
    fault, stage = case
    return f"{fault.subject}: {fault.name} ({stage})"


@pytest.mark.parametrize("case", SMALL + STDC, ids=named)
def test_fault_is_found_at_its_layer_with_its_cause(case):
    fault, stage = case
    subject = SUBJECTS[fault.subject]()
    fault.apply(subject)
    report = run_stage(stage, subject)
    assert report.exit_code == 1, report.verdict
    assert found_layers(report) == fault.layers(stage, subject)
    assert not fault.cause or fault.right_cause(report), [str(d) for d in report.divergences]


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name not in SLOW])
def test_healthy_subject_raises_no_alarm(name):
    if name == "masks" and OLD:
        pytest.skip("pos_weight beside soft labels is another loss before Paddle 3.0")
    for stage in SUBJECTS[name]().stages:
        report = run_stage(stage, SUBJECTS[name]())
        assert report.exit_code == 0, (stage, report.verdict)


def test_three_faults_at_once_are_three_findings():
    small = [fault for fault in ALL if fault.subject not in SLOW]
    for stage, three in triples(small, count=3, seed=1):
        subject = SUBJECTS[three[0].subject]()
        for fault in three:
            fault.apply(subject)
        report = run_stage(stage, subject)
        expected = frozenset().union(*(fault.layers(stage, subject) for fault in three))
        assert found_layers(report) == expected, [fault.name for fault in three]


def test_the_suite_is_as_large_as_promised():
    assert len(ALL) >= 60
    assert sum(fault.subject == "stdc" for fault in ALL) >= 20
    assert len({(fault.subject, fault.name) for fault in ALL}) == len(ALL)
    stages = {stage for fault in ALL for stage in fault.blame}
    assert stages >= {"weights", "init", "forward", "loss", "backward", "step", "data", "metric"}
    assert all(isinstance(fault, Fault) for fault in ALL)
