"""Weights of a net of other classes start a run: all but the head, on both sides, and only so."""

import json

import numpy as np
import pytest

from common.errors import ConfigError, ConversionError
from common.settings.load import load_settings
from convert.names.spec import TensorSpec
from convert.nets.heads import head_by_shapes
from tests.common.data import layouts
from tests.nursery import run
from tests.paths import CONFIGS, MANIFESTS, ROOT

SMALL = "data.crop_hw=[32,48] data.batch_size=2 train.iterations=1 train.eval_interval=1"
HEADS = {
    "stdc1": {"conv_out.conv_out", "conv_out16.conv_out", "conv_out32.conv_out"},
    "unet": {"outc.conv"},
    "fcn32s": {"score_fr", "upscore"},
    "fcn_tv_r50": {"classifier.4", "aux_classifier.4"},
}
NARROW = {"stdc1": {}, "unet": {"width": 0.125}}
NARROW |= {name: {"width": 1 / 16} for name in HEADS if name not in NARROW}


def settings_of(name, path, *more, classes=5):
    options = [f"model.options.{key}={value}" for key, value in NARROW[name].items()]
    given = [f"model.num_classes={classes}", f"weights.path={path}", "weights.into=", *options]
    given.append("weights.row=null")
    return load_settings(CONFIGS / f"{name}_toy.yml", [*given, *more])


def net_of(settings, side, classes=None):
    options = settings.model.overrides | ({"num_classes": classes} if classes else {})
    if side == "torch":
        torch = pytest.importorskip("torch")
        import torch_ref

        torch.manual_seed(classes or 0)
        return torch_ref.build_model(settings.model.name, **options)
    paddle = pytest.importorskip("paddle")
    import paddle_impl

    paddle.seed(classes or 0)
    return paddle_impl.build_model(settings.model.name, **options)


def save(net, path):
    if path.suffix == ".pth":
        import torch

        torch.save(net.state_dict(), path)
    else:
        import paddle

        paddle.save(net.state_dict(), str(path))


def arrays_of(net):
    return {key: np.array(tensor.numpy()) for key, tensor in net.state_dict().items()}


def layers(names):
    return {name.rpartition(".")[0] for name in names}


CASES = [("torch", ".pth"), ("paddle", ".pth"), ("paddle", ".pdparams")]


@pytest.mark.parametrize(("side", "suffix"), CASES)
@pytest.mark.parametrize("name", HEADS)
def test_all_but_the_head_is_taken(tmp_path, name, side, suffix):
    from commands.train_start import initialised

    path = tmp_path / f"nineteen{suffix}"
    settings = settings_of(name, path, "weights.new_head=true")
    given = net_of(settings, "torch" if suffix == ".pth" else "paddle", 19)
    save(given, path)
    net = net_of(settings, side)
    before = arrays_of(net)
    account = initialised(settings, net, side)
    after, theirs = arrays_of(net), arrays_of(given)
    left = {row["key"] for row in account["target_tensors"] if row["source"] is None}
    assert layers(left) == HEADS[name]
    turned = {row["key"] for row in account["target_tensors"] if row["transposed"]}
    for key, array in after.items():
        in_torch = key.replace("._mean", ".running_mean").replace("._variance", ".running_var")
        given_there = theirs.get(key, theirs.get(in_torch))
        given_there = given_there.T if key in turned else given_there
        np.testing.assert_array_equal(array, before[key] if key in left else given_there)
    assert "left at initialisation: " in account["told"]
    assert "of 19 classes in the file, begins anew: weights.new_head" in account["told"]
    assert all(key in account["told"] for key in left)
    for row in account["target_tensors"]:
        assert tuple(row["shape"]) == after[row["key"]].shape


@pytest.mark.parametrize(("side", "suffix"), CASES)
def test_without_the_setting_it_is_an_error_that_says_the_line(tmp_path, side, suffix):
    from commands.train_start import initialised

    path = tmp_path / f"nineteen{suffix}"
    settings = settings_of("unet", path)
    save(net_of(settings, "torch" if suffix == ".pth" else "paddle", 19), path)
    net = net_of(settings, side)
    before = arrays_of(net)
    words = r"All of it fits but the head.*weights\.new_head=true .*outc\.conv\.weight, outc"
    with pytest.raises(ConversionError, match=words):
        initialised(settings, net, side)
    for key, array in arrays_of(net).items():
        np.testing.assert_array_equal(array, before[key])


def test_paddlesegs_file_and_what_it_was_converted_to(tmp_path):
    pytest.importorskip("paddle")
    from commands.train_start import initialised
    from convert import convert_checkpoint
    from convert.formats.pdparams import write_pdparams

    text = (MANIFESTS / "stdc1_seg_paddleseg.json").read_text(encoding="utf-8")
    state = {k: np.full(s, 0.5, t) for k, s, t in json.loads(text)["state_dict"]}
    write_pdparams(state, tmp_path / "theirs.pdparams")
    convert_checkpoint(tmp_path / "theirs.pdparams", tmp_path / "ours.pdparams")
    for name in ("theirs", "ours"):
        settings = settings_of("stdc1", tmp_path / f"{name}.pdparams", "weights.new_head=true")
        net = net_of(settings, "paddle")
        account = initialised(settings, net, "paddle")
        left = {row["key"] for row in account["target_tensors"] if row["source"] is None}
        backbone = {key for key in left if key.startswith("cp.backbone.")}
        assert layers(left - backbone) == HEADS["stdc1"]
        assert len(backbone) == 11  # its classifier, which PaddleSeg leaves out
        assert (net.state_dict()["conv_out32.conv.bn._mean"].numpy() == 0.5).all()


def damaged(kind, state):
    if kind == "other width":
        state["inc.double_conv.0.weight"] = state["inc.double_conv.0.weight"][:-1]
    elif kind == "absent":
        del state["inc.double_conv.0.weight"]
    elif kind == "unknown":
        state["more.weight"] = state["outc.conv.weight"]
    elif kind == "head of another input":
        state["outc.conv.weight"] = state["outc.conv.weight"][:, :-1]
    elif kind == "head that contradicts itself":
        state["outc.conv.bias"] = state["outc.conv.bias"][:-1]
    return state


@pytest.mark.parametrize("side", ["torch", "paddle"])
@pytest.mark.parametrize(
    "kind",
    ["other width", "absent", "unknown", "head of another input", "head that contradicts itself"],
)
def test_any_other_misfit_stays_an_error(tmp_path, side, kind):
    torch = pytest.importorskip("torch")
    from commands.train_start import initialised

    path = tmp_path / "nineteen.pth"
    settings = settings_of("unet", path, "weights.new_head=true")
    torch.save(damaged(kind, net_of(settings, "torch", 19).state_dict()), path)
    with pytest.raises(ConversionError):
        initialised(settings, net_of(settings, side), side)
    plain = settings_of("unet", path)
    with pytest.raises(ConversionError) as got:
        initialised(plain, net_of(plain, side), side)
    assert "new_head" not in str(got.value)


def test_a_head_of_as_many_classes_begins_anew_too(tmp_path):
    from commands.train_start import initialised

    path = tmp_path / "five.pth"
    settings = settings_of("unet", path, "weights.new_head=true")
    save(net_of(settings, "torch", 5), path)
    account = initialised(settings, net_of(settings, "torch"), "torch")
    assert account["totals"]["dropped"] == 2


def test_a_part_of_a_net_has_no_head():
    with pytest.raises(ConfigError, match=r"new_head goes with the file of a whole net.*backbone"):
        load_settings(CONFIGS / "fcn_tv_r50.yml", ["weights.new_head=true"])


def test_the_head_of_a_strangers_net_is_told_by_one_number():
    target = [TensorSpec("a.weight", (8, 3), "float32"), TensorSpec("b.weight", (5, 8), "float32")]
    assert head_by_shapes(target, {"a.weight": (8, 3), "b.weight": (19, 8)}, 5) == {
        "b.weight": (19, 8)
    }
    for file in ({"a.weight": (9, 3), "b.weight": (5, 8)}, {"b.weight": (19, 9)}, {}):
        with pytest.raises(ConversionError, match="got no tensor that differs in it alone"):
            head_by_shapes(target, file, 5)
    two = [*target, TensorSpec("c.weight", (5, 1), "float32")]
    with pytest.raises(ConversionError, match=r"got several: \[7, 19\]"):
        head_by_shapes(two, {"b.weight": (19, 8), "c.weight": (7, 1)}, 5)


@pytest.mark.parametrize(("side", "suffix"), CASES)
def test_a_strangers_net_leaves_its_head(tmp_path, side, suffix):
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    from convert.nets import describe_paddle, describe_torch
    from convert.starting_weights import own_with_new_head

    def net(side, classes):
        nn = torch.nn if side == "torch" else paddle.nn
        conv = nn.Conv2d if side == "torch" else nn.Conv2D
        return nn.Sequential(conv(3, 4, 3), nn.Flatten(), nn.Linear(4, classes))

    path = tmp_path / f"nineteen{suffix}"
    given = net("torch" if suffix == ".pth" else "paddle", 19)
    save(given, path)
    describe = describe_torch.describe if side == "torch" else describe_paddle.describe
    made = own_with_new_head(str(path), describe(net(side, 5)), side, 5)
    assert set(made.state) == {"0.weight", "0.bias"}
    assert made.account.left_at_initialisation == ["2.weight", "2.bias"]
    np.testing.assert_array_equal(made.state["0.weight"], arrays_of(given)["0.weight"])
    with pytest.raises(ConversionError, match=r"another number of classes than 4 .*no tensor"):
        own_with_new_head(str(path), describe(net(side, 5)), side, 4)


@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_a_run_on_five_classes_begins_with_nineteen(tmp_path, side):
    pytest.importorskip(side)
    root = layouts.image_list(tmp_path / "set")
    path = tmp_path / ("nineteen.pth" if side == "torch" else "nineteen.pdparams")
    save(net_of(settings_of("unet", path), side, 19), path)
    mine = tmp_path / "mine.yml"
    mine.write_text(
        f"_base_: {CONFIGS}/unet_toy.yml\nname: mine\nmodel: {{options: {{width: 0.125}}}}\n"
        f"data: {{dataset: list, root: {root}, class_file: labels.txt, scale: 1.0}}\n"
        f"weights: {{path: {path}}}\noutput: {tmp_path}/run\n"
    )
    refused = run(f"train_{side}", mine, *SMALL.split(), cwd=ROOT)
    assert refused.returncode == 1
    assert "weights.new_head=true" in refused.stderr
    done = run(f"train_{side}", mine, *SMALL.split(), "weights.new_head=true", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "left at initialisation: outc.conv.weight, outc.conv.bias" in done.stderr
    account = json.loads((tmp_path / "run/weights.account.json").read_text())
    assert account["totals"]["left at initialisation"] == 2
