"""A port against an ONNX graph: the right one passes, a wrong one is found at its place."""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import align
from align.report.report import ALIGNED, COULD_NOT_CHECK, NOT_ALIGNED
from common.errors import UnreadableError, UserError
from tests.align.witness.conftest import IMAGE

onnx = pytest.importorskip("onnx")


def layers(report):
    return [found.layer for found in report.divergences]


@pytest.mark.parametrize("which", ["apart", "folded"])
def test_the_right_port_passes_layer_by_layer(port, exported, which):
    before = {key: tensor.numpy().copy() for key, tensor in port.state_dict().items()}
    report = align.align_against(port, exported[which], IMAGE)
    assert report.exit_code == ALIGNED, report.verdict
    told = {call.layer for call in report.calls if call.kind == "layer"}
    assert {"stem.0" if which == "apart" else "stem.1.0", "stages.1.bn", "stages.0.relu"} <= told
    assert [c.where for c in report.calls if c.layer == "" and c.call == "#0"] == [
        "output:0",
        "output:1",
    ]
    against = report.settings["against"]
    assert against["dtype"] == "float32"
    assert against["folded"] == (3 if which == "folded" else 0)
    assert all(np.array_equal(before[k], v.numpy()) for k, v in port.state_dict().items())


@pytest.mark.parametrize("which", ["apart", "folded"])
def test_a_doubled_epsilon_is_seen_in_float32_at_its_layer(port, exported, which):
    port.stages[1].bn._epsilon = 2e-5
    report = align.align_against(port, exported[which], IMAGE)
    assert report.exit_code == NOT_ALIGNED
    assert layers(report) == ["stages.1.bn"]
    graph = Path(exported[which]).name
    assert report.layers["stages.1.bn"].torch_source == f"{graph}:stages.1.bn"


def test_wrong_code_between_layers_is_where_it_stands(port, exported):
    block = port.stages[0]
    block.forward = lambda x: block.relu(block.relu(block.bn(block.conv(x))) - x)
    report = align.align_against(port, exported["folded"], IMAGE)
    assert layers(report) == ["stages.0"]
    assert report.divergences[0].where == "input:0"
    assert report.divergences[0].call == "stages.0.relu#1"


def test_wrong_code_at_the_end_is_the_nets_own(port, exported):
    def forward(x):
        x = port.stages[1](port.stages[0](port.stem(x)))
        larger = F.interpolate(x, scale_factor=2, mode="bilinear")
        return port.head(port.pool(x).flatten(1)), larger

    port.forward = forward
    report = align.align_against(port, exported["apart"], IMAGE)
    assert [(d.layer, d.where) for d in report.divergences] == [("", "output:1")]


@pytest.mark.parametrize("keep", [(0,), (0, 1, 1)])
def test_an_output_that_one_side_lacks_could_not_be_checked(port, exported, keep):
    inner = port.forward
    port.forward = lambda x: tuple(inner(x)[index] for index in keep)
    report = align.align_against(port, exported["apart"], IMAGE)
    assert report.exit_code == COULD_NOT_CHECK
    assert "returns" in str(report.verdict)


def test_names_that_tell_nothing_leave_the_outputs(port, exported, tmp_path):
    model = onnx.load(exported["folded"])
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    onnx.save(model, tmp_path / "old.onnx")
    report = align.align_against(port, tmp_path / "old.onnx", IMAGE)
    assert report.exit_code == ALIGNED
    assert len(report.calls) == 2
    assert any(note.kind == "against_outputs" for note in report.notes)
    port.head.weight.set_value(port.head.weight * 1.001)
    assert layers(align.align_against(port, tmp_path / "old.onnx", IMAGE)) == [""]


def test_rules_lead_from_the_graphs_names(port, exported, tmp_path):
    port.trunk = port.stem
    del port.stem
    stages = port.stages

    def forward(x):
        x = stages[1](stages[0](port.trunk(x)))
        larger = F.interpolate(x, scale_factor=2, mode="nearest")
        return port.head(port.pool(x).flatten(1)), larger

    port.forward = forward
    rules = tmp_path / "rules.yml"
    rules.write_text('renames:\n  - {match: "^stem[.]", to: "trunk."}\n')
    report = align.align_against(port, exported["apart"], IMAGE, rules=rules)
    assert report.exit_code == ALIGNED
    assert {"trunk.0", "trunk.1.0", "trunk.1.1"} <= {call.layer for call in report.calls}


def test_zeros_on_both_sides_are_no_pass(port, exported, tmp_path):
    model = onnx.load(exported["apart"])
    for tensor in model.graph.initializer:
        if tensor.name.startswith("head."):
            zeros = np.zeros(tuple(tensor.dims), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    onnx.save(model, tmp_path / "dead.onnx")
    for parameter in port.head.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    assert align.align_against(port, tmp_path / "dead.onnx", IMAGE).exit_code == COULD_NOT_CHECK


class Products(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.norm = nn.LayerNorm(4, epsilon=1e-5)

    def forward(self, x):
        return F.softmax(self.norm(self.fc(x)) * 0.7, axis=-1)


def products(net, path, scopes):
    """Write what `Products` computes, as torch's newer exporter names it where `scopes`."""
    tensor = onnx.numpy_helper.from_array
    weights = [
        tensor(net.fc.weight.numpy(), "w"),
        tensor(net.fc.bias.numpy(), "b"),
        tensor(net.norm.weight.numpy(), "g"),
        tensor(net.norm.bias.numpy(), "h"),
    ]
    node = onnx.helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["0"], name="node_1"),
        node("Add", ["0", "b"], ["1"], name="node_2"),
        node("LayerNormalization", ["1", "g", "h"], ["2"], name="node_3", epsilon=1e-5),
        node("Constant", [], ["c"], name="node_4", value_float=0.7),
        node("Mul", ["2", "c"], ["3"], name="node_5"),
        node("Softmax", ["3"], ["y"], name="node_6"),
    ]
    for each, scope in zip(nodes, ["fc", "fc", "norm"], strict=False):
        each.metadata_props.add(
            key="pkg.torch.onnx.name_scopes", value=str(["", scope, each.name] if scopes else [])
        )
    value = onnx.helper.make_tensor_value_info
    ends = [[value(name, onnx.TensorProto.FLOAT, ["n", n])] for name, n in (("x", 6), ("y", 4))]
    graph = onnx.helper.make_graph(nodes, "g", *ends, weights)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def test_a_graph_that_has_kernels_runs_in_float64(tmp_path):
    paddle.seed(1)
    net = Products()
    path = products(net, tmp_path / "m.onnx", scopes=True)
    image = [np.random.default_rng(1).standard_normal((5, 6))]
    report = align.align_against(net, path, image)
    assert report.exit_code == ALIGNED, report.divergences
    assert report.settings["against"]["dtype"] == "float64"
    assert {"fc", "norm"} <= {call.layer for call in report.calls}
    floors = {call.call: call.floor for call in report.calls if call.where == "output:0"}
    assert floors["fc#0"] < 2e-9
    assert 2e-8 < floors["#0"] < 1e-6  # 0.7 was rounded when the file was written
    net.norm._epsilon = 1.01e-5  # no float32 shows it
    assert layers(align.align_against(net, path, image)) == ["norm"]


def test_what_a_zero_weight_hides_could_not_be_checked(tmp_path):
    net = Products()
    net.norm.weight.set_value(paddle.zeros([4]))
    net.norm.bias.set_value(paddle.to_tensor([0.1, -0.2, 0.3, 0.4]))
    path = products(net, tmp_path / "m.onnx", scopes=True)
    net.norm._epsilon = 1e-3
    report = align.align_against(net, path, [np.random.default_rng(1).standard_normal((5, 6))])
    assert report.exit_code == COULD_NOT_CHECK
    assert [call.cause.kind for call in report.unchecked] == ["behind_zero_weight"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([IMAGE[0], IMAGE[0]], "takes 1 inputs"),
        ([IMAGE[0][:, :2]], r"takes .* \[1, 3, 12, 12\], got"),
        ([IMAGE[0].astype(np.int64)], "got int64"),
    ],
)
def test_inputs_that_do_not_fit_are_said(port, exported, inputs, words):
    with pytest.raises(UserError, match=words):
        align.align_against(port, exported["apart"], inputs)


def test_what_is_no_graph_could_not_be_read(port, tmp_path, exported):
    (tmp_path / "a.onnx").write_bytes(b"PK\x03\x04 no model")
    with pytest.raises(UnreadableError, match="no ONNX model"):
        align.align_against(port, tmp_path / "a.onnx", IMAGE)
    with pytest.raises(UnreadableError, match="no such file"):
        align.align_against(port, tmp_path / "absent.onnx", IMAGE)
    model = onnx.load(exported["apart"])
    model.graph.node[-1].op_type = "Nonesuch"
    model.graph.node[-1].domain = "own"
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    onnx.save(model, tmp_path / "own.onnx")
    with pytest.raises(UnreadableError, match="ONNX Runtime cannot open it"):
        align.align_against(port, tmp_path / "own.onnx", IMAGE)
    half = onnx.load(exported["apart"])
    half.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    cast = onnx.helper.make_node("Cast", ["half"], ["whole"], to=1)
    for node in half.graph.node:
        node.input[:] = ["whole" if n == half.graph.input[0].name else n for n in node.input]
    cast.input[0] = half.graph.input[0].name
    half.graph.node.insert(0, cast)
    onnx.save(half, tmp_path / "half.onnx")
    with pytest.raises(UserError, match="float16"):
        align.align_against(port, tmp_path / "half.onnx", IMAGE)
    half.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT  # computes in it alone
    lower = onnx.helper.make_node("Cast", [half.graph.input[0].name], ["lower"], to=10)
    half.graph.node[0].input[0] = "lower"
    half.graph.node.insert(0, lower)
    onnx.save(half, tmp_path / "half.onnx")
    with pytest.raises(UserError, match="float16"):
        align.align_against(port, tmp_path / "half.onnx", IMAGE)


def test_an_absent_runtime_names_the_extra(port, exported, monkeypatch):
    from align.witness import graph

    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"torch2paddle-seg\[onnx\]"):
        align.align_against(port, exported["apart"], IMAGE)
