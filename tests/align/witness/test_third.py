"""With whom ONNX Runtime agrees where torch and Paddle differ."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import align
from align.rungs.witness.third import add_third, keeping_what_differs
from common.errors import UserError
from tests.align.witness.conftest import IMAGE


def third(reference, port, model):
    with keeping_what_differs() as kept:
        report = align.align_forward(reference, port, IMAGE)
    add_third(report, kept, reference, port, IMAGE, model)
    return report


def voices(report):
    return {row["layer"]: row["agrees"] for row in report.settings["third"]["said"]}


@pytest.mark.parametrize("which", ["apart", "folded", "export"])
def test_a_wrong_port_stands_alone(reference, port, exported, which):
    port.stages[1].bn._epsilon = 2e-5
    report = third(reference, port, exported.get(which, which))
    assert voices(report) == {"stages.1.bn": "torch"}
    assert report.divergences[0].cause.has("third_torch")
    assert report.notes[0].kind == "third"
    assert report.exit_code == 1


def test_a_reference_that_is_not_what_was_exported_stands_alone(reference, port, exported):
    reference.stages[0].bn.eps = 1e-3
    try:
        report = third(reference, port, exported["apart"])
    finally:
        reference.stages[0].bn.eps = 1e-5
    assert voices(report) == {"stages.0.bn": "paddle"}
    assert report.divergences[0].cause.has("third_paddle")


def test_a_reference_that_is_far_off_stands_alone_too(reference, port, exported):
    """Off by more than any rounding: the graph is none of another net, as the port shows."""
    scale = reference.stages[0].bn.weight
    with torch.no_grad():
        kept = scale.clone()
        scale.mul_(3)
    try:
        report = third(reference, port, exported["apart"])
    finally:
        with torch.no_grad():
            scale.copy_(kept)
    assert voices(report) == {"stages.0.bn": "paddle"}


def test_what_is_smaller_than_its_rounding_it_does_not_tell(reference, port, exported):
    port.head.bias.set_value(port.head.bias + 1e-7)
    assert voices(third(reference, port, exported["folded"])) == {"head": "both"}


def test_a_graph_of_other_weights_is_asked_of_nothing(reference, port, exported, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported["apart"])
    for tensor in model.graph.initializer:
        if tensor.name == "head.bias":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(3, np.float32), tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    port.head.bias.set_value(port.head.bias - 1)
    report = third(reference, port, tmp_path / "other.onnx")
    assert report.notes[0].kind == "third_other"
    assert "other weights" in report.notes[0]
    assert voices(report) == {}
    assert [found.layer for found in report.divergences] == ["head"]
    assert report.exit_code == 1


def test_a_graph_of_another_net_is_asked_of_nothing(reference, port, exported, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported["apart"])
    del model.graph.output[1:]
    made = model.graph.node.add(op_type="ReduceMax", name="m", input=[model.graph.output[0].name])
    made.output.append("most")
    most = onnx.helper.make_tensor_value_info("most", 1, [1, 1, 1, 1])
    model.graph.output[0].CopyFrom(most)
    onnx.save(model, tmp_path / "another.onnx")
    port.head.bias.set_value(port.head.bias - 1)
    report = third(reference, port, tmp_path / "another.onnx")
    assert report.notes[0].kind == "third_other"
    assert report.exit_code == 1


def test_where_nothing_differs_nobody_is_asked(reference, port):
    report = third(reference, port, "absent.onnx")
    assert report.exit_code == 0
    assert [note.kind for note in report.notes][-1] == "third_not_asked"


def test_a_reference_that_cannot_be_exported_asks_for_a_file(reference, port, monkeypatch):
    import torch

    def refuse(*args, **kwargs):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    port.stages[1].bn._epsilon = 2e-5
    with pytest.raises(UserError, match=r"no such operator.*--third model.onnx"):
        third(reference, port, "export")
