"""The peers' table: which cases are drawn, how rows are counted, what the READMEs show."""

import sys

import pytest

from tests.paths import ROOT

sys.path += [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import peers
import write_tables

CASES = [["stdc", ""], ["zoo", ""], ["stdc", "a"], ["stdc", "b"], ["zoo", "c"], ["zoo", "d"]]
ROWS = [
    {"detected": False, "right": None, "seconds": 1.0, "disk": 0.0},
    {"detected": True, "right": None, "seconds": 1.0, "disk": 2.0},
    {"detected": True, "right": True, "seconds": 1.0, "disk": 0.0},
    {"detected": True, "right": False, "seconds": 1.0, "disk": 0.0},
    {"detected": False, "right": False, "seconds": 1.0, "disk": 0.0},
    {"crash": "ValueError: shapes", "seconds": 1.0, "disk": 0.0},
]
NET = {"seconds": 3.0, "megabytes": 900}


def test_a_crash_is_no_silence_and_no_detection():
    row = peers._summed("defaults", CASES, ROWS, 512.4)
    counted = ("broken", "detected", "right", "healthy", "alarms", "crashes", "crashes_healthy")
    assert [row[key] for key in counted] == [4, 2, 1, 2, 1, 1, 0]
    table = write_tables.peers_table({"checks": {"a tool": [row]}}, write_tables.in_english)
    assert dict(zip(table[0], table[1], strict=True))["passed in silence:"] == "1"


def test_a_tool_that_names_no_layer_is_not_said_to_name_wrong_ones():
    rows = [{**row, "right": None} for row in ROWS]
    row = peers._summed("defaults", CASES, rows, 0.0)
    table = write_tables.peers_table({"checks": {"a tool": [row]}}, write_tables.in_english)
    assert "names no layer" in table[1]


def test_conversions_are_counted_by_what_they_came_to():
    nets = [
        {"net": "a", "loads": True, "agrees": True, "momentum": False, **NET},
        {"net": "b", "loads": True, "agrees": False, "momentum": True, **NET},
        {"net": "c", "crash": "KeyError", **NET},
    ]
    table = write_tables.conversions_table({"conversions": {"t": nets}}, write_tables.in_english)
    assert table[1] == ["t", "3", "2", "1", "1", "9", "900"]


def test_the_drawn_faults_are_those_of_the_proof_and_stay_the_same():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from tests.faults import ALL

    known = {(fault.subject, fault.name) for fault in ALL if "forward" in fault.blame}
    cases = peers.drawn_cases()
    broken = [tuple(case) for case in cases if case[1]]
    assert len(broken) == len(peers.NETS) * peers.DRAWN
    assert set(broken) <= known
    assert cases == peers.drawn_cases()
