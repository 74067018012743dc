"""An ONNX file made ready: the same numbers, plain names, every weight once; or refused."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper

from align.witness.graph import read_graph
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


def in_train_mode():
    """A graph each that normalises by its batch, by the newer and the older way, or draws."""
    norm = ["in::x", "k", "k", "k", "k"]
    yield 15, [node("BatchNormalization", norm, ["y", "m", "v"], training_mode=1)]
    yield 13, [node("BatchNormalization", norm, ["y", "m", "v", "sm", "sv"])]
    yield 13, [node("Dropout", ["in::x", "half", "yes"], ["y"])]


@pytest.mark.parametrize(("opset", "nodes"), in_train_mode())
def test_a_graph_of_train_mode_is_refused_with_the_remedy(tmp_path, opset, nodes):
    weights = {"k": B[:2], "half": np.float32(0.5), "yes": np.array(True)}
    path = written(tmp_path, nodes, weights, opset)
    for read in (prepared, read_graph):
        with pytest.raises(UserError, match=r"of train mode \((Batch|Drop).*TrainingMode.EVAL"):
            read(path)


def test_what_eval_mode_leaves_of_training_is_read(tmp_path):
    nodes = [
        node("BatchNormalization", ["in::x", "k", "k", "k", "k"], ["b"], training_mode=0),
        node("Dropout", ["b", "half", "no"], ["y"]),
    ]
    weights = {"k": B[:2], "half": np.float32(0.5), "no": np.array(False)}
    path = written(tmp_path, nodes, weights, 15)
    assert prepared(path).model.graph.node
    assert read_graph(path).nodes


def test_an_equation_is_no_reason_to_speak_of_code(tmp_path):
    path = written(tmp_path, [node("Einsum", ["in::x"], ["y"], equation="abcd->dcba")], {})
    with pytest.raises(UserError, match=r"X2Paddle cannot convert Einsum of net\.onnx\. `.*port"):
        prepared(path)


SIMPLER = [
    (14, [node("HardSwish", ["in::x"], ["y"])]),
    (18, [node("Mish", ["in::x"], ["y"])]),
    (20, [node("Gelu", ["in::x"], ["y"])]),
    (17, [node("LayerNormalization", ["in::x", "k", "b"], ["y"], epsilon=1e-3)]),
    (17, [node("LayerNormalization", ["in::x", "k"], ["y"])]),
]
POOLS = [
    (13, [node("MaxPool", ["in::x"], ["y"], kernel_shape=[2, 3], dilations=[1, 1])]),
    (19, [node("AveragePool", ["in::x"], ["y"], kernel_shape=[2, 2], dilations=[1, 1])]),
    (
        13,
        [
            node(
                "AveragePool", ["in::x"], ["y"], kernel_shape=[3, 3], strides=[2, 1],
                pads=[1, 0, 1, 1], count_include_pad=1,
            )
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "nodes"), SIMPLER, ids=lambda given: str(given)[12:30])
def test_operators_that_it_lacks_are_written_by_others(tmp_path, opset, nodes):
    four = np.array([0.5, 1.5, -2.0, 1.0], np.float32)
    path = written(tmp_path, nodes, {"k": four, "b": four[::-1].copy()}, opset)
    made = prepared(path)
    assert nodes[0].op_type not in {one.op_type for one in made.model.graph.node}
    assert any(nodes[0].op_type in note for note in made.notes)
    onnx.save(made.model, str(tmp_path / "made.onnx"))
    inputs = [np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32) * 3]
    expected = OnnxReference(path).run(inputs).outputs[0]
    found = OnnxReference(tmp_path / "made.onnx").run(inputs).outputs[0]
    assert np.abs(expected - found).max() < 2e-6


@pytest.mark.parametrize(("opset", "nodes"), POOLS)
def test_poolings_say_what_it_reads_otherwise(tmp_path, opset, nodes):
    path = written(tmp_path, nodes, {}, opset)
    made = prepared(path)
    onnx.save(made.model, str(tmp_path / "made.onnx"))
    pool = next(one for one in made.model.graph.node if "Pool" in one.op_type)
    settings = {one.name: list(one.ints) for one in pool.attribute}
    assert not {"dilations", "count_include_pad"} & set(settings)
    assert settings["strides"] == ([1, 1] if opset == 19 or "Max" in pool.op_type else [2, 1])
    inputs = [np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)]
    expected = OnnxReference(path).run(inputs).outputs[0]
    found = OnnxReference(tmp_path / "made.onnx").run(inputs).outputs[0]
    assert np.abs(expected - found).max() < 1e-6


@pytest.mark.parametrize(
    ("opset", "nodes", "op"),
    [
        (20, [node("Gelu", ["in::x"], ["y"], approximate="tanh")], "Gelu"),
        (17, [node("LayerNormalization", ["in::x", "w"], ["y"], axis=1)], "LayerNormalization"),
        (16, [node("GridSample", ["in::x", "g"], ["y"])], "GridSample"),
    ],
)
def test_operators_newer_than_it_reads_are_named(tmp_path, opset, nodes, op):
    weights = {"w": np.ones((2, 4, 4), np.float32), "g": np.zeros((2, 3, 3, 2), np.float32)}
    path = written(tmp_path, nodes, weights, opset)
    with pytest.raises(UserError, match=f"X2Paddle cannot convert {op} of"):
        prepared(path)


GROWING = {
    "ConstantOfShape": [np.array([3, 4])],
    "Expand": [np.ones((1, 4), np.float32), np.array([3, 4])],
    "Tile": [np.ones((1, 4), np.float32), np.array([3, 1])],
    "Range": [np.array(0), np.array(4), np.array(1)],
}


@pytest.mark.parametrize("op", GROWING)
@pytest.mark.parametrize("large", [False, True])
def test_what_grows_is_computed_beforehand_while_it_is_small(tmp_path, op, large):
    weights = {f"c{place}": array for place, array in enumerate(GROWING[op])}
    if large:
        weights |= {f"c{len(weights) - (2 if op == 'Range' else 1)}": np.array([1 << 34, 4])}
        weights |= {"c1": np.array(1 << 36)} if op == "Range" else {}
    value = {"value": numpy_helper.from_array(np.ones(1, np.float32))} if "Con" in op else {}
    nodes = [node(op, list(weights), ["made"], **value), node("Cast", ["made"], ["cast"], to=1)]
    path = written(tmp_path, [*nodes, node("Add", ["in::x", "cast"], ["y"])], weights)
    found = [one.op_type for one in prepared(path).model.graph.node]
    assert found == ([op, "Cast", "Add"] if large else ["Add"])


@pytest.mark.parametrize(
    ("shape", "kept"), [((2, 2, 4, 4), []), ((2, 2, "h", 4), ["Shape", "Shape"])]
)
def test_sizes_that_the_file_fixes_are_constants(tmp_path, shape, kept):
    """Also those that follow from a size which was computed, and a part of them."""
    nodes = [
        node("Shape", ["in::x"], ["s"], start=0, end=2),
        node("Concat", ["s", "all"], ["r"], axis=0),
        node("Reshape", ["in::x", "r"], ["z"]),
        node("Shape", ["z"], ["t"]),
        node("Reshape", ["z", "t"], ["w"]),
        node("Add", ["w", "k"], ["y"]),
    ]
    weights = {"all": np.array([-1]), "k": np.ones(1, np.float32)}
    path = written(tmp_path, nodes, weights, 15, shape)
    made = prepared(path)
    left = [one.op_type for one in made.model.graph.node]
    assert [op for op in left if op == "Shape"] == kept
    onnx.save(made.model, str(tmp_path / "made.onnx"))
    inputs = [np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)]
    expected = OnnxReference(path).run(inputs).outputs[0]
    assert np.array_equal(expected, OnnxReference(tmp_path / "made.onnx").run(inputs).outputs[0])
