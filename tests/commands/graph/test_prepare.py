"""An ONNX file made ready: the same numbers, plain names, every weight once; or refused."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper

from commands.graph.prepare import prepared
from commands.graph.reference_onnx import OnnxReference
from common.errors import UnreadableError, UserError
from port.graph.mend import Norm, Resizing

W = np.linspace(-1, 1, 54, dtype=np.float32).reshape(3, 2, 3, 3)
B = np.array([0.5, 1.5, 2.5], np.float32)


def node(op, inputs, outputs, **more):
    return helper.make_node(op, inputs, outputs, **more)


def written(folder, nodes, weights, opset=13, shape=(2, 2, 4, 4), output="y"):
    x = helper.make_tensor_value_info("in::x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, list("nchw"))
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "a graph", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    path = folder / "net.onnx"
    onnx.save(model, str(path))
    return path


NET = [
    node("Identity", ["n.scale"], ["n.bias"]),
    node("Abs", ["n.scale"], ["scale"], name="/n/Abs"),
    node("Add", ["scale", "n.scale"], ["scale2"]),
    node("Conv", ["in::x", "c.weight", "n.bias"], ["a"], pads=[1, 1, 1, 1], name="c'; import os"),
    node(
        "BatchNormalization", ["a", "scale2", "n.bias", "n.mean", "n.var"], ["b"],
        momentum=0.8, epsilon=1e-3,
    ),
    node("Resize", ["b", "", "", "sizes"], ["d"], mode="linear"),
    node("Mul", ["d", "k"], ["e"]),
    node("Add", ["e", "k"], ["y"]),
]  # fmt: skip
WEIGHTS = {
    "c.weight": W, "n.scale": B, "n.mean": B - 1, "n.var": B, "k": B.reshape(1, 3, 1, 1),
    "sizes": np.array([2, 3, 8, 8]), "unused": B,
}  # fmt: skip


def test_the_same_numbers_under_plain_names(tmp_path):
    path = written(tmp_path, NET, WEIGHTS)
    made = prepared(path)
    graph = made.model.graph
    assert [one.op_type for one in graph.node] == [
        "Conv",
        "BatchNormalization",
        "Resize",
        "Mul",
        "Add",
    ]
    names = [one.name for one in (*graph.node, *graph.initializer, *graph.input, *graph.output)]
    assert all(name.replace("_", "").isalnum() for name in names)
    lengths = [dim.dim_param for dim in graph.output[0].type.tensor_type.shape.dim]
    assert len(set(lengths)) == 4
    assert not set(lengths) & set("nchw")
    reads = [name for one in graph.node for name in one.input]
    assert all(reads.count(one.name) == 1 for one in graph.initializer)
    assert {made.renamed[one.name] for one in graph.initializer} >= {"c.weight", "n.scale", "k"}
    assert made.reasons == {"unused": "read by no operation"}
    norm = made.norms["n.mean"]
    assert norm == Norm(pytest.approx(0.8), pytest.approx(1e-3), norm.origin)
    (resize,) = made.resizes.values()
    assert resize == Resizing("linear", "half_pixel", "round_prefer_floor")
    ready = tmp_path / "ready.onnx"
    ready.write_bytes(made.model.SerializeToString())
    inputs = [np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)]
    one, other = OnnxReference(path).run(inputs), OnnxReference(ready).run(inputs)
    assert np.array_equal(one.outputs[0], other.outputs[0])


def test_operators_that_are_too_new_are_written_older(tmp_path):
    weights = {"axes": np.array([2, 3]), "scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        node("Resize", ["in::x", "", "scales"], ["a"], mode="linear", antialias=0),
        node("ReduceMean", ["a", "axes"], ["y"], keepdims=1),
    ]
    path = written(tmp_path, nodes, weights, opset=20)
    made = prepared(path)
    assert [one.version for one in made.model.opset_import] == [15]
    assert "opset 20 written as 15" in made.notes[-1]
    ready = tmp_path / "ready.onnx"
    ready.write_bytes(made.model.SerializeToString())
    inputs = [np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)]
    one, other = OnnxReference(path).run(inputs), OnnxReference(ready).run(inputs)
    assert np.array_equal(one.outputs[0], other.outputs[0])


def test_what_older_operators_cannot_say_is_refused(tmp_path):
    nodes = [node("Resize", ["in::x", "", "k"], ["y"], mode="linear", antialias=1)]
    scales = {"k": np.array([1, 1, 0.5, 0.5], np.float32)}
    with pytest.raises(UserError, match=r"Resize of opset 18 \(antialias\) has no older form"):
        prepared(written(tmp_path, nodes, scales, opset=18))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("Odd", ["in::x"], ["y"], domain="my.ops")], "operation Odd of my.ops"),
        (
            [node("Resize", ["in::x", "", "k"], ["y"], mode="linear', x=exec('1')")],
            "plain word",
        ),
    ],
)
def test_what_x2paddle_would_write_as_it_stands_or_cannot_is_refused(tmp_path, nodes, said):
    with pytest.raises(UserError, match=said):
        prepared(written(tmp_path, nodes, {"k": B}))


def test_a_graph_inside_an_operation_is_refused(tmp_path):
    inner = helper.make_graph(
        [node("Relu", ["in::x"], ["z"])], "g", [], [helper.make_tensor_value_info("z", 1, None)]
    )
    nodes = [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    with pytest.raises(UserError, match="operation If holds a graph"):
        prepared(written(tmp_path, nodes, {"c": np.array(True)}))


def test_damage_is_said_and_not_converted(tmp_path):
    path = written(tmp_path, NET, WEIGHTS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableError, match="damaged ONNX"):
        prepared(path)
    path = written(tmp_path, [node("Relu", ["nowhere"], ["y"])], {"k": B})
    with pytest.raises(UnreadableError, match="no valid ONNX model"):
        prepared(path)
    with pytest.raises(UnreadableError, match="ONNX Runtime cannot open"):
        OnnxReference(path)
