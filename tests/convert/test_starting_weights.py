"""Weights of another net to start from: stages of FCN, backbones; on both sides, narrow."""

import json
from itertools import chain

import numpy as np
import pytest

from common.data.toy import write_toy_cityscapes
from common.errors import ConfigError, ConversionError, UserError
from common.pairs import PAIRS
from common.settings.load import load_settings
from convert.starting_weights import starting_weights, told
from tests.nursery import run
from tests.paths import ROOT

NARROW = {"width": 1 / 16, "num_classes": 5}


def torch_net(row, seed=0, **options):
    torch = pytest.importorskip("torch")
    import torch_ref

    torch.manual_seed(seed)
    net = torch_ref.build_model(row, **{**NARROW, **options})
    for tensor in net.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor.normal_()
    return net


def save(net, path):
    import torch

    torch.save(net.state_dict(), path)
    return str(path)


def target_of(row, side, **options):
    """A net of `row` on a side, what is in it, and the description that planning needs."""
    options = {**NARROW, **options}
    if side == "torch":
        import torch_ref
        from convert.nets.describe_torch import describe
        from torch_ref.train import load_arrays

        net = torch_ref.build_model(row, **options)
    else:
        pytest.importorskip("paddle")
        import paddle_impl
        from convert.nets.describe_paddle import describe
        from paddle_impl.train import load_arrays

        net = paddle_impl.build_model(row, **options)
    return net, describe(net), load_arrays


def arrays_of(net):
    return {key: np.array(tensor.numpy()) for key, tensor in net.state_dict().items()}


def begin(path, model, side, **options):
    place = {key: options.pop(key) for key in ("row", "into") if key in options}
    net, specs, load = target_of(model, side, **options)
    before = arrays_of(net)
    made = starting_weights(path, model, specs, side, **place)
    load(net, made.state, left=made.account.left_at_initialisation)
    return before, arrays_of(net), made


@pytest.mark.parametrize("side", ["torch", "paddle"])
@pytest.mark.parametrize(
    ("coarse", "fine", "left", "dropped"),
    [
        (
            "fcn32s",
            "fcn16s",
            ["score_pool4.weight", "score_pool4.bias", "upscore2.weight", "upscore16.weight"],
            ["upscore.weight"],
        ),
        (
            "fcn16s",
            "fcn8s",
            [
                *("score_pool3.weight", "score_pool3.bias"),
                *("upscore8.weight", "upscore_pool4.weight"),
            ],
            ["upscore16.weight"],
        ),
    ],
)
def test_a_stage_of_fcn_begins_with_the_one_before(tmp_path, side, coarse, fine, left, dropped):
    net = torch_net(coarse)
    path = save(net, tmp_path / "coarse.pth")
    before, after, made = begin(path, fine, side, row=coarse)
    given = arrays_of(net)
    assert sorted(made.account.left_at_initialisation) == sorted(left)
    assert [*chain(*made.account.dropped_by_reason.values())] == dropped
    assert {*made.state} == {*given} - {*dropped} == {*after} - {*left}
    for key, array in after.items():
        np.testing.assert_array_equal(array, before[key] if key in left else given[key])
    line = told(made, path)
    assert all(name in line for name in (*left, *dropped, path))


def test_a_stage_begins_with_paddles_own_file_of_the_one_before(tmp_path):
    paddle = pytest.importorskip("paddle")
    net, _, _ = target_of("fcn32s", "paddle")
    path = str(tmp_path / "best.pdparams")
    paddle.save(net.state_dict(), path)
    before, after, made = begin(path, "fcn16s", "paddle", row="fcn32s")
    for key in made.state:
        np.testing.assert_array_equal(after[key], net.state_dict()[key].numpy())
    np.testing.assert_array_equal(after["upscore16.weight"], before["upscore16.weight"])
    pytest.importorskip("torch")
    with pytest.raises(UserError, match=r"best\.pdparams: weights of Paddle"):
        begin(path, "fcn16s", "torch", row="fcn32s")


@pytest.mark.prove
@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_fcn_at_once_begins_with_vgg16(tmp_path, side):
    """At full width: the rules say the shapes of the Linear layers that become convolutions."""
    net = torch_net("vgg16", num_classes=1000, width=1.0)
    path = save(net, tmp_path / "vgg16.pth")
    _, after, made = begin(path, "fcn8s_atonce", side, row="vgg16", width=1.0)
    given = arrays_of(net)
    np.testing.assert_array_equal(after["conv5_3.weight"], given["features.28.weight"])
    shape = after["fc6.weight"].shape
    np.testing.assert_array_equal(after["fc6.weight"], given["classifier.0.weight"].reshape(shape))
    assert list(made.account.dropped_by_reason.values()) == [
        ["classifier.6.weight", "classifier.6.bias"]
    ]
    assert {name.split(".")[0] for name in made.account.left_at_initialisation} == {
        *("score_fr", "score_pool3", "score_pool4", "upscore2", "upscore8", "upscore_pool4")
    }


@pytest.mark.parametrize("side", ["torch", "paddle"])
@pytest.mark.parametrize(
    ("backbone", "model", "into", "options"),
    [
        ("resnet50", "fcn_tv_r50", "backbone", {"stem": "plain"}),
        ("resnet50", "pspnet50", "", {"stem": "deep"}),
        ("vgg16_bn", "fcn8s_vgg16bn", "backbone", {}),
    ],
)
def test_a_backbone_fills_its_place_on_both_sides(tmp_path, side, backbone, model, into, options):
    net = torch_net(backbone, num_classes=1000, **options)
    path = save(net, tmp_path / "backbone.pth")
    _, after, made = begin(path, model, side, row=backbone, into=into)
    given = arrays_of(net)
    counters = [name for name in given if name.endswith("num_batches_tracked")]
    taken = len(given) - (len(counters) if side == "paddle" else 0)
    dropped = [name for name in given if name.startswith("fc.")]
    assert len(made.state) == taken - len(dropped)
    last = "layer4.2.conv3.weight" if backbone == "resnet50" else "features.40.weight"
    name = f"{into}.{last}" if into else last
    np.testing.assert_array_equal(after[name], given[last])


def test_files_older_than_batch_counters_are_a_start_in_torch(tmp_path):
    net = torch_net("resnet50", stem="plain")
    import torch

    old = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
    torch.save(old, tmp_path / "old.pth")
    _, after, made = begin(
        str(tmp_path / "old.pth"), "fcn_tv_r50", "torch", row="resnet50", into="backbone"
    )
    left = made.account.left_at_initialisation
    counters = [name for name in left if name.startswith("backbone.")]
    assert len(counters) == 53
    assert all(name.endswith("num_batches_tracked") for name in counters)
    np.testing.assert_array_equal(
        after["backbone.layer4.2.bn3.running_var"], old["layer4.2.bn3.running_var"].numpy()
    )


def test_what_does_not_fit_is_refused(tmp_path):
    import torch

    net = torch_net("fcn32s")
    path = save(net, tmp_path / "coarse.pth")
    with pytest.raises(ConversionError, match=r"fcn16s is filled by vgg16 or fcn32s"):
        begin(path, "fcn16s", "torch", row="fcn8s")
    with pytest.raises(ConversionError, match=r"lacks score_pool4\.bias, .*fcn16s.*weights\.row"):
        begin(path, "fcn8s", "torch", row="fcn16s")
    with pytest.raises(ConversionError, match=r"score_fr\.weight: the net has \(3, .*has \(5, "):
        begin(path, "fcn16s", "torch", row="fcn32s", num_classes=3)
    part = {k: v for k, v in net.state_dict().items() if not k.startswith("conv3_2")}
    torch.save(part, tmp_path / "part.pth")
    with pytest.raises(ConversionError, match=r"lacks conv3_2\.bias, conv3_2\.weight of fcn32s"):
        begin(str(tmp_path / "part.pth"), "fcn16s", "torch", row="fcn32s")
    torch.save(net.state_dict() | {"more.weight": torch.ones(1)}, tmp_path / "more.pth")
    with pytest.raises(ConversionError, match=r"more\.weight .*not in the net"):
        begin(str(tmp_path / "more.pth"), "fcn16s", "torch", row="fcn32s")
    with pytest.raises(ConfigError, match="no net is called 'fcn64s'"):
        load_settings(ROOT / "configs" / "fcn16s.yml", ["weights.row=fcn64s"])


@pytest.mark.parametrize(
    ("config", "row"),
    [("fcn32s", "vgg16"), ("fcn16s", "fcn32s"), ("fcn8s", "fcn16s"), ("fcn8s_atonce", "vgg16")],
)
def test_configs_know_what_their_stage_begins_with(config, row):
    settings = load_settings(ROOT / "configs" / f"{config}.yml")
    assert (settings.weights.row, settings.weights.path) == (row, None)
    assert settings.model.name in PAIRS[row].subtrees


@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_one_command_a_stage(tmp_path, side):
    """FCN-32s, 16s, 8s: each command names nothing but the file of the one before."""
    pytest.importorskip(side)
    toy = tmp_path / "toy"
    write_toy_cityscapes(toy, train=4, val=1, size_hw=(32, 64))
    small = "data.scale=1.0 data.crop_hw=[17,24] data.batch_size=1 model.options.width=0.0625"
    small += " train.iterations=1 train.eval_interval=0 --threads 1 --json"
    path = ""
    for row in ("fcn32s", "fcn16s", "fcn8s"):
        folder = tmp_path / row
        command = [f"configs/{row}_toy.yml", f"data.root={toy}", f"output={folder}", *small.split()]
        command += [f"weights.path={path}"] if path else []
        result = run(f"train_{side}", *command, cwd=ROOT)
        assert result.returncode == 0, result.stderr
        if path:
            assert "left at initialisation: score_pool" in result.stderr
            account = json.loads((folder / "weights.account.json").read_text())
            assert account["totals"]["dropped"] == 1
        path = json.loads(result.stdout)["weights"]
