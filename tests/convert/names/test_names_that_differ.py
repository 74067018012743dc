"""Names that differ: rules, proposals, conversions without a net, files of PaddleSeg."""

import json
import random

import numpy as np
import pytest
import yaml

from common.errors import ConversionError, UserError
from convert import convert_checkpoint, read_checkpoint
from convert.formats.pdparams import write_pdparams
from convert.formats.torch_save.write_zip import write_torch
from convert.names.propose import propose
from convert.names.rules import Rules, load_rules, resolve
from convert.names.spec import TensorSpec
from tests.paths import MANIFESTS

SHAPES = {
    "Conv": {"weight": (0, 1, 3, 3)},
    "Linear": {"weight": (0, 1), "bias": (0,)},
    "LayerNorm": {"weight": (0,), "bias": (0,)},
    "BatchNorm": dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (0,)),
}
STYLES = [
    lambda kind, i: (f"stage{i}.{kind}", f"blocks.{i}.{kind}_layer"),
    lambda kind, i: (f"net.{kind}{i}", f"body.{kind}_{i}"),
    lambda kind, i: (f"a{i * 7 % 31}.x", f"b{i}.y"),
    lambda kind, i: (f"h{i + 1}.{kind}", f"h{i}.{kind}"),  # misleading: shifted by one
    lambda kind, i: (f"encoder.{i}.{kind}", f"backbone.layers.{i}.{kind}"),
]


def layer(rng, source, target, kind):
    """Return the tensors of one layer in the file and in the net."""
    sizes = rng.choice([4, 8]), rng.choice([4, 8])
    ours, theirs = [], []
    for role, form in SHAPES[kind].items():
        shape = tuple(sizes[n] if n < 2 else n for n in form)
        ours.append(TensorSpec(f"{source}.{role}", shape, "float32"))
        flipped = shape[::-1] if (kind, role) == ("Linear", "weight") else shape
        leaf = {"running_mean": "_mean", "running_var": "_variance"}.get(role, role)
        theirs.append(TensorSpec(f"{target}.{leaf}", flipped, "float32", kind, role))
    return ours, theirs


def flat(groups):
    return [spec for group in groups for spec in group]


def test_a_hundred_random_orders_give_no_wrong_pair():
    right, wrong, ambiguous = 0, [], 0
    for seed in range(100):
        rng = random.Random(seed)
        style, truth, ours, theirs = rng.choice(STYLES), {}, [], []
        for i in range(rng.randint(6, 14)):
            kind = rng.choice(list(SHAPES))
            source, target = style(kind.lower(), i)
            truth[source] = target
            one, other = layer(rng, source, target, kind)
            ours.append(one)
            theirs.append(other)
        rng.shuffle(ours)
        rng.shuffle(theirs)
        found = propose(flat(ours), flat(theirs))
        wrong += [pair for pair in found.pairs if truth[pair.source] != pair.target]
        right += len(found.pairs)
        ambiguous += len(found.ambiguous)
        again = propose(flat(reversed(ours)), flat(theirs))
        assert {(p.source, p.target) for p in again.pairs} == {
            (p.source, p.target) for p in found.pairs
        }
    assert not wrong
    assert right > 500
    assert ambiguous > 0


def test_a_proposal_is_a_rules_file_that_works():
    """Names that swap places too: no rename may meet the result of another."""
    sizes = {"a": 3, "b": 4, "c": 5}
    moves = {"a": "b", "b": "c", "c": "a"}
    ours = [TensorSpec(f"{k}.weight", (n, 2, 1, 1), "float32") for k, n in sizes.items()]
    theirs = [
        TensorSpec(f"{moves[k]}.weight", (n, 2, 1, 1), "float32", "Conv", "weight")
        for k, n in sizes.items()
    ]
    found = propose(ours, theirs)
    rules = Rules.model_validate(yaml.safe_load(found.to_yaml()))
    names = resolve([spec.key for spec in ours], rules)
    assert names.sources == {f"{moves[k]}.weight": f"{k}.weight" for k in sizes}
    assert not names.clashes


def test_what_is_alike_is_ambiguous_and_stands_as_a_comment():
    ours = [TensorSpec(f"{name}.weight", (4, 4, 1, 1), "float32") for name in ("left", "right")]
    theirs = [
        TensorSpec(f"{name}.weight", (4, 4, 1, 1), "float32", "Conv", "weight")
        for name in ("first", "second")
    ]
    found = propose(ours, theirs)
    assert not found.pairs
    assert found.ambiguous == {"left": ("first", "second"), "right": ("first", "second")}
    text = found.to_yaml()
    assert "# ambiguous: left may be first, second" in text
    assert Rules.model_validate(yaml.safe_load(text)) == Rules()


def test_other_peoples_names_of_normalisations():
    ours = [TensorSpec(f"n.{leaf}", (3,), "float32") for leaf in ("gamma", "beta")]
    theirs = [TensorSpec(f"m.{r}", (3,), "float32", "LayerNorm", r) for r in ("weight", "bias")]
    rules = Rules.model_validate(yaml.safe_load(propose(ours, theirs).to_yaml()))
    names = resolve([spec.key for spec in ours], rules)
    assert names.sources == {"m.weight": "n.gamma", "m.bias": "n.beta"}


def test_pieces_by_rules():
    paddle = pytest.importorskip("paddle")
    from convert import convert_state

    net = paddle.nn.LayerDict({name: paddle.nn.Linear(4, 2) for name in "qkv"})
    weight, bias = np.arange(24.0).reshape(6, 4), np.arange(6.0)
    split = [
        {"match": r"^qkv\.(weight|bias)$", "into": [rf"{name}.\1" for name in "qkv"]},
    ]
    net.astype("float32")
    arrays = {"qkv.weight": weight.astype("f4"), "qkv.bias": bias.astype("f4")}
    made = convert_state(arrays, net, Rules.model_validate({"splits": split}))
    for i, name in enumerate("qkv"):
        assert np.array_equal(made.state[f"{name}.weight"], weight[2 * i : 2 * i + 2].T)
        assert np.array_equal(made.state[f"{name}.bias"], bias[2 * i : 2 * i + 2])
    split[0]["sizes"] = [1, 2, 4]
    with pytest.raises(ConversionError, match="has no 3 pieces"):
        convert_state(arrays, net, Rules.model_validate({"splits": split}))


class TestGeneric:
    def run(self, tmp_path, state, **rules):
        write_torch(state, tmp_path / "a.pth")
        made = convert_checkpoint(
            tmp_path / "a.pth", rules=Rules.model_validate(rules), generic=True
        )
        return dict(made.state)

    def test_what_names_and_shapes_prove(self, tmp_path):
        square = np.arange(9.0).reshape(3, 3)
        norm = {f"bn.{k}": np.ones(3) for k in ("weight", "bias", "running_mean", "running_var")}
        state = {"fc.weight": square, "fc.bias": np.ones(3), **norm}
        state |= {"conv.weight": np.ones((2, 3, 1, 1)), "rnn.weight_ih_l0": square}
        state |= {"bn.num_batches_tracked": np.array(3), "index": np.arange(4)}
        made = self.run(tmp_path, state)
        assert np.array_equal(made["fc.weight"], square.T)
        assert np.array_equal(made["rnn.weight_ih_l0"], square)
        assert {"bn._mean", "bn._variance", "index", "conv.weight"} < set(made)
        assert "bn.num_batches_tracked" not in made

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("table.weight", (5, 3)),
            ("norm.weight", (3,)),
            ("conv.weight_g", (3, 1, 1, 1)),
            ("scale", (3, 3)),
        ],
    )
    def test_what_is_open_is_listed_and_the_user_decides(self, tmp_path, name, shape):
        state = {name: np.arange(np.prod(shape), dtype="f4").reshape(shape)}
        with pytest.raises(ConversionError, match="kinds:") as caught:
            self.run(tmp_path, state)
        assert f"# {name} {shape}" in str(caught.value)
        kinds = [{"match": f"^{name}$", "kind": "Parameter"}]
        assert np.array_equal(self.run(tmp_path, state, kinds=kinds)[name], state[name])

    def test_decided_kinds(self, tmp_path):
        state = {"a.weight": np.ones((5, 3)), "b.weight": np.ones((5, 3)), "p.weight": np.ones(3)}
        kinds = [
            {"match": "^a", "kind": "Linear"},
            {"match": "^b", "kind": "Embedding"},
            {"match": "^p", "kind": "PReLU"},
        ]
        made = self.run(tmp_path, state, kinds=kinds)
        assert {k: a.shape for k, a in made.items()} == {
            "a.weight": (3, 5),
            "b.weight": (5, 3),
            "p._weight": (3,),
        }
        with pytest.raises(UserError, match="no kind is called 'Dense'"):
            self.run(tmp_path, state, kinds=[{"match": "^a", "kind": "Dense"}])


class TestPaddleSeg:
    def file(self, tmp_path, depth):
        text = (MANIFESTS / f"stdc{depth}_seg_paddleseg.json").read_text(encoding="utf-8")
        rng = np.random.default_rng(0)
        state = {k: rng.normal(size=s).astype(t) for k, s, t in json.loads(text)["state_dict"]}
        write_pdparams(state, tmp_path / "model.pdparams")
        return tmp_path / "model.pdparams", state

    @pytest.mark.parametrize("depth", [1, 2])
    def test_its_file_fills_our_net_and_the_differences_are_said(self, tmp_path, depth):
        pytest.importorskip("paddle")
        path, state = self.file(tmp_path, depth)
        made = convert_checkpoint(path, tmp_path / "ours.pdparams")
        assert made.account.net["row"] == f"stdc{depth}_seg"
        assert made.account.net["options"] == {"num_classes": 19, "head_norm": "bn"}
        assert made.account.totals["dropped"] == 24
        (dropped,) = made.account.dropped_by_reason.values()
        assert all(key.endswith("bias") for key in dropped)
        assert len(made.account.left_at_initialisation) == 11
        notes = " ".join(made.account.notes)
        assert "24 convolution biases" in notes
        assert "exclusive=True" in notes
        moved = made.state["conv_out32.conv.bn._mean"]
        assert np.array_equal(moved, state["conv_out16.conv._batch_norm._mean"])
        assert len(made.state) == len(state) - 24

    def test_it_cannot_be_verified_and_a_misfit_is_named(self, tmp_path):
        pytest.importorskip("paddle")
        path, state = self.file(tmp_path, 1)
        with pytest.raises(UserError, match="cannot be verified"):
            convert_checkpoint(path, verify=True)
        state["ffm.more.bias"] = np.ones(3, "f4")
        write_pdparams(state, path)
        with pytest.raises(ConversionError, match=r"Nearest is stdc1_seg.*ffm\.more\.bias"):
            convert_checkpoint(path)


@pytest.mark.parametrize(
    ("manifest", "factory"),
    [
        ("resnet50_torchvision", "resnet50"),
        ("vgg16_torchvision", "vgg16"),
        ("vgg16_bn_torchvision", "vgg16_bn"),
    ],
)
def test_torchvision_files_fill_the_nets_of_paddle_vision(tmp_path, manifest, factory):
    paddle = pytest.importorskip("paddle")
    vision = pytest.importorskip("paddle.vision.models")
    shapes = json.loads((MANIFESTS / f"{manifest}.json").read_text(encoding="utf-8"))["state_dict"]
    empty = {k: np.broadcast_to(np.zeros((), t), s) for k, s, t in shapes}
    with paddle.LazyGuard():
        options = {"batch_norm": True} if factory == "vgg16_bn" else {}
        net = getattr(vision, factory.removesuffix("_bn"))(**options)
    from convert import convert_state

    name = "vgg_torchvision" if "vgg" in factory else "resnet_torchvision"
    made = convert_state(empty, net, load_rules(name))
    assert list(made.state) == list(net.state_dict())


def test_prefixes_follow_the_net(tmp_path):
    paddle = pytest.importorskip("paddle")
    state = {"module.backbone.fc.weight": np.eye(3, dtype="f4")}
    write_torch(state, tmp_path / "a.pth")
    for path in ("fc", "backbone.fc"):
        net = paddle.nn.Layer()
        if path == "fc":
            net.fc = paddle.nn.Linear(3, 3, bias_attr=False)
        else:
            net.backbone = paddle.nn.LayerDict({"fc": paddle.nn.Linear(3, 3, bias_attr=False)})
        made = convert_checkpoint(tmp_path / "a.pth", model=net)
        assert list(made.state) == [f"{path}.weight"]
    assert read_checkpoint(tmp_path / "a.pth").prefix == "module.backbone."


def test_a_comment_names_a_layer_of_the_same_block_and_none_twice():
    """Whoever takes the comments as they stand fills no layer of the net twice."""
    ends = (("conv_1_l", "left_1"), ("conv_1_r", "right_1"), ("last", "tail"))
    ours, theirs = [], []
    for block in range(2):
        for ending, other in ends:
            shape = (4, 4, 1, 1) if ending != "last" else (8 + block, 4, 3, 3)
            ours.append(TensorSpec(f"layers.{block}.{ending}.weight", shape, "float32"))
            name = f"blocks.{block}.{other}.weight"
            theirs.append(TensorSpec(name, shape, "float32", "Conv", "weight"))
    found = propose(ours, theirs)
    assert len(found.ambiguous) == 4
    comments = [line for line in found.to_yaml().splitlines() if line.startswith("  #   to:")]
    named = [f"{spec.key.removesuffix('weight')}" for spec in theirs if "tail" not in spec.key]
    assert [line.split("'")[1] for line in comments] == named
