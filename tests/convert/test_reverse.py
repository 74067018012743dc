"""The way back: with the account byte for byte, without it what is missing is listed."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import ConfigError, ConversionError, UserError
from common.words.controls import is_name
from convert import convert_checkpoint, read_checkpoint
from convert.formats.pdparams import write_pdparams
from convert.formats.safetensors import write_safetensors
from convert.formats.stream import Writing
from convert.formats.torch_save.write_zip import write_torch
from convert.names.rules import Rules, resolve
from convert.names.rules_backwards import names_back
from convert.plan import account
from convert.reverse import reverse_checkpoint

DTYPES = ["?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"]
EXTENDED = ["bfloat16", "float8_e4m3fn", "float8_e5m2"]


@st.composite
def arrays(draw, dtypes=(*DTYPES, *EXTENDED)):
    name = draw(st.sampled_from(dtypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    dtype = np.dtype(getattr(ml_dtypes, name) if name in EXTENDED else name)
    size = int(np.prod(shape)) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if name == "?":
        data = bytes(byte & 1 for byte in data)
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.T if draw(st.booleans()) else array


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(is_name)


def same(one, other):
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, arrays(), min_size=1, max_size=5), st.booleans())
def test_every_format_holds_every_tensor(tmp_path_factory, state, tie):
    state = {f"k.{name}": array for name, array in state.items()}
    folder = tmp_path_factory.getbasetemp()
    ties = {}
    if tie:
        first = next(iter(state))
        state["zz"], ties = state[first], {"zz": first}
    write_torch(state, folder / "a.pth", Writing(ties=ties))
    found = read_checkpoint(folder / "a.pth")
    assert found.aliases == (ties if tie and state["zz"].size else {})
    plain = {k: a for k, a in state.items() if a.dtype != np.complex128}
    for path, part in ((folder / "a.pth", state), (folder / "a.safetensors", plain)):
        if path.suffix == ".safetensors" and part:
            write_safetensors(part, path, metadata={"format": "pt"})
        if not part:
            continue
        found = read_checkpoint(path)
        assert set(found) == set(part)
        assert all(same(found[key], array) for key, array in part.items())
    kept = {k: a for k, a in state.items() if "float8" not in a.dtype.name}
    if kept:
        write_pdparams(kept, folder / "a.pdparams")
        found = read_checkpoint(folder / "a.pdparams")
        assert all(same(found[key], array) for key, array in kept.items())


def test_torch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    names = ["float32", "float64", "float16", "bfloat16", "int64", "bool", "float8_e5m2", "uint16"]
    state = {n: torch.arange(6).reshape(2, 3).to(getattr(torch, n)) for n in names}
    state |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "tied": state["float32"]}
    torch.save(state, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    write_torch(dict(found), tmp_path / "b.pth", Writing(ties=found.aliases))
    for mmap in (False, True):
        back = torch.load(tmp_path / "b.pth", weights_only=True, mmap=mmap)
        assert list(back) == list(state)
        for key, tensor in state.items():
            assert back[key].dtype == tensor.dtype
            assert torch.equal(back[key].float(), tensor.float())
        assert back["tied"].data_ptr() == back["float32"].data_ptr()


KINDS = st.sampled_from(["linear", "conv", "norm", "lstm", "attention"])
LAYERS = st.dictionaries(st.from_regex(r"[a-d](\.[0-3]){0,2}x", fullmatch=True), KINDS, min_size=1)


def layer(kind, rng, dtype):
    shapes = {
        "linear": {"weight": (3, 3), "bias": (3,)},
        "conv": {"weight": (4, 2, 1, 1)},
        "norm": dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (3,)),
        "lstm": {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,)},
        "attention": {
            "in_proj_weight": (12, 4),
            "in_proj_bias": (12,),
            "out_proj.weight": (4, 4),
            "out_proj.bias": (4,),
        },
    }[kind]
    made = {leaf: rng.normal(size=shape).astype(dtype) for leaf, shape in shapes.items()}
    if kind == "norm":
        made["num_batches_tracked"] = np.array(rng.integers(100))
    return made


@settings(max_examples=60, deadline=None)
@given(
    LAYERS, st.sampled_from(["f4", "f2", "bfloat16"]), st.sampled_from(["pdparams", "safetensors"])
)
def test_there_and_back_is_byte_identical(tmp_path_factory, layers, dtype, ending):
    """No framework is needed for it; dropped counters and the order come back too."""
    rng = np.random.default_rng(len(layers))
    dtype = getattr(ml_dtypes, dtype, dtype)
    state = {
        f"{path}.{leaf}": array
        for path, kind in layers.items()
        for leaf, array in layer(kind, rng, dtype).items()
    }
    folder = tmp_path_factory.getbasetemp()
    write_torch(state, folder / "a.pth")
    convert_checkpoint(folder / "a.pth", folder / f"a.{ending}", generic=True, force=True)
    made = reverse_checkpoint(folder / f"a.{ending}", folder / "b.pth", force=True)
    assert (made.by, made.missing) == ("account", ())
    back = read_checkpoint(folder / "b.pth")
    assert list(back) == list(state)
    assert all(same(back[key], array) for key, array in state.items())


@pytest.fixture
def cls_file(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from torch_ref.seeded import build_seeded

    state = build_seeded("stdc1_cls", num_classes=7).state_dict()
    torch.save(state, tmp_path / "cls.pth")
    return tmp_path / "cls.pth", state


def test_a_row_with_and_without_its_account(cls_file, tmp_path):
    import torch

    path, state = cls_file
    convert_checkpoint(path, tmp_path / "cls.pdparams")
    reverse_checkpoint(tmp_path / "cls.pdparams", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert list(back) == list(state)
    assert all(torch.equal(back[key], value) for key, value in state.items())
    (tmp_path / "cls.pdparams.account.json").unlink()
    made = reverse_checkpoint(tmp_path / "cls.pdparams")
    assert made.by == "net"
    assert {name.rpartition(".")[2] for name in made.missing} == {"num_batches_tracked"}
    assert set(made.state) | set(made.missing) == set(state)
    assert all(np.array_equal(a, state[key].numpy()) for key, a in made.state.items())


def test_large_dropped_tensors_come_back_from_their_own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(account, "KEPT_BYTES", 8)
    state = {"fc.weight": np.eye(3, dtype="f4"), "fc.bias": np.ones(3, "f4")}
    state["aux.table"] = np.arange(50.0)
    write_torch(state, tmp_path / "a.pth")
    rules = Rules.model_validate({"drops": [{"match": "^aux", "reason": "training only"}]})
    convert_checkpoint(tmp_path / "a.pth", tmp_path / "a.pdparams", rules=rules, generic=True)
    assert (tmp_path / "a.pdparams.dropped.safetensors").exists()
    back = reverse_checkpoint(tmp_path / "a.pdparams").state
    assert all(same(np.asarray(back[key]), array) for key, array in state.items())


def test_layers_of_every_kind_without_an_account(tmp_path):
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")
    from convert import convert_state

    ours, theirs = torch.nn.Module(), paddle.nn.Layer()
    ours.rnn, theirs.rnn = torch.nn.LSTM(3, 4), paddle.nn.LSTM(3, 4)
    ours.att, theirs.att = torch.nn.MultiheadAttention(4, 2), paddle.nn.MultiHeadAttention(4, 2)
    ours.norm, theirs.norm = torch.nn.LayerNorm((2, 3)), paddle.nn.LayerNorm([2, 3])
    ours.bn, theirs.bn = torch.nn.BatchNorm1d(3), paddle.nn.BatchNorm1D(3)
    state = {key: value.numpy() for key, value in ours.state_dict().items()}
    write_pdparams(convert_state(state, theirs).state, tmp_path / "a.pdparams")
    made = reverse_checkpoint(tmp_path / "a.pdparams", model=theirs)
    assert made.missing == ("bn.num_batches_tracked",)
    assert set(made.state) == set(state) - {"bn.num_batches_tracked"}
    assert all(np.array_equal(a, state[key]) for key, a in made.state.items())


def test_a_file_that_its_account_does_not_describe_is_refused(tmp_path):
    state = {"fc.weight": np.ones((2, 3), "f4"), "fc.bias": np.ones(2, "f4")}
    write_torch(state, tmp_path / "a.pth")
    convert_checkpoint(tmp_path / "a.pth", tmp_path / "a.pdparams", generic=True)
    write_pdparams({"fc.weight": np.ones((3, 4), "f4")}, tmp_path / "a.pdparams")
    with pytest.raises(ConversionError, match=r"the account has \(3, 2\) float32, the file has"):
        reverse_checkpoint(tmp_path / "a.pdparams")
    write_pdparams({"fc.weight": np.ones((3, 2), "f4")}, tmp_path / "a.pdparams")
    with pytest.raises(ConversionError, match=r"fc\.bias: stands in the account"):
        reverse_checkpoint(tmp_path / "a.pdparams")
    (tmp_path / "a.pdparams.account.json").write_text("{}")
    with pytest.raises(UserError, match="not the account"):
        reverse_checkpoint(tmp_path / "a.pdparams")
    with pytest.raises(UserError, match="needs a file of paddle"):
        reverse_checkpoint(tmp_path / "a.pth")


RULES = {
    "renames": [
        {"match": r"^encoder\.(\d+)\.", "to": r"body.layer\1."},
        {"match": r"^head16\.", "to": "head32."},
        {"match": r"^head8\.", "to": "head16."},
        {"match": r"^old\.", "to": ""},
    ],
    "splits": [{"match": r"^(.*)\.qkv\.weight$", "into": [rf"\1.{n}.weight" for n in "qkv"]}],
}


def test_rules_work_in_both_directions():
    rules = Rules.model_validate(RULES)
    file = ["encoder.12.weight", "head16.bias", "head8.bias", "encoder.3.qkv.weight"]
    names = resolve(file, rules)
    assert set(names.sources) == {"body.layer12.weight", "head32.bias", "head16.bias"}
    assert set(names.pieces) == {f"body.layer3.{n}.weight" for n in "qkv"}
    anchored = Rules.model_validate({**RULES, "renames": RULES["renames"][:3]})
    back = names_back([*names.sources, *names.pieces], anchored)
    assert back.names == names.sources
    assert back.joined == {"encoder.3.qkv.weight": [f"body.layer3.{n}.weight" for n in "qkv"]}


@pytest.mark.parametrize(
    ("match", "to", "said"),
    [
        (r"^a\d\.", "b.", r"\\d outside of a group"),
        (r"^a.*b", "b", r"'\*' outside|'\.' outside"),
        (r"^(a)(b)", r"\2", "every group must stand in `to` exactly once"),
        (r"x", "", "anchor it with"),
        (r"^(?:a|b)\.", "c.", "begins with"),
    ],
)
def test_rules_that_cannot_be_turned_round_say_so(match, to, said):
    rules = Rules.model_validate({"renames": [{"match": match, "to": to}]})
    with pytest.raises(ConfigError, match=said):
        names_back(["b.weight"], rules)


def test_the_account_says_what_was_split(tmp_path):
    state = {"att.in_proj_weight": np.arange(48, dtype="f4").reshape(12, 4)}
    state |= {"att.in_proj_bias": np.zeros(12, "f4")}
    write_torch(state, tmp_path / "a.pth")
    convert_checkpoint(tmp_path / "a.pth", tmp_path / "a.pdparams", generic=True)
    document = json.loads((tmp_path / "a.pdparams.account.json").read_text())
    row = document["source_tensors"][0]
    assert (row["became"], row["to"]) == ("split", "att.q_proj.weight")
    assert row["also"] == ["att.k_proj.weight", "att.v_proj.weight"]
    assert document["totals"]["split"] == 2
