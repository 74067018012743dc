"""Reading checkpoints: every usual wrapping, and no code of a file ever runs."""

import argparse
import datetime
import gzip
import json
import os
import pickle
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from common.errors import UnreadableError, UserError
from convert import read_checkpoint

torch = pytest.importorskip("torch")

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(5)}
LEGACY = {"_use_new_zipfile_serialization": False}


class RunsCode:
    def __reduce__(self):
        return os.mkdir, (os.environ["CONVERT_TEST_TRACE"],)


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """A folder that exists as soon as code of a file runs."""
    monkeypatch.setenv("CONVERT_TEST_TRACE", str(tmp_path / "ran"))
    return tmp_path / "ran"


def save(path, value, **options):
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda s: s, "bare state dict, 2 tensors"),
        (lambda s: {"state_dict": s, "epoch": 3}, "key 'state_dict', 2 tensors; not read: epoch"),
        (lambda s: {"model": {"net": s}}, "key 'model.net'"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "prefix 'module.' removed"),
        (
            lambda s: {"net": {f"module._orig_mod.{k}": v for k, v in s.items()}},
            "prefix 'module._orig_mod.' removed",
        ),
        (
            lambda s: {
                "state_dict": s,
                "best": torch.tensor(0.5),
                "optimizer": {"state": {"exp_avg": torch.ones(2)}},
            },
            "best (tensor), optimizer (dict)",
        ),
    ],
)
def test_usual_wrappings(tmp_path, wrap, said, options):
    found = read_checkpoint(save(tmp_path / "model.tar", wrap(STATE), **options))
    assert list(found) == list(STATE)
    for key, tensor in STATE.items():
        assert np.array_equal(found[key], tensor.numpy())
        assert found[key].dtype == tensor.numpy().dtype
    assert said in found.found_as
    assert ("pre-1.6" in found.found_as) is bool(options)
    with pytest.raises(ValueError, match="read-only"):
        found["a.weight"][0] = 1


def test_a_partial_prefix_stays(tmp_path):
    path = save(tmp_path / "m.pth", {"module.a": torch.ones(1), "b": torch.ones(1)})
    assert list(read_checkpoint(path)) == ["module.a", "b"]


def test_two_state_dicts_are_listed_and_asked_for(tmp_path):
    both = {"model": STATE, "ema": {"a.weight": torch.zeros(2)}}
    path = save(tmp_path / "m.pth", both)
    with pytest.raises(UserError, match=r"model \(2\), ema \(1\).*--key"):
        read_checkpoint(path)
    assert list(read_checkpoint(path, key="ema")) == ["a.weight"]
    with pytest.raises(UserError, match="no state dict 'x'"):
        read_checkpoint(path, key="x")


def test_shared_storage_is_named(tmp_path):
    weight = torch.ones(3)
    state = {"a": weight, "b": weight, "c": weight.clone(), "d": weight[:2], "e": torch.ones(0)}
    found = read_checkpoint(save(tmp_path / "m.pth", state))
    assert found.aliases == {"b": "a"}
    assert "1 of them second names" in found.found_as


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float16", "int64", "bool"])
def test_dtypes(tmp_path, name, options):
    tensor = torch.tensor([[0.0, 1.0], [-2.0, 0.5]]).to(getattr(torch, name))
    array = read_checkpoint(save(tmp_path / "m.pth", {"a": tensor.T}, **options))["a"]
    assert array.dtype == np.dtype(getattr(ml_dtypes, name, None) or name)
    assert np.array_equal(array.astype("f4"), tensor.T.float().numpy())


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_namespaces_and_numpy_values_beside_the_weights(tmp_path, options):
    content = {
        "state_dict": STATE,
        "args": argparse.Namespace(lr=0.1, path=Path("/data")),
        "best": np.float64(0.75),
        "means": np.ones(3),
        "when": datetime.date(2021, 6, 19),
    }
    found = read_checkpoint(save(tmp_path / "m.pth", content, **options))
    assert list(found) == list(STATE)
    assert "args (argparse.Namespace), best (float64)" in found.found_as


def test_state_dicts_of_numpy_arrays(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array(3), "c": np.zeros((0, 2), "f2")}
    for value in (arrays, {"model": arrays, "args": argparse.Namespace()}):
        found = read_checkpoint(save(tmp_path / "m.pth", value))
        assert list(found) == list(arrays)
        for key, array in arrays.items():
            assert found[key].dtype == array.dtype
            assert np.array_equal(found[key], array)


def test_lightning_and_backbone_prefixes(tmp_path):
    path = tmp_path / "last.ckpt"
    lightning = {
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {f"model.{key}": value for key, value in STATE.items()},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
    }
    found = read_checkpoint(save(path, lightning))
    assert list(found) == list(STATE)
    assert found.prefix == "model."
    found = read_checkpoint(save(path, {f"module.backbone.{k}": v for k, v in STATE.items()}))
    assert (list(found), found.prefix) == (list(STATE), "module.backbone.")
    assert list(found.with_prefix("backbone.")) == [f"backbone.{key}" for key in STATE]


def test_torchscript_archives_are_read_and_not_run(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.jit.save(torch.jit.script(net), str(tmp_path / "m.pt"))
    found = read_checkpoint(tmp_path / "m.pt")
    assert "TorchScript archive (its code was not run)" in found.found_as
    assert list(found) == list(net.state_dict())
    for key, tensor in net.state_dict().items():
        assert np.array_equal(found[key], tensor.numpy())


DTYPES = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
DTYPES += ["int8", "uint8", "int16", "int32", "int64", "bool", "uint16"]


def test_safetensors_and_shards(tmp_path):
    from safetensors.torch import save_file

    state = {name: torch.ones(2, 3).to(getattr(torch, name)) for name in DTYPES}
    state |= {"scalar": torch.tensor(3), "empty": torch.zeros(0, 2)}
    save_file(state, tmp_path / "m.safetensors")
    found = read_checkpoint(tmp_path / "m.safetensors")
    assert set(found) == set(state)
    for key, tensor in state.items():
        assert found[key].dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert np.array_equal(found[key].astype("f4"), tensor.float().numpy())
    names = list(state)
    for i in range(2):
        save_file({k: state[k] for k in names[i::2]}, tmp_path / f"part-{i}.safetensors")
    places = {k: f"part-{i % 2}.safetensors" for i, k in enumerate(names)}
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert list(read_checkpoint(index)) == names
    assert "index of 2 files, which hold no CRC, " in read_checkpoint(index).found_as
    index.write_text(json.dumps({"weight_map": places | {"lost": "part-0.safetensors"}}))
    with pytest.raises(UnreadableError, match="lost is not in part-0"):
        read_checkpoint(index)
    for elsewhere in ("../part-0.safetensors", "", ".", "..", "/"):
        index.write_text(json.dumps({"weight_map": {"a": elsewhere}}))
        with pytest.raises(UnreadableError, match="not beside it"):
            read_checkpoint(index)


def test_what_paddle_saves_is_read(tmp_path):
    paddle = pytest.importorskip("paddle")
    layer = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4))
    path = str(tmp_path / "m.pdparams")
    for protocol in (2, 4):
        paddle.save(layer.state_dict(), path, protocol=protocol)
        found = read_checkpoint(path)
        assert found.framework == "paddle"
        assert list(found) == list(layer.state_dict())
        assert np.array_equal(found["0.weight"], layer[0].weight.numpy())
    half = paddle.ones([2]).astype("bfloat16")
    paddle.save({"model": {"a": half}, "epoch": 3}, path)
    assert read_checkpoint(path)["a"].dtype == ml_dtypes.bfloat16


def test_a_flipped_byte_of_a_zip_is_an_error(tmp_path):
    path = save(tmp_path / "m.pth", {"a": torch.zeros(500), "b": torch.ones(500)})
    data = bytearray(path.read_bytes())
    data[data.index(b"\0\0\x80\x3f" * 100) + 4] ^= 1
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)  # torch does not look
    found = read_checkpoint(path)
    assert not found["a"].any()
    with pytest.raises(UnreadableError, match=r"b: the bytes of data/1 differ from their CRC"):
        found["b"]


def test_a_zip_is_mapped_not_copied(tmp_path):
    path = save(tmp_path / "m.pth", {"a": torch.zeros(1 << 20)})
    checkpoint = read_checkpoint(path)
    assert checkpoint["a"].base is not None
    with open("/proc/self/maps") as maps:
        assert str(path) in maps.read()


def half(path, **options):
    save(path, {"a": torch.zeros(5000)}, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CASES = {
    "absent": (lambda p: None, "no such file"),
    "folder": (lambda p: p.mkdir(), "folder"),
    "empty": (lambda p: p.touch(), "empty"),
    "text": (lambda p: p.write_text("<html>\nnot found"), "text file, beginning '<html>'"),
    "cut-off zip": (lambda p: half(p), "damaged or cut off"),
    "cut-off legacy": (lambda p: half(p, **LEGACY), "cannot be read"),
    "no tensors": (lambda p: save(p, {"epoch": 3}), r"no state dict .*'epoch' \(int\)"),
    "empty dict": (lambda p: save(p, {}), "no state dict"),
    "a list": (lambda p: save(p, [1]), "no state dict .*list"),
    "whole net": (lambda p: save(p, torch.nn.Linear(2, 2)), r"asks for torch\.nn.*state_dict\(\)"),
    "TorchScript": (
        lambda p: torch.jit.save(torch.jit.script(torch.nn.ReLU()), p),
        "no state dict",
    ),
    "other zip": (lambda p: np.savez(p.open("wb"), a=np.ones(1)), r"it holds: a\.npy"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(b"x")), "gzip"),
    "paddle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "no state dict"),
    "safetensors": (lambda p: p.write_bytes(b"\2" + bytes(7) + b"{"), "damaged safetensors"),
    "noise": (lambda p: p.write_bytes(bytes(range(150, 250))), "no known format"),
    "sparse": (lambda p: save(p, {"a": torch.eye(2).to_sparse()}), "a is not a plain dense"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_read_is_one_message(tmp_path, case):
    path = tmp_path / "model.pth"
    make, said = CASES[case]
    make(path)
    with pytest.raises(UnreadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(str(path))
    assert re.search(said, str(caught.value), re.DOTALL)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda p: save(p, {"state_dict": STATE, "x": RunsCode()}),
        lambda p: save(p, {"state_dict": STATE, "x": RunsCode()}, **LEGACY),
        lambda p: save(p, RunsCode()),
        lambda p: p.write_bytes(pickle.dumps(RunsCode())),
        lambda p: p.write_bytes(pickle.dumps({"a": RunsCode()}, protocol=2)),
    ],
    ids=["zip", "legacy", "bare", "pickle", "pickle2"],
)
def test_no_code_of_a_file_runs_and_the_call_is_named(tmp_path, trace, write):
    path = tmp_path / "model.pth"
    write(path)
    with pytest.raises(UnreadableError, match=r"posix\.mkdir|nt\.mkdir") as caught:
        read_checkpoint(path)
    assert "othing was run" in str(caught.value)
    assert not trace.exists()
    pickle.loads(pickle.dumps(RunsCode()))  # the trap itself works
    assert trace.exists()
