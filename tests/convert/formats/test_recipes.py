"""Files that are not read say what to do, and what they say works when it is pasted."""

import pickle

import numpy as np
import pytest
import yaml

from common.errors import ConversionError, UnreadableError, UserError
from convert import read_checkpoint
from convert.formats.pickles.globals import RefusedError
from convert.formats.pickles.machine import PickleMachine

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
LEGACY = {"_use_new_zipfile_serialization": False}


class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)


class Settings:
    def __init__(self):
        self.rate = 0.1


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


def quantised_conv():
    made = torch.nn.Sequential(
        torch.ao.quantization.QuantStub(),
        torch.nn.Conv2d(3, 4, 3),
        torch.ao.quantization.DeQuantStub(),
    ).eval()
    engine = "fbgemm" if "fbgemm" in torch.backends.quantized.supported_engines else "qnnpack"
    made.qconfig = torch.ao.quantization.get_default_qconfig(engine)
    torch.ao.quantization.prepare(made, inplace=True)
    made(torch.randn(1, 3, 8, 8))
    return torch.ao.quantization.convert(made)


def paste(error, **names):
    """Run the indented lines of a message."""
    lines = [line[4:] for line in str(error).splitlines() if line.startswith("    ")]
    assert lines
    exec("\n".join(lines), {"torch": torch, **names})
    return read_checkpoint("weights.pth")


def refused(value, path="m.pth", **options):
    if value is not None:
        torch.save(value, path, **options)
    with pytest.raises(UnreadableError) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("wrap", "place"),
    [
        (lambda n: n, ""),
        (lambda n: {"model": n}, "at 'model'"),
        (lambda n: {"epoch": 3, "best": {"a": 1.0}, "ema": n, "after": 1}, "at 'ema'"),
        (lambda n: {"both": {"student": n}}, "at 'both.student'"),
    ],
)
def test_whole_nets(wrap, place, options):
    for whole in (Own(), torch.nn.Sequential(torch.nn.Linear(2, 3))):
        error = refused(wrap(whole), **options)
        assert place in str(error)
        back = paste(error)
        assert {k: v.tolist() for k, v in back.items()} == {
            k: v.tolist() for k, v in whole.state_dict().items()
        }


def test_other_objects_beside_the_weights():
    error = refused({"state_dict": net().state_dict(), "settings": Settings()})
    assert "whole net instead" not in str(error)
    assert list(paste(error)) == list(net().state_dict())


def test_exported_programs_and_npz():
    program = torch.export.export(net(), (torch.ones(1, 4),))
    torch.export.save(program, "m.pt2")
    state = net().state_dict()
    np.savez("m.npz", **{key: value.numpy() for key, value in state.items()})
    np.savez_compressed("c.npz", **{key: value.numpy() for key, value in state.items()})
    for path in ("m.pt2", "m.npz", "c.npz"):
        back = paste(refused(None, path))
        assert set(back) == set(state)
        assert all(np.array_equal(back[key], value.numpy()) for key, value in state.items())


@pytest.mark.parametrize("place", ["", "state_dict", "list"])
def test_sparse_tensors(place):
    dense = {"a": torch.eye(3), "b": torch.eye(2), "c": torch.ones(2)}
    state = {"a": dense["a"].to_sparse(), "b": dense["b"].to_sparse_csr(), "c": dense["c"]}
    whole = {"": state, "state_dict": {"state_dict": state}, "list": [state]}[place]
    error = refused(whole)
    assert "a is not a plain dense tensor, but sparse" in str(error)
    back = paste(error)
    assert all(np.array_equal(back[key], value.numpy()) for key, value in dense.items())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}], ids=["bare", "model"])
def test_quantised_nets(wrap):
    made = torch.ao.quantization.quantize_dynamic(net(), {torch.nn.Linear})
    error = refused(wrap(made.state_dict()))
    assert "_packed_params is not a plain dense tensor" in str(error)
    back = paste(error)
    assert {k: v.shape for k, v in back.items()} == {
        k: tuple(v.shape) for k, v in net().state_dict().items()
    }
    assert np.array_equal(back["0.weight"], made[0].weight().dequantize().numpy())
    conv = quantised_conv()
    error = refused(wrap(conv.state_dict()))
    assert "1.weight is not a plain dense tensor, but quantised" in str(error)
    back = paste(error)
    assert {"1.weight", "1.bias"} <= set(back)
    assert np.array_equal(back["1.weight"], conv[1].weight().dequantize().numpy())


def test_lists_of_state_dicts():
    one, two = {"a": torch.ones(2)}, {"a": torch.zeros(2)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": torch.ones(1)}]}
    arrays = [{"a": np.ones(2)}, {"a": np.zeros(2)}]
    for value in ([one, two], (one, two), arrays):
        torch.save(value, "m.pth")
        with pytest.raises(UserError, match=r"0 \(1\), 1 \(1\); choose one with --key"):
            read_checkpoint("m.pth")
        assert read_checkpoint("m.pth", "1")["a"].tolist() == [0, 0]
    torch.save({"nets": [one, two]}, "m.pth")
    assert read_checkpoint("m.pth", "nets.0")["a"].tolist() == [1, 1]
    torch.save([one, optimizer], "m.pth")
    assert "key '0', 1 tensors; not read: 1 (dict)" in read_checkpoint("m.pth").found_as
    torch.save({"model": one, "history": [{"loss": torch.ones(1)}] * 3}, "m.pth")
    assert list(read_checkpoint("m.pth")) == ["a"]


def test_a_list_of_tensors():
    state = net().state_dict()
    error = refused(list(state.values()))
    assert f"a list of {len(state)} tensors" in str(error)
    back = paste(error, net=net())
    assert all(np.array_equal(back[key], value.numpy()) for key, value in state.items())


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_place_in_a_large_dict_is_found(protocol):
    many = {f"k{i}": {"x": {}} for i in range(1500)}
    for tree, place in (
        ({**many, "last": Settings(), "after": 1}, ("last",)),
        ({"a": {"b": {**many, "c": Settings()}}}, ("a", "b", "c")),
        ({"a": [1, 2], "b": {"c": {"d": {"f": 1}, "e": Settings()}}}, ("b", "c", "e")),
        (Settings(), ()),
    ):
        with pytest.raises(RefusedError) as caught:
            PickleMachine(memoryview(pickle.dumps(tree, protocol))).load()
        assert caught.value.place == place


def test_prefixes_on_some_names_only():
    paddle = pytest.importorskip("paddle")
    from convert import convert_checkpoint
    from convert.names.rules import load_rules

    port = paddle.nn.LayerDict({n: paddle.nn.Linear(2, 3) for n in ("body", "head")})
    inner = paddle.nn.LayerDict({"net": port})
    ours = torch.nn.ModuleDict({n: torch.nn.Linear(2, 3) for n in ("body", "head")})
    state = {("module." if "body" in k else "") + k: v for k, v in ours.state_dict().items()}
    torch.save(state, "m.pth")
    with pytest.raises(ConversionError, match=r"2 names would fit without 'module\.'") as caught:
        convert_checkpoint("m.pth", model=port)
    rules = yaml.safe_load(str(caught.value).splitlines()[-1])
    assert convert_checkpoint("m.pth", model=port, rules=load_rules(rules))
    torch.save(ours.state_dict(), "m.pth")
    with pytest.raises(ConversionError, match=r"with 'net\.' before them") as caught:
        convert_checkpoint("m.pth", model=inner)
    rules = yaml.safe_load(str(caught.value).splitlines()[-1])
    assert convert_checkpoint("m.pth", model=inner, rules=load_rules(rules))


def test_a_row_whose_file_has_a_prefix_on_some_names():
    pytest.importorskip("paddle")
    from convert import convert_checkpoint
    from torch_ref.seeded import build_seeded

    state = build_seeded("stdc1_cls", num_classes=5).state_dict()
    mixed = {("module." if "bn." in k else "") + k: v for k, v in state.items()}
    torch.save(mixed, "m.pth")
    with pytest.raises(ConversionError, match=r"would fit without 'module\.'") as caught:
        convert_checkpoint("m.pth")
    lines = [line[4:] for line in str(caught.value).splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {"torch": torch, "state": mixed})
    assert convert_checkpoint("weights.pth").account.net["row"] == "stdc1_cls"


def test_names_of_another_librarys_quantisation():
    paddle = pytest.importorskip("paddle")
    from convert import convert_state

    arrays = {"fc.qweight": np.ones((4, 3), "i4"), "fc.scales": np.ones(3, "f4")}
    with pytest.raises(ConversionError, match="quantised by another library"):
        convert_state(arrays, paddle.nn.LayerDict({"fc": paddle.nn.Linear(4, 3)}))
