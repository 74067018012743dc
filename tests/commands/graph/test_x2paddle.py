"""X2Paddle itself, where the extra `graph` is installed: a net that it writes wrong, both ways."""

import numpy as np
import pytest

pytest.importorskip("x2paddle")
pytest.importorskip("six")
pytest.importorskip("requests")
pytest.importorskip("torch")
pytest.importorskip("paddle")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from commands.graph import flow
from common.errors import UserError
from tests.commands.graph.test_prepare import NET, WEIGHTS, node, written

ASKED = {
    "kind": "onnx", "arguments": {}, "shapes": [], "inputs": [], "also": [], "weights": None,
    "eval_only": False, "seed": 0, "timeout": 250.0, "path": [],
}  # fmt: skip


def test_a_file_that_it_cannot_read_alone_is_shown_equal(tmp_path):
    path = written(tmp_path, NET, {n: a for n, a in WEIGHTS.items() if n != "unused"})
    done = flow.convert_graph(ASKED | {"spec": str(path)}, tmp_path / "made", False, print)
    assert done["code"] == 0, done["rows"]
    assert not done["open"]


def test_an_operation_that_it_lacks_is_named(tmp_path):
    nodes = [node("Einsum", ["in::x"], ["y"], equation="abcd")]
    path = written(tmp_path, nodes, {"k": np.ones(1, np.float32)})
    with pytest.raises(UserError, match="cannot convert Einsum"):
        flow.convert_graph(ASKED | {"spec": str(path)}, tmp_path / "made", False, print)


def test_a_live_net_is_mended_and_shown_equal(tmp_path):
    asked = ASKED | {"kind": "torch", "spec": "tests.commands.graph.nets_torch:Small"}
    asked |= {"shapes": [[[2, 2, 6, 6]]], "path": [str(tmp_path)]}
    done = flow.convert_graph(asked, tmp_path / "made", False, print)
    assert done["code"] == 0, done["rows"]
    assert any("momentum was 0.1" in one for one in done["mended"])
