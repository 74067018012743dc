"""The tables of graphs that were tried: a row for each net and each operation of the benchmark."""

import pytest

from tests.paths import ROOT

pytest.importorskip("torch")
from benchmarks import graphs
from benchmarks.graph_nets import NETS


@pytest.mark.parametrize("page", ["guide", "zh"])
def test_the_guide_has_a_row_for_all_that_is_tried(page):
    rows = [
        {"kind": "net", "name": name, "opset": opset, "folded": folded, "free": free, "x2paddle": 0}
        for name, opset, folded, free in graphs.NETS
    ]
    rows += [{"kind": "operation", "name": name, "x2paddle": 2, "port": 0} for name in NETS]
    nets, operations = (part.splitlines() for part in graphs.table(rows).split("\n\n"))
    text = (ROOT / "docs" / page / "graph.md").read_text("utf-8")
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if "torchvision" in line and line[0] == "|")
    found = lines[start : lines.index("", start)]
    assert [line.split("|")[1:3] for line in found[2:]] == [
        line.split("|")[1:3] for line in nets[2:]
    ]
    start = next(i for i, line in enumerate(lines) if line.endswith("| X2Paddle | `port` |"))
    found = lines[start : lines.index("", start)]
    assert len(found) == len(operations)
    if page == "guide":
        assert [line.split("|")[1] for line in found] == [line.split("|")[1] for line in operations]
