"""What was asked for is read first, and named as it was asked for: files, arguments, operators."""

import importlib.util
from argparse import Namespace

import pytest

pytest.importorskip("torch")

from commands.align.passes import align_forward_pass
from commands.graph import flow, reference_torch
from common.errors import UnreadableError, UserError

SPEC = "tests.commands.graph.nets_torch:Small"
ASKED = {"kind": "torch", "spec": SPEC, "arguments": {}, "seed": 0, "weights": None}


@pytest.fixture
def nothing_installed(monkeypatch):
    """No package of an extra is there."""
    monkeypatch.setattr("align.witness.graph.find_spec", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_a_file_that_is_not_there_is_named_before_what_is_not_installed(
    tmp_path, nothing_installed
):
    asked = {"kind": "onnx", "spec": str(tmp_path / "nothing.onnx")}
    with pytest.raises(UnreadableError, match=r"nothing[.]onnx: no such file"):
        flow.convert_graph(asked, tmp_path / "out", False, print)
    (tmp_path / "nothing.onnx").write_bytes(b"x")
    with pytest.raises(UserError, match="is not installed"):
        flow.convert_graph(asked, tmp_path / "out", False, print)


def test_arguments_are_told_by_their_option():
    with pytest.raises(UserError, match=r"^the net .*takes no wdith: give --args") as told:
        reference_torch.reference(ASKED | {"arguments": {"wdith": 3}})
    assert "--torch" not in str(told.value)


def test_a_net_is_built_with_what_torchvision_may_miss(monkeypatch):
    built = []

    def lent(action):
        built.append(action())
        return built[-1]

    monkeypatch.setattr(reference_torch, "lent", lent)
    assert reference_torch.reference(ASKED) is built[0]


def test_a_witness_that_is_no_graph_is_refused_before_anything_is_compared(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    asked = {"record": None, "force": None, "against": None, "train": False}
    (tmp_path / "nets.py").write_text("x = 1\n")
    for name, words in (("nets.py", "is no ONNX model"), ("gone.onnx", "no such file")):
        with pytest.raises(UnreadableError, match=words):
            align_forward_pass(Namespace(**asked, third=str(tmp_path / name)))
