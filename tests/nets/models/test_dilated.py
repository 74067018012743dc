"""ResNet, PSPNet, DeepLab, torchvision's nets, GloRe: names, dilations, sizes, equal pairs."""

import dataclasses
import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError
from common.pairs import PAIRS
from common.shapes import bilinear_matrix, nearest_places
from torch_ref.seeded import build_seeded

FILES = {
    "resnet50_torchvision": ("resnet50", {}),
    "resnet101_torchvision": ("resnet101", {}),
    "resnet50_semseg_deepstem": ("resnet50", {"stem": "deep"}),
    "pspnet50_semseg": ("pspnet50", {}),
    "pspnet101_semseg": ("pspnet101", {}),
    "deeplabv2_kazuto_r101_msc": ("deeplabv2_r101_msc", {}),
    "deeplabv3_kazuto_r50_os16": ("deeplabv3_r50", {}),
    "deeplabv3_kazuto_r101_os16": ("deeplabv3_r101", {}),
    "deeplabv3_kazuto_r101_os16_msc": ("deeplabv3_r101_msc", {}),
    "deeplabv3plus_kazuto_r50_os16": ("deeplabv3plus_r50", {}),
    "deeplabv3_resnet50_torchvision": ("deeplabv3_tv_r50", {}),
    "deeplabv3_resnet101_torchvision": ("deeplabv3_tv_r101", {}),
    "fcn_resnet50_torchvision": ("fcn_tv_r50", {}),
}
ROWS = (*dict.fromkeys(row for row, _ in FILES.values()), "glore_r50")
YASSOUALI = {"aux_channels": 512, "first_dilation": "previous", "align_corners": False}
SMALL = {"width": 0.25, "num_classes": 5}
# Options that compute something else.
VARIANTS = [
    ("resnet50", {"stem": "deep"}),
    ("pspnet50", YASSOUALI),
    ("pspnet50", {"zoom_factor": 2}),
    ("deeplabv2_r101_msc", {"freeze_bn": True}),
    ("deeplabv3_r50", {"output_stride": 8}),
    ("deeplabv3plus_r50", {"output_stride": 8}),
    ("fcn_tv_r50", {"aux_loss": False, "first_dilation": "same"}),
    ("glore_r50", {"normalize": True}),
]
# Rows whose last resize, or whose resizes at the default input, have no power of two as ratio.
INEXACT = ("deeplabv3plus_r50", "deeplabv3_tv_r50", "deeplabv3_tv_r101", "fcn_tv_r50", "glore_r50")


@pytest.fixture
def shallow(monkeypatch):
    """Leave each stage the blocks that differ: the first, one of the rest, all of a multi-grid.

    Depth is the full nets', of which `make prove` compares every call.
    """
    for row in ROWS:
        settings = {**PAIRS[row].settings, "layers": (1, 2, 2, 3)}
        monkeypatch.setitem(PAIRS, row, dataclasses.replace(PAIRS[row], settings=settings))


def on_meta(row, **options):
    with torch.device("meta"):
        return torch_ref.build_model(row, **options)


def shapes(net):
    return [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]


def manifest(file):
    return json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]


# -------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    row, options = FILES[file]
    assert shapes(on_meta(row, **options)) == manifest(file)


@pytest.mark.parametrize(
    ("file", "row", "options"),
    [
        ("pspnet50_semseg", "pspnet50", {"num_classes": 19}),
        ("pspnet50_yassouali", "pspnet50", {"num_classes": 21, **YASSOUALI}),
        ("resnet50_semseg_deepstem", "resnet50", {"num_classes": 1000, "stem": "deep"}),
        ("deeplabv2_kazuto_r101_msc", "deeplabv2_r101_msc", {"num_classes": 21}),
        ("deeplabv3_kazuto_r101_os16", "deeplabv3_r101", {"num_classes": 21}),
        ("deeplabv3_kazuto_r101_os16_msc", "deeplabv3_r101_msc", {"num_classes": 21}),
        ("deeplabv3_resnet50_torchvision", "deeplabv3_tv_r50", {"num_classes": 21}),
    ],
)
def test_a_file_says_by_itself_what_it_is(file, row, options):
    from convert.nets.recognise import recognise

    found = recognise({key: tuple(shape) for key, shape, _ in manifest(file)})
    assert (found.row, dict(found.options)) == (row, options)


def test_yassoualis_names_lead_to_pspnets_tensors():
    from convert.names.rules import resolve, shipped_rules

    file = {key: shape for key, shape, _ in manifest("pspnet50_yassouali")}
    names = resolve(file, shipped_rules(PAIRS["pspnet50"].rules)).sources
    net = {key: shape for key, shape, _ in shapes(on_meta("pspnet50", num_classes=21, **YASSOUALI))}
    assert {name: file[key] for name, key in names.items()} == net


def test_torchvisions_nets_without_an_auxiliary_head():
    keys = [key for key, *_ in shapes(on_meta("deeplabv3_tv_r50", aux_loss=False))]
    full = [key for key, *_ in manifest("deeplabv3_resnet50_torchvision")]
    assert keys == [key for key in full if not key.startswith("aux_classifier.")]


def test_names_of_glore():
    found = {key: shape for key, shape, _ in shapes(on_meta("glore_r50"))}
    backbone = {key: shape for key, shape, _ in manifest("resnet50_torchvision")}
    assert {f"backbone.{k}" for k in backbone if not k.startswith("fc.")} <= found.keys()
    assert found["glore.conv_state.weight"] == [128, 512, 1, 1]
    assert found["glore.conv_proj.bias"] == [64]
    assert found["glore.gcn.conv1.weight"] == [64, 64, 1]
    assert found["glore.gcn.conv2.weight"] == [128, 128, 1]
    assert "glore.gcn.conv2.bias" not in found
    assert found["glore.conv_extend.weight"] == [512, 128, 1, 1]


@pytest.mark.parametrize("row", ROWS)
def test_width_and_classes_are_plain_arguments(row):
    key = PAIRS[row].classes_key
    full = {k: s for k, s, _ in shapes(on_meta(row))}
    small = {k: s for k, s, _ in shapes(on_meta(row, width=0.25, num_classes=7))}
    assert full.keys() == small.keys()
    assert small[key][0] == 7
    classes = full[key][0]
    quarter = {s[0] / full[k][0] for k, s in small.items() if s and full[k][0] != classes}
    assert quarter == {0.25}
    with pytest.raises(ConfigError, match="width is 0"):
        torch_ref.build_model(row, width=0)


# ---------------------------------------------------------------------------------- dilations


def dilations(stage, name):
    convs = [m for n, m in stage.named_modules() if n.endswith(name)]
    assert all(m.padding == m.dilation for m in convs)
    return [m.dilation[0] for m in convs]


@pytest.mark.parametrize(
    ("row", "options", "third", "fourth"),
    [
        ("pspnet50", {}, [2] * 6, [4, 4, 4]),
        ("pspnet50", {"first_dilation": "previous"}, [1] + [2] * 5, [2, 4, 4]),
        ("deeplabv3_tv_r50", {}, [1] + [2] * 5, [2, 4, 4]),
        ("fcn_tv_r50", {"first_dilation": "same"}, [2] * 6, [4, 4, 4]),
        ("glore_r50", {}, [1] + [2] * 5, [2, 4, 4]),
        ("resnet50", {}, [1] * 6, [1] * 3),
    ],
)
def test_the_first_blocks_dilation_is_the_sources(row, options, third, fourth):
    net = on_meta(row, **options)
    body = getattr(net, "backbone", net)
    assert dilations(body.layer3, "conv2") == third
    assert dilations(body.layer4, "conv2") == fourth
    strides = [m.stride[0] for m in body.modules() if isinstance(m, torch.nn.Conv2d)]
    assert np.prod([s for s in strides if s > 1]) == (2**7 if row == "resnet50" else 2**3)


@pytest.mark.parametrize(
    ("row", "options", "fourth", "fifth", "rates"),
    [
        ("deeplabv3_r50", {}, [1] * 6, [2, 4, 8], (6, 12, 18)),
        ("deeplabv3_r50", {"output_stride": 8}, [2] * 6, [4, 8, 16], (12, 24, 36)),
        ("deeplabv3plus_r50", {}, [1] * 6, [2, 4, 8], (6, 12, 18)),
        ("deeplabv2_r101_msc", {}, [2] * 23, [4, 4, 4], (6, 12, 18, 24)),
    ],
)
def test_multi_grid_and_rates_follow_the_output_stride(row, options, fourth, fifth, rates):
    net = on_meta(row, **options)
    net = getattr(net, "base", net)
    assert dilations(net.layer4, "conv3x3.conv") == fourth
    assert dilations(net.layer5, "conv3x3.conv") == fifth
    atrous = [m for m in net.aspp.modules() if getattr(m, "kernel_size", None) == (3, 3)]
    assert tuple(m.dilation[0] for m in atrous) == rates
    assert all(m.padding == m.dilation for m in atrous)


@pytest.mark.parametrize(
    ("row", "options", "told"),
    [
        ("deeplabv3_r50", {"output_stride": 32}, "choose 8 or 16"),
        ("pspnet50", {"first_dilation": "next"}, "first_dilation='next'"),
        ("pspnet50", {"zoom_factor": 3}, "zoom_factor=3"),
        ("pspnet50", {"zoom_factor": 4, "align_corners": False}, "zoom_factor=4"),
        ("resnet50", {"stem": "wide"}, "stem='wide'"),
    ],
)
def test_settings_that_are_not_possible_are_refused(row, options, told):
    with pytest.raises(ConfigError, match=told):
        on_meta(row, **options)


# ------------------------------------------------------------------------------ outputs, sizes


def run(row, size, train=False, batch=1, **options):
    net = build_seeded(row, 0, **SMALL, **options).train(train)
    with torch.no_grad():
        return net(torch.zeros(batch, 3, *size))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("size", [(123, 123), (47, 473), (17, 16)])
@pytest.mark.parametrize(
    "row", ["deeplabv3plus_r50", "deeplabv3_tv_r50", "fcn_tv_r50", "glore_r50"]
)
def test_any_size_and_logits_of_that_size(row, size):
    out = run(row, size)
    out = out if isinstance(out, dict) else {"out": out}
    assert {tuple(logits.shape) for logits in out.values()} == {(1, 5, *size)}


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    ("row", "size", "expected"),
    [
        ("deeplabv3_r50", (129, 193), (9, 13)),
        ("deeplabv3_r50", (512, 123), (33, 8)),  # the pool rounds up: 512 -> 129 -> 33
        ("deeplabv2_r101_msc", (47, 473), (7, 60)),
        ("pspnet50", (41, 473), (41, 473)),
    ],
)
def test_sizes_of_the_logits(row, size, expected):
    assert run(row, size).shape == (1, 5, *expected)


@pytest.mark.usefixtures("shallow")
def test_pspnet_takes_8k_plus_1_unless_told_otherwise():
    for size in ((123, 123), (47, 473), (41, 472)):
        with pytest.raises(UserError, match=r"8k \+ 1"):
            run("pspnet50", size)
        assert run("pspnet50", size, **YASSOUALI).shape == (1, 5, *size)
    assert run("pspnet50", (33, 41), zoom_factor=2).shape == (1, 5, 9, 11)
    assert run("pspnet50", (33, 41), zoom_factor=1).shape == (1, 5, 5, 6)


@pytest.mark.usefixtures("shallow")
def test_what_is_returned_in_train_mode():
    for row in ("pspnet50", "glore_r50"):
        out = run(row, (33, 41), train=True, batch=2)
        assert isinstance(out, tuple)
        assert [tuple(logits.shape) for logits in out] == [(2, 5, 33, 41)] * 2
    assert list(run("fcn_tv_r50", (33, 41))) == ["out", "aux"]
    assert list(run("fcn_tv_r50", (33, 41), aux_loss=False)) == ["out"]
    out = run("deeplabv2_r101_msc", (33, 49), train=True, batch=2)
    assert isinstance(out, list)
    assert [tuple(o.shape[2:]) for o in out] == [(5, 7), (3, 4), (4, 5), (5, 7)]


@pytest.mark.usefixtures("shallow")
def test_multi_scale_logits_are_the_maximum():
    net = build_seeded("deeplabv2_r101_msc", 0, freeze_bn=True, **SMALL)
    x = torch.randn(1, 3, 33, 49)
    with torch.no_grad():
        logits, half, three_quarters, highest = net.train()(x)
        again = net.eval()(x)
    size = logits.shape[2:]
    up = [torch.nn.functional.interpolate(o, size, mode="bilinear") for o in (half, three_quarters)]
    torch.testing.assert_close(highest, torch.maximum(logits, torch.maximum(*up)))
    torch.testing.assert_close(again, highest)


@pytest.mark.usefixtures("shallow")
def test_frozen_batchnorms_keep_their_statistics():
    for freeze, same in ((True, True), (False, False)):
        net = build_seeded("deeplabv2_r101_msc", 0, freeze_bn=freeze, **SMALL).train()
        before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
        net(torch.randn(2, 3, 33, 49))
        assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items()) == same


@pytest.mark.usefixtures("shallow")
def test_short_trainings_can_follow_their_statistics_faster():
    """What is kept in a step is the authors' 0.999 unless asked for, in both twins."""
    pytest.importorskip("paddle")
    import paddle_impl

    for options, kept in (({}, 0.999), ({"bn_kept": 0.9}, 0.9)):
        net = torch_ref.build_model("deeplabv3_r50", **SMALL, **options)
        port = paddle_impl.build_model("deeplabv3_r50", **SMALL, **options)
        theirs = [m.momentum for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        ours = [layer._momentum for layer in port.sublayers() if hasattr(layer, "_momentum")]
        assert len(theirs) == len(ours)
        assert theirs == pytest.approx([1 - kept] * len(theirs), rel=1e-12)
        assert ours == pytest.approx([kept] * len(theirs), rel=1e-12)
    with pytest.raises(ConfigError, match="bn_kept is 2"):
        on_meta("deeplabv3plus_r50", bn_kept=2)


def test_branches_of_the_pyramids_are_in_the_sources_order():
    aspp = build_seeded("deeplabv3_r50", 0, **SMALL).aspp.eval()
    x = torch.randn(1, 512, 5, 6)
    torch.testing.assert_close(aspp(x)[:, :64], aspp.stages["c0"](x))
    pooled = aspp.stages["imagepool"].conv(x.mean(dim=[2, 3], keepdim=True))
    torch.testing.assert_close(aspp(x)[:, -64:], pooled.expand(-1, -1, 5, 6))
    ppm = build_seeded("pspnet50", 0, **SMALL).ppm.eval()
    torch.testing.assert_close(ppm(x)[:, :512], x)
    mean = ppm.features[0][1:](x.mean(dim=[2, 3], keepdim=True))
    torch.testing.assert_close(ppm(x)[:, 512:640], mean.expand(-1, -1, 5, 6))


@pytest.mark.parametrize("normalize", [False, True])
def test_the_unit_of_glore_by_hand(normalize):
    unit = build_seeded("glore_r50", 0, normalize=normalize, **SMALL).double().glore.eval()
    x = np.random.default_rng(0).standard_normal((2, 128, 4, 5))
    state = {k: v.numpy().squeeze() for k, v in unit.state_dict().items()}
    with torch.no_grad():
        found = unit(torch.from_numpy(x)).numpy()
    for image, got in zip(x, found, strict=True):
        pixels = image.reshape(128, 20)
        states = state["conv_state.weight"] @ pixels + state["conv_state.bias"][:, None]
        projection = state["conv_proj.weight"] @ pixels + state["conv_proj.bias"][:, None]
        nodes = states @ projection.T / (20 if normalize else 1)
        h = (state["gcn.conv1.weight"] @ nodes.T + state["gcn.conv1.bias"][:, None]).T + nodes
        back = state["gcn.conv2.weight"] @ np.maximum(h, 0) @ projection
        out = state["conv_extend.weight"] @ back
        norm = {k: state[f"blocker.{k}"][:, None] for k in ("weight", "bias")}
        mean, var = state["blocker.running_mean"][:, None], state["blocker.running_var"][:, None]
        out = (out - mean) / np.sqrt(var + 1e-4) * norm["weight"] + norm["bias"]
        np.testing.assert_allclose(got.reshape(128, 20), pixels + out, rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------ initialisation


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("row", ["pspnet50", "deeplabv2_r101_msc", "deeplabv3_tv_r50", "glore_r50"])
def test_both_sides_start_alike(row):
    """Constants are equal; of what is drawn, spread and largest value are."""
    pytest.importorskip("paddle")
    import paddle_impl
    from convert import convert_state

    port = paddle_impl.build_model(row, **SMALL)
    state = {k: v.numpy() for k, v in torch_ref.build_model(row, **SMALL).state_dict().items()}
    ours = {key: tensor.numpy() for key, tensor in port.state_dict().items()}
    for key, theirs in convert_state(state, port).state.items():
        if theirs.std() == 0:
            np.testing.assert_array_equal(ours[key], theirs, err_msg=key)
        elif theirs.size >= 1000:
            assert ours[key].std() == pytest.approx(theirs.std(), rel=0.1), key
            gaussian = np.abs(theirs).max() > 2 * theirs.std()
            assert (np.abs(ours[key]).max() > 2 * ours[key].std()) == gaussian, key
    if row == "glore_r50":
        assert not ours["glore.blocker.weight"].any()


# ------------------------------------------------------------------------------------ resizing


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "count"), [(5, 9), (9, 5), (1, 4), (4, 1), (7, 7), (3, 20)])
def test_bilinear_matrix_is_torchs_resize(size, count, align_corners):
    line = torch.eye(size, dtype=torch.float64)[None]
    expected = torch.nn.functional.interpolate(
        line[..., None], size=(count, 1), mode="bilinear", align_corners=align_corners
    )
    found = bilinear_matrix(size, count, align_corners)
    np.testing.assert_allclose(found.T[None], expected[..., 0].numpy(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [(2, 2), (33, 49), (47, 473), (123, 123)])
@pytest.mark.parametrize("factor", [0.5, 0.75])
def test_scaled_images_are_equal_on_both_sides(size, factor):
    paddle = pytest.importorskip("paddle")
    from paddle_impl.layers import scale_bilinear as ours
    from torch_ref.layers import scale_bilinear as theirs

    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    expected = theirs(torch.from_numpy(x), factor).numpy()
    np.testing.assert_allclose(ours(paddle.to_tensor(x), factor), expected, rtol=0, atol=1e-12)


def test_nearest_places_are_pils():
    from PIL import Image

    for size, count in [(321, 41), (321, 31), (8, 6), (16, 7), (5, 11), (1, 3), (713, 90)]:
        line = Image.fromarray(np.arange(size, dtype=np.float32)[None])
        expected = np.asarray(line.resize((count, 1), resample=Image.NEAREST))[0]
        np.testing.assert_array_equal(nearest_places(size, count), expected)


# -------------------------------------------------------------------------------------- pairs


def check_alignment(row, seed, modes=(False, True), **options):
    pytest.importorskip("paddle")
    from align import align_forward
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair

    torch_net, paddle_net = seeded_pair(row, seed, **options)
    image = seeded_input(PAIRS[row].default_input, seed)
    for train in modes:
        report = align_forward(torch_net, paddle_net, [image], train=train)
        assert report.aligned, report.divergences[:3]
        assert {call.verdict for call in report.calls} == {"equal"}


def check_whole_net(row, seed, **options):
    """DESIGN's table: 1e-9 outputs, 1e-7 gradients, 5e-6 where a resize is not exact."""
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import in_both_modes

    inexact = row in INEXACT or options.get("align_corners") is False
    for found in in_both_modes(row, seed, PAIRS[row].default_input, **options):
        for what, error in found.items():
            strict = 1e-9 if what.startswith("output") else 1e-7
            assert error < (5e-6 if inexact else strict), (what, error)


# Deeper nets, and three scales of another head, are the full nets'.
CASES = [*((row, {}) for row in ROWS if "101" not in row or "v2" in row), *VARIANTS]


# Those whose calls no other of them makes.
OTHER_CALLS = [
    ("pspnet50", {}),
    ("pspnet50", YASSOUALI),
    ("deeplabv2_r101_msc", {}),
    ("deeplabv3plus_r50", {}),
    ("fcn_tv_r50", {}),
    ("glore_r50", {"normalize": True}),
    ("resnet50", {"stem": "deep"}),
]


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(("row", "options"), OTHER_CALLS)
def test_every_call_is_aligned(row, options):
    """In train mode; the whole of both modes is the next test's, every case the full nets'."""
    check_alignment(row, 1, (True,), **SMALL, **options)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(("row", "options"), CASES)
def test_outputs_gradients_and_statistics_of_the_whole_net(row, options):
    check_whole_net(row, 1, **SMALL, **options)


FULL = [*((row, {}) for row in ROWS), *VARIANTS]


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("row", "options"), FULL)
def test_every_call_of_the_full_nets(row, options, seed):
    check_alignment(row, seed, **options)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("row", "options"), FULL)
def test_the_whole_of_the_full_nets(row, options, seed):
    check_whole_net(row, seed, **options)


@pytest.mark.parametrize(
    ("options", "into", "filled"),
    [
        ({"stem": "deep"}, "pspnet50", "layer0.6.weight"),
        ({"stem": "plain"}, "deeplabv3_tv_r50:backbone", "backbone.conv1.weight"),
    ],
)
def test_imagenet_weights_fill_the_body_of_a_segmentation_net(tmp_path, options, into, filled):
    pytest.importorskip("paddle")
    from common.errors import ConversionError
    from convert import convert_checkpoint

    net = build_seeded("resnet50", 0, **options)
    torch.save(net.state_dict(), tmp_path / "imagenet.pth")
    verify = options["stem"] == "plain"  # a net at full width, once
    made = convert_checkpoint(tmp_path / "imagenet.pth", into=into, verify=verify)
    source = "conv3.weight" if options["stem"] == "deep" else "conv1.weight"
    np.testing.assert_array_equal(made.state[filled], net.state_dict()[source].numpy())
    account = made.account
    assert not verify or account.verification["worst"] < 1e-12
    dropped = {r.key for r in account.source_tensors if r.reason and "ImageNet" in r.reason}
    assert dropped == {"fc.weight", "fc.bias"}
    assert len(made.state) == sum("num_batches" not in k for k in net.state_dict()) - 2
    assert all(not key.startswith(("layer", "backbone")) for key in account.left_at_initialisation)
    wrong = "pspnet50" if options["stem"] == "plain" else "fcn_tv_r50:backbone"
    with pytest.raises(ConversionError):
        convert_checkpoint(tmp_path / "imagenet.pth", into=wrong)
