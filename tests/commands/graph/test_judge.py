"""Two runs are equal or they are not: outputs, gradients by name, running statistics."""

import numpy as np
import pytest

from commands.graph.judge import (
    Judged,
    distance,
    exit_code,
    float32_allowance,
    float64_allowance,
    judged_gradients,
    judged_outputs,
    judged_statistics,
)
from commands.graph.ran import GraphRun
from port.graph.account import RENAMED, TRANSPOSED, GraphAccount, TensorWay
from port.graph.mend import Norm

A = np.linspace(1, 2, 6).reshape(2, 3)


def code_of(one, other, allowed=1e-9, noise=0.0):
    return judged_outputs("n", GraphRun(one), GraphRun(other), allowed, noise).code


def test_outputs_are_equal_within_what_is_allowed():
    assert code_of([A], [A + 1e-12]) == 0
    assert code_of([A], [A + 1e-6]) == 1
    assert code_of([A, A], [A]) == 1
    assert code_of([A], [A.T]) == 1
    assert code_of([A, A], [A, A * 1.001]) == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_values_that_are_not_finite_are_never_near(wrong):
    other = A.copy()
    other[0, 0] = wrong
    assert code_of([A], [other], 1e9) == 1
    assert code_of([other], [other]) == (2 if np.isnan(wrong) else 0)
    assert code_of([other], [other + 1e-12]) == (2 if np.isnan(wrong) else 0)
    assert code_of([other], [other * 2]) == 1
    assert Judged("n", 1, float("inf"), 1.0).to_dict()["error"] is None


@pytest.mark.parametrize("empty", [0 * A, A[:0], A * np.inf], ids=["zeros", "empty", "infinite"])
def test_outputs_that_say_nothing_are_not_checked(empty):
    assert code_of([empty], [empty]) == 2
    assert code_of([A, empty], [A, empty]) == 2
    assert code_of([empty, A], [empty, A + 1]) == 1
    assert code_of([np.zeros(3, np.int64)], [np.zeros(3, np.int64)]) == 0


def test_complex_outputs_are_compared_whole():
    assert code_of([A + 1j], [A + 1j + 1e-12]) == 0
    assert code_of([A + 1j], [A + 2j]) == 1


def test_whole_numbers_are_equal_or_few_of_them_are_open():
    whole = np.arange(4000)
    other = whole.copy()
    other[0] = 7
    assert code_of([whole], [whole]) == 0
    assert code_of([whole], [other]) == 2
    assert code_of([whole], [whole + 1]) == 1
    assert (
        code_of([A, whole], [A + 1e-3, other], allowed=0.1) == 2
    )  # beside one that is further off


def test_outputs_that_rounding_alone_decides_are_not_checked():
    assert code_of([A], [A], 1.0, noise=0.01) == 2
    assert code_of([A], [A + 9], 1.0, noise=0.01) == 1


def test_allowances_grow_with_the_noise_and_never_below():
    assert float32_allowance(0.0) == pytest.approx(8e-7)
    assert float32_allowance(1e-5) == pytest.approx(8e-5)
    assert float64_allowance(1e-9, 1e-7, False) == 1e-9
    assert float64_allowance(1e-9, 1e-7, True) == 5e-6
    assert float64_allowance(1e-9, 1e-2, False) == pytest.approx(1e-8)


ACCOUNT = GraphAccount(
    (
        TensorWay("a.weight", (2, 3), "float64", TRANSPOSED, "fc_weight"),
        TensorWay("n.running_mean", (3,), "float64", RENAMED, "bn._mean"),
        TensorWay("n.running_var", (3,), "float64", RENAMED, "bn._variance"),
    ),
    (),
)


def gradients(found, **more):
    reference = GraphRun([], [A], {"a.weight": A})
    return judged_gradients("n", reference, GraphRun([], [A], found | more), ACCOUNT, 1e-7)


def test_gradients_are_compared_under_their_names():
    assert gradients({"fc_weight": A.T}).code == 0
    row = gradients({"fc_weight": 2 * A.T})
    assert (row.code, row.where) == (1, "a.weight")
    assert "the written net has no gradient" in gradients({}).where
    row = gradients({"fc_weight": A.T}, other=A)
    assert (row.code, row.where) == (1, "other: the source has no gradient of it")
    assert gradients({"fc_weight": A.T}, other=0 * A).code == 0


def test_no_gradient_at_all_is_not_checked():
    assert judged_gradients("n", GraphRun([]), GraphRun([]), ACCOUNT, 1e-7).code == 2


def test_every_gradient_that_the_written_net_lacks_is_seen():
    reference = GraphRun([], [A], {"a.weight": A, "b.weight": A, "c.weight": 0 * A})
    found = GraphRun([], [A], {"fc_weight": A.T})
    row = judged_gradients("n", reference, found, ACCOUNT, 1e-7)
    assert (row.code, row.where) == (1, "b.weight: the written net has no gradient of it")


@pytest.mark.parametrize("nothing", [None, 0 * A, A * np.nan], ids=["none", "zero", "nan"])
def test_gradients_that_say_nothing_are_not_checked(nothing):
    run = GraphRun([], [nothing])
    assert judged_gradients("n", run, run, ACCOUNT, 1e-7).code == 2


NORMS = {"n.running_mean": Norm(0.9, 1e-5, "")}
BEFORE = {"n.running_mean": np.zeros(3), "n.running_var": np.ones(3)}


def statistics(mean, variance, momentum=0.9):
    reference = GraphRun(
        [], buffers={"n.running_mean": np.full(3, 0.1), "n.running_var": np.full(3, 1.1)}
    )
    reference.counts = {"n.running_var": 5}
    written = GraphRun([], buffers={"bn._mean": mean, "bn._variance": variance})
    norms = {"n.running_mean": Norm(momentum, 1e-5, "")}
    return judged_statistics("n", BEFORE, reference, written, ACCOUNT, norms, 1e-7)


def test_running_statistics_but_for_the_biased_variance():
    biased = 0.9 + 0.2 * 4 / 5
    assert statistics(np.full(3, 0.1), np.full(3, biased)).code == 0
    row = statistics(np.full(3, 0.9), np.full(3, biased))  # of a momentum that was not turned
    assert (row.code, row.where) == (1, "n.running_mean")
    assert statistics(np.full(3, 0.1), np.full(3, 1.1)).code == 1
    assert statistics(np.full(3, 0.1), np.full(3, biased), None).code == 2


def test_statistics_of_a_layer_that_did_not_run_are_nobodys():
    reference = GraphRun([], buffers=dict(BEFORE))
    nothing = GraphAccount((), ())
    row = judged_statistics("n", BEFORE, reference, GraphRun([]), nothing, NORMS, 1e-7)
    assert row.code == 0
    reference.buffers["n.running_mean"] = np.ones(3)  # it ran, and is not in the net
    row = judged_statistics("n", BEFORE, reference, GraphRun([]), nothing, NORMS, 1e-7)
    assert row.code == 2


def test_one_that_differs_decides_and_nothing_is_no_proof():
    rows = [Judged("a", 0), Judged("b", 2), Judged("c", 1)]
    assert exit_code(rows) == 1
    assert exit_code(rows[:2]) == 2
    assert exit_code(rows[:1]) == 0
    assert exit_code([]) == 2
    assert distance(np.zeros(0), np.zeros(0)) == 0
