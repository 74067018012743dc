"""The framework-free core of align/: trees, pairing, the judge, the report."""

import json
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

from align.arrays.trees import leaves, map_leaves
from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison
from align.judge.kernels import KERNELS
from align.pairing.by_path import pair_by_path
from align.report.report import Divergence, Report
from common.errors import UserError


@pytest.mark.parametrize("room", ["common", "convert", "align"])
def test_importing_a_room_loads_no_framework_and_nothing_as_slow(room):
    slow = "{'torch', 'paddle', 'scipy.stats'}"
    code = f"import {room}, sys; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Output:
    logits: int
    extra: tuple


def test_trees_keep_their_types_and_visit_in_one_order():
    tree = OrderedDict(b=Output(1, (2, [3])), a=Pair(4, None))
    again = map_leaves(tree, lambda leaf: leaf if leaf is None else leaf * 10)
    assert list(again) == ["b", "a"]
    assert again["b"] == Output(10, (20, [30]))
    assert again["a"] == Pair(40, None)
    assert tree["b"].logits == 1
    assert leaves({"b": 1, "a": 2}) == leaves({"a": 2, "b": 1}) == [2, 1]


def verdict(reference, port, where="output:0", **allowance):
    into = Comparison("layer", "", where, "layer")
    return compare(np.asarray(reference), np.asarray(port), Allowance(**allowance), into)


def test_worst_element_and_both_values_are_named():
    found = verdict([1.0, 2.0, 4.0], [1.0, 2.5, 4.0])
    assert found.verdict == DIFFERS
    assert found.worst_index == (1,)
    assert (found.reference_value, found.port_value) == (2.0, 2.5)
    assert found.relative_error == 0.125


@pytest.mark.parametrize(
    ("reference", "port"),
    [
        (np.ones((2, 1)), np.ones((1, 2))),
        (np.ones(3), np.ones((3, 1))),
        (np.ones(3), np.float64(1.0)),
        (np.ones(3), np.ones(3, np.int64)),
        (np.ones(3, bool), np.ones(3, np.int64)),
        ([1, 2, 3], [1, 2, 4]),
        ([np.inf, 1.0], [-np.inf, 1.0]),
        ([np.nan, 1.0], [5.0, 1.0]),
        ([5.0, 1.0], [np.nan, 1.0]),
    ],
)
def test_what_broadcasts_or_hides_in_other_tools_differs(reference, port):
    assert verdict(reference, port).verdict == DIFFERS


def test_not_finite_on_both_sides_is_unchecked():
    assert verdict([np.nan, 1.0], [np.nan, 1.0]).verdict == UNCHECKED
    # Infinities are values, as in a mask: they are compared, and so is the rest.
    assert verdict([np.inf, 1.0], [np.inf, 1.0]).verdict == EQUAL
    assert verdict([-np.inf, 1.0], [-np.inf, 2.0]).verdict == DIFFERS
    assert verdict([np.nan, np.inf], [np.nan, np.inf]).verdict == UNCHECKED


def test_other_integer_width_and_zeros_are_equal():
    assert verdict(np.arange(3, dtype=np.int64), np.arange(3, dtype=np.int32)).verdict == EQUAL
    assert verdict(np.zeros(3), np.zeros(3)).verdict == EQUAL
    assert verdict(np.zeros(3), np.full(3, 1e-300)).verdict == DIFFERS
    assert verdict(np.zeros((0, 3)), np.zeros((0, 3))).verdict == EQUAL


def test_allowance_is_measured_movement_and_where_nothing_is_left_it_is_noise():
    assert verdict([1.0], [1.0 + 1e-13]).verdict == DIFFERS
    assert verdict([1.0], [1.0 + 1e-13], rounding=1e-14).verdict == EQUAL
    assert verdict([1.0], [1.0 + 1e-13], summed=100_000).verdict == EQUAL
    assert verdict([1e-17], [-1e-17], rounding=1e-16).verdict == UNCHECKED
    assert verdict([1e-17], [-1e-17], where="grad:bias", rounding=1e-16).verdict == NOISE
    assert verdict([3], [4], rounding=1.0).verdict == NOISE
    assert verdict(np.arange(9), np.arange(9) + 1, rounding=2.0).verdict == DIFFERS
    assert verdict([1.0], [1.0], random="poisson").verdict == UNCHECKED


def test_a_shared_module_matches_under_any_of_its_paths():
    reference = {"": [""], "features.0": ["features.0", "x2.0.0"], "head": ["head"]}
    port = {"": [""], "x2.0.0": ["x2.0.0"], "head": ["head"], "extra": ["extra"]}
    pairing = pair_by_path(reference, port)
    assert pairing.partners == {"": "", "x2.0.0": "features.0", "head": "head"}


def test_what_one_side_shares_and_the_other_keeps_apart_is_one_group():
    pairing = pair_by_path({"a": ["a", "b"]}, {"a": ["a"], "b": ["b"]})
    assert pairing.port_group["a"] == pairing.port_group["b"] == pairing.reference_group["a"]
    assert pairing.without({pairing.port_group["a"]}).partners == {}


def report(*verdicts):
    calls = [
        Comparison(f"l{i}", "", "output:0", "layer", verdict=v) for i, v in enumerate(verdicts)
    ]
    found = Report("forward", calls)
    found.divergences = [
        Divergence(call.layer, call.where, 1.0, 0.0) for call in calls if call.verdict == DIFFERS
    ]
    return found


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((EQUAL,), 0),
        ((EQUAL, NOISE), 0),
        ((EQUAL, DIFFERS), 1),
        ((UNCHECKED, DIFFERS), 1),
        ((EQUAL, UNCHECKED), 2),
        ((NOISE,), 2),
        ((), 2),
    ],
)
def test_exit_codes(verdicts, code):
    found = report(*verdicts)
    assert found.exit_code == code
    assert found.aligned == (code == 0)
    assert found.verdict


def test_json_holds_no_nan(tmp_path):
    found = report(DIFFERS)
    found.calls[0].relative_error = float("inf")
    found.calls[0].port_value = float("nan")
    found.to_json(tmp_path / "report.json")
    call = json.loads((tmp_path / "report.json").read_text())["calls"][0]
    assert (call["relative_error"], call["port_value"]) == ("inf", "nan")


def test_report_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        report(EQUAL).to_json(tmp_path / "file" / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_table_of_kernels_has_no_duplicate():
    names = [kernel.function for kernel in KERNELS]
    assert len(names) == len(set(names))
