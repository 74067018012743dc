"""The peers' table: what is drawn, kept of a stopped run, counted, judged, and shown."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.paths import ROOT

sys.path.append(str(ROOT / "docs"))

import write_tables

from benchmarks import peers, peers_check, peers_convert

RESULTS = ROOT / "docs" / "proof" / "peers.json"
CASES = [("stdc", ""), ("zoo", ""), ("stdc", "a"), ("stdc", "b"), ("zoo", "c"), ("zoo", "d")]
CELLS = [("forward", "a tool", "defaults", net, fault) for net, fault in CASES]
ROWS = [
    {"detected": False, "right": None, "seconds": 1.0, "disk": 0.0, "megabytes": 700},
    {"detected": True, "right": None, "seconds": 1.0, "disk": 2.0},
    {"detected": True, "right": True, "seconds": 1.0, "disk": 0.0},
    {"detected": True, "right": False, "seconds": 1.0, "disk": 0.0},
    {"detected": False, "right": False, "seconds": 1.0, "disk": 0.0},
    {"crash": "ValueError: shapes", "seconds": 1.0, "disk": 0.0},
]
NET = {"seconds": 3.0, "megabytes": 900}


def table_of(rows):
    checks = {"a tool": peers.checked(list(zip(CELLS, rows, strict=True)))}
    head, row = write_tables.peers_table({"checks": checks}, write_tables.in_english)
    return dict(zip(head, row, strict=True))


def test_a_crash_is_no_silence_and_no_detection():
    cells = table_of(ROWS)
    assert cells["drawn faults (4): detected, right layer, crashes:"] == "2, 1, 1"
    assert cells["false alarms:"] == "1 / 2"
    assert (cells["processor seconds:"], cells["peak MB of STDC1's forward:"]) == ("6.0", "700")


def test_a_healthy_port_that_crashes_a_tool_is_said():
    rows = [ROWS[-1], *ROWS[1:]]
    assert table_of(rows)["false alarms:"] == "1 / 2 (+ 1 crashes)"


def test_a_tool_that_names_no_layer_is_not_said_to_name_wrong_ones():
    cells = table_of([{**row, "right": None} for row in ROWS])
    assert cells["drawn faults (4): detected, right layer, crashes:"] == "2, -, 1"


def test_conversions_are_counted_by_what_they_came_to():
    nets = [
        {"net": "a", "loads": True, "eval": True, "train": True, "means": False, **NET},
        {"net": "b", "loads": True, "eval": False, "names": True, **NET},
        {"net": "c", "crash": "KeyError", **NET},
    ]
    table = write_tables.conversions_table({"conversions": {"t": nets}}, write_tables.in_english)
    assert table[1] == ["t", "3", "2", "1", "1", "0", "0", "1", "9", "900"]


def test_a_stopped_run_goes_on_and_other_code_is_measured_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "mark", lambda part: f"code of {part}")
    path = tmp_path / "run.jsonl"
    kept = peers.Kept(path, anew=False)
    kept.add(CELLS[0], ROWS[0])
    kept.add(CELLS[1], ROWS[1])
    path.write_text(path.read_text("utf-8") + '{"cell": ["forw', encoding="utf-8")  # a kill
    assert peers.Kept(path, anew=False).rows == {CELLS[0]: ROWS[0], CELLS[1]: ROWS[1]}
    kept.forget(CELLS[:1])
    assert path.exists()
    monkeypatch.setattr(peers, "mark", lambda part: "another")
    assert peers.Kept(path, anew=False).rows == {}
    assert peers.Kept(path, anew=True).rows == {}
    assert not path.exists()


def test_the_measured_code_changes_the_mark():
    marks = {part: peers.mark(part) for part in ("forward", "convert")}
    assert len(set(marks.values())) == 2
    assert peers.mark.__wrapped__("forward") == marks["forward"]


def test_the_drawn_faults_are_those_of_the_proof_and_stay_the_same():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from tests.faults import ALL

    for part, stage in (("forward", "forward"), ("small", "forward"), ("backward", "backward")):
        known = {(fault.subject, fault.name) for fault in ALL if stage in fault.blame}
        cases = peers_check.cases(part)
        assert {case for case in cases if case[1]} <= known
        assert cases == peers_check.cases(part)
    drawn = [fault for _, fault in peers_check.cases("forward") if fault]
    assert len(drawn) == sum(peers_check.FORWARD.values())
    assert not set(drawn) & set(peers_check.SMALL)


def node(net, father=None, is_api=False):
    made = SimpleNamespace(net=net, father=father, is_api=is_api, children=[])
    if father:
        father.children.append(made)
    return made


class Whole:
    """A net with a head of two layers, of which one holds no parameters."""

    def named_sublayers(self, include_self):
        return {"": self, "head": HEAD, "head.norm": NORM, "head.act": ACT}.items()


HEAD, NORM, ACT = object(), object(), object()


def test_what_padiff_marks_is_right_where_a_user_would_find_the_fault():
    whole = Whole()
    root = node(whole)
    head = node(HEAD, root)
    norm, function = node(NORM, head), node("relu", head, is_api=True)

    def right(marked, path):
        ports = SimpleNamespace(paddle_net=whole, layers=frozenset([path]))
        return peers_check._right_mark(ports, marked)

    assert right(norm, "head.norm")
    assert not right(norm, "head")
    assert right(function, "head")  # the code around the function
    assert right(head, "head.act")  # a layer that it does not look at
    assert right(root, "")
    assert not right(root, "head")  # the whole net is no place


def test_the_judge_of_conversions_tells_a_fault_from_rounding():
    rng = np.random.default_rng(0)
    wanted = [rng.standard_normal((2, 3)), rng.standard_normal(4)]
    near = [array * (1 + 1e-9) for array in wanted]
    assert peers_convert._off(wanted, near) < peers_convert.AGREES
    assert peers_convert._off(wanted, [wanted[0], wanted[1] + 1e-3]) > peers_convert.AGREES
    assert peers_convert._off(wanted, wanted[:1]) is None
    assert not peers_convert._is_among(wanted[1], [wanted[1] * 0.9])  # another momentum
    assert peers_convert._is_among(near[1], [np.ones(3), wanted[1]])


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_tables_of_the_readmes_are_what_was_measured(name):
    say = write_tables.in_english if name == "README.md" else write_tables.in_chinese
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = (ROOT / name).read_text(encoding="utf-8")
    tables = {"peers": write_tables.peers_tables(results, say)}
    assert write_tables.written(text, tables) == text
    asked = peers.all_cells([*peers_check.FORWARD, *peers_convert.CONVERTED])
    assert set(results["checks"]) | set(results["conversions"]) == {cell[1] for cell in asked}
    assert set(results["needs"]) == {peers.OURS, *peers.PEERS}
