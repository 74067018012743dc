"""`align_forward --against` and `--third`: what people type."""

import json

import numpy as np
import pytest

from tests.nursery import run

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NETS = """
import paddle, torch

class Ours(paddle.nn.Layer):
    def __init__(self, scale=1.0):
        super().__init__()
        self.fc = paddle.nn.Linear(3, 2)
        self.scale = scale

    def forward(self, x):
        return self.fc(x) * self.scale

class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with both nets, and a graph that keeps the names of its weights."""
    (tmp_path / "their_nets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    weight = onnx.numpy_helper.from_array(rng.random((2, 3), np.float32), "fc.weight")
    bias = onnx.numpy_helper.from_array(rng.random(2, np.float32), "fc.bias")
    names = ["x", "fc.weight", "fc.bias"]
    node = onnx.helper.make_node("Gemm", names, ["y"], name="/fc/Gemm", transB=1)
    value = onnx.helper.make_tensor_value_info
    x, y = value("x", onnx.TensorProto.FLOAT, [4, 3]), value("y", onnx.TensorProto.FLOAT, [4, 2])
    graph = onnx.helper.make_graph([node], "g", [x], [y], [weight, bias])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path


def test_a_port_against_a_graph_gets_its_weights_and_its_shape(folder):
    command = ["align_forward", "--paddle", "their_nets:Ours", "--against", "model.onnx", "--json"]
    done = run(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)[0]
    assert report["settings"]["inputs"] == {"0": [4, 3]}
    assert report["settings"]["against"]["dtype"] == "float64"
    assert "fc" in {call.get("layer") for call in report["calls"]}
    done = run(*command, "--paddle-args", "scale=1.01", cwd=folder)
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["divergences"][0]["layer"] == ""


def test_a_third_that_has_other_weights_is_said(folder):
    pair = ["--torch", "their_nets:Theirs", "--paddle", "their_nets:Ours"]
    done = run(
        *("align_forward", *pair, "--input-shape", 4, 3, "--third", "model.onnx"),
        *("--paddle-args", "scale=1.01"),
        cwd=folder,
    )
    assert done.returncode == 1
    assert "of other weights, and was asked of nothing" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--against", "model.onnx"], "--against judges one port"),
        (["--against", "model.onnx", "--paddle", "their_nets:Ours", "--train"], "--train does not"),
        (["--third", "model.onnx", "--all"], "--third goes without --train and --all"),
        (["--against", "their_nets.py", "--paddle", "their_nets:Ours"], "is no ONNX model"),
    ],
)
def test_what_does_not_go_is_said(folder, options, words):
    done = run("align_forward", *options, cwd=folder)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
