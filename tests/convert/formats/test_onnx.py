"""Initializers of ONNX files read as a checkpoint: names, layouts, files beside, damage."""

import numpy as np
import pytest

from common.errors import ConversionError, UnreadableError
from convert import job, read_checkpoint
from convert.formats.stored import FileHead
from convert.formats.table import format_of
from convert.names.rules import Rules
from convert.names.spec import BARE, BATCH_NORM, PADDLE, TORCH, TensorSpec
from convert.nets.recognise import Misfit, Recognised
from convert.plan.plan import plan_moves
from tests.convert.formats.onnx_files import (
    STRING,
    blob,
    external,
    floats,
    head,
    integers,
    model,
    node,
    number,
    tensor,
)

W = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.arange(3, dtype=np.float32)


def written(folder, data, name="net.onnx"):
    path = folder / name
    path.write_bytes(data)
    return path


def read(folder, tensors, nodes=(), **more):
    return read_checkpoint(written(folder, model(tensors, nodes, **more)))


def test_names_and_values_are_kept_whatever_the_file_is_called(tmp_path):
    data = model([tensor("fc.weight", W), tensor("fc.bias", B.astype(np.float16))])
    for name in ("net.onnx", "net.bin"):
        found = read_checkpoint(written(tmp_path, data, name))
        assert dict(found.shapes) == {"fc.weight": (3, 4), "fc.bias": (3,)}
        assert np.array_equal(found["fc.weight"], W)
        assert found["fc.bias"].dtype == np.float16
        assert found.framework == TORCH
        assert "opset 13" in found.found_as


def test_values_that_are_no_raw_bytes_are_read(tmp_path):
    halves = B.astype(np.float16).view(np.uint16).tolist()
    one_by_one = head("u", [2], 7) + number(7, 300) + number(7, (1 << 64) - 2)
    tensors = [floats("f", [1.5, -2.0]), integers("i", [-1, 300, 2**40]), one_by_one]
    found = read(tmp_path, [*tensors, integers("h", halves, 10, 5)])
    assert found["f"].tolist() == [1.5, -2.0]
    assert found["i"].tolist() == [-1, 300, 2**40]
    assert found["u"].tolist() == [300, -2]
    assert found["h"].tolist() == B.tolist()


def test_what_the_exporter_named_is_named_after_its_node_and_turned_back(tmp_path):
    matrix = np.ascontiguousarray(W.T)
    nodes = [
        node("Identity", ["onnx::Conv_61"], ["onnx::Conv_64"]),
        node("Conv", ["x", "onnx::Conv_60", "onnx::Conv_61"], ["y"], "/a/a.0/conv/Conv"),
        node("Conv", ["y", "onnx::Conv_60", "onnx::Conv_64"], ["z"], "/b/conv/Conv_1"),
        node("MatMul", ["z", "onnx::MatMul_7"], ["o"], "/fc/MatMul"),
    ]
    kernel = np.ones((3, 3, 1, 1), np.float32)
    tensors = [tensor("onnx::Conv_60", kernel), tensor("onnx::Conv_61", B)]
    found = read(tmp_path, [*tensors, tensor("onnx::MatMul_7", matrix)], nodes)
    names = ["a.0.conv.weight", "a.0.conv.bias", "b.conv.weight", "b.conv.bias", "fc.weight"]
    assert sorted(found) == sorted(names)
    assert np.array_equal(found["fc.weight"], W)
    assert "5 initializers named after their node" in found.found_as
    assert "1 matrices" in found.found_as


def test_tensors_kept_once_have_all_their_names_and_are_not_tied(tmp_path):
    nodes = [node("Identity", ["a.bias"], ["b.bias"]), node("Identity", ["b.bias"], ["c.bias"])]
    found = read(tmp_path, [tensor("a.bias", B)], nodes)
    assert sorted(found) == ["a.bias", "b.bias", "c.bias"]
    assert not found.aliases


def test_settings_of_operators_are_no_weights_and_are_counted(tmp_path):
    nodes = [
        node("Reshape", ["x", "shape"], ["y"]),
        node("Mul", ["y", "onnx::Mul_3"], ["z"]),
        node("Add", ["z", "scale"], ["w"]),
    ]
    tensors = [integers("shape", [1, -1]), floats("onnx::Mul_3", [2.0]), floats("scale", [3.0])]
    found = read(tmp_path, tensors, nodes)
    assert list(found) == ["scale"]
    assert "2 settings of operators left out" in found.found_as


def test_a_file_of_paddle_says_so(tmp_path):
    assert read(tmp_path, [tensor("w", W)], producer="PaddlePaddle").framework == PADDLE


def test_values_in_files_beside_are_read_and_belong_to_what_was_read(tmp_path):
    (tmp_path / "below").mkdir()
    beside = tmp_path / "below" / "w.bin"
    beside.write_bytes(b"1234" + W.tobytes())
    found = read(tmp_path, [external("w", W, "below/w.bin", offset=4, length=W.nbytes)])
    assert np.array_equal(found["w"], W)
    assert found.files == (tmp_path / "net.onnx", beside)
    beside.write_bytes(b"")
    with pytest.raises(UnreadableError, match="changed"):
        found.require_unchanged()


def test_a_file_beside_that_is_absent_or_too_short_is_named(tmp_path):
    with pytest.raises(UnreadableError, match=r"w are to lie in 'w\.bin'.*does not exist"):
        read(tmp_path, [external("w", W, "w.bin")])
    (tmp_path / "w.bin").write_bytes(W.tobytes()[:-4])
    with pytest.raises(UnreadableError, match="has 44 bytes, its shape needs 48"):
        read(tmp_path, [external("w", W, "w.bin")])
    with pytest.raises(UnreadableError, match=r"w lies beyond the end of w\.bin"):
        read(tmp_path, [external("w", W, "w.bin", length=48)])
    with pytest.raises(UnreadableError, match="'-4' is no number"):
        read(tmp_path, [external("w", W, "w.bin", offset=-4)])


@pytest.mark.parametrize("way", ["../w.bin", "absolute", "link", "..\\w.bin", ""])
def test_no_way_leads_out_of_the_folder(tmp_path, way):
    folder, outside = tmp_path / "model", tmp_path / "w.bin"
    folder.mkdir()
    outside.write_bytes(W.tobytes())
    (folder / "link").symlink_to(outside)
    location = str(outside) if way == "absolute" else way
    with pytest.raises(UnreadableError, match=r"leads out of the folder|no file's name"):
        read(folder, [external("w", W, location)])


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([head("w", [3, 4], 1) + blob(9, b"1234")], "has 4 bytes, its shape needs 48"),
        ([head("w", [2**63, 2], 1)], "shape is not one that can be"),
        ([head("w", [1], 77)], "unknown type 77"),
        ([tensor("w", W), tensor("w", W)], "two tensors 'w'"),
        ([b"\x0b"], "of the kind 3"),
        ([b"\x08\xff"], "without an end"),
        ([b"\x4a\xff\xff\x03"], "cut off"),
        ([blob(8, b"\xff\xfe")], "no text"),
    ],
)
def test_damage_is_said(tmp_path, tensors, said):
    with pytest.raises(UnreadableError, match=f"damaged ONNX file.*{said}"):
        read(tmp_path, tensors)


def test_a_model_that_is_cut_off_anywhere_is_refused(tmp_path):
    data = model([tensor("w", W), tensor("b", B)], [node("Conv", ["x", "w"], ["y"])])
    whole = data.index(blob(8, number(2, 13)))
    for end in range(6, len(data)):
        if end == whole:  # a model without its opset is one
            continue
        with pytest.raises(UnreadableError):
            read_checkpoint(written(tmp_path, data[:end]))


def test_a_graph_without_weights_strings_and_quantised_models_are_refused(tmp_path):
    with pytest.raises(UnreadableError, match="holds no state dict"):
        read(tmp_path, [])
    with pytest.raises(UnreadableError, match="w is not a plain dense tensor, but strings"):
        read(tmp_path, [head("w", [1], STRING)])
    with pytest.raises(UnreadableError, match="quantised model"):
        read(tmp_path, [tensor("w", W)], [node("QLinearConv", ["x", "w"], ["y"])])


def test_a_page_called_onnx_is_said_to_be_text(tmp_path):
    with pytest.raises(UnreadableError, match="text file"):
        read_checkpoint(written(tmp_path, b"version https://git-lfs"))


def test_other_formats_do_not_look_like_it():
    pickle = FileHead(b"\x80\x04\x95", 3, ".onnx")
    assert format_of(None, pickle).suffixes == (".pdparams",)


def test_a_norm_that_was_folded_is_said():
    target = [TensorSpec("a.weight", (3, 4), "float32", "Conv", "weight")]
    target += [
        TensorSpec(f"n.{leaf}", (3,), "float32", BATCH_NORM, leaf) for leaf in ("weight", "bias")
    ]
    source = [TensorSpec("a.weight", (3, 4), "float32"), TensorSpec("a.bias", (3,), "float32")]
    with pytest.raises(ConversionError, match="BatchNorm is folded") as caught:
        plan_moves(source, target, Rules())
    assert not caught.value.names_differ
    other = [source[0], TensorSpec("m.bias", (3,), "float32", BARE)]
    with pytest.raises(ConversionError) as caught:
        plan_moves(other, target, Rules())
    assert "folded" not in str(caught.value)


def test_a_row_of_the_table_says_it_too():
    misfit = Misfit(Recognised("unet", {}), 0, ("n.running_mean",), ("c.bias",), ())
    assert misfit.is_folded
    assert not Misfit(Recognised("unet", {}), 0, ("n.running_mean",), ("c.w",), ()).is_folded


def test_a_graph_of_no_row_is_told_what_can_be_made_of_it(tmp_path, monkeypatch):
    """It has no batch counters, by which alone the head norms of STDC are told apart."""

    def recognise(*given):
        raise ConversionError("the file fits no net of the table")

    monkeypatch.setattr(job, "recognise", recognise)
    found = read(tmp_path, [tensor("cp.backbone.features.0.conv.weight", W)])
    with pytest.raises(ConversionError, match="fits no net of the table") as error:
        job.job_of(found, None, None, None, None)
    assert "convert the checkpoint that it was exported from" in str(error.value)
    assert "convert_graph" in str(error.value)
