"""VGG16, FCN and U-Net: the authors' names, any size, and equal pairs in float64."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError
from common.pairs import PAIRS
from common.shapes import bilinear_kernel
from torch_ref.seeded import build_seeded

FILES = {
    "vgg16_torchvision": "vgg16",
    "vgg16_bn_torchvision": "vgg16_bn",
    "fcn32s_wkentaro": "fcn32s",
    "fcn8s_wkentaro": "fcn8s",
    "fcn8satonce_wkentaro": "fcn8s_atonce",
    "unet_milesial": "unet",
    "unet_milesial_bilinear": "unet_bilinear",
}
FCNS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn8s_vgg16bn")
ROWS = ("vgg16", "vgg16_bn", *FCNS, "unet", "unet_bilinear")
SMALL = {"width": 1 / 16, "num_classes": 5}


def shapes(name, **options):
    with torch.device("meta"):
        net = torch_ref.build_model(name, **options)
    return [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]


def manifest(file):
    return json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]


# -------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    assert shapes(FILES[file]) == manifest(file)


@pytest.mark.parametrize(
    ("file", "row", "options"),
    [
        ("fcn8_yassouali", "fcn8s_atonce", {"num_classes": 21}),
        ("unet_yassouali", "unet", {"num_classes": 21, "yassouali": True}),
        ("unet_milesial", "unet", {"num_classes": 2}),
        ("unet_milesial_bilinear", "unet_bilinear", {"num_classes": 2}),
        ("fcn32s_wkentaro", "fcn32s", {"num_classes": 21}),
        ("vgg16_torchvision", "vgg16", {"num_classes": 1000}),
        ("vgg16_bn_torchvision", "vgg16_bn", {"num_classes": 1000}),
    ],
)
def test_files_are_recognised(file, row, options):
    from convert.nets.recognise import recognise

    found = recognise({key: tuple(shape) for key, shape, _ in manifest(file)})
    assert (found.row, dict(found.options)) == (row, options)


def test_fcn8s_and_at_once_are_listed_and_asked_for():
    from convert.nets.recognise import recognise

    with pytest.raises(UserError, match=r"fcn8s \(.*fcn8s_atonce \(.*--model"):
        recognise({key: tuple(shape) for key, shape, _ in manifest("fcn8s_wkentaro")})


def test_options_of_unet_that_exclude_each_other():
    with pytest.raises(ConfigError, match="yassouali=True goes with"):
        torch_ref.build_model("unet", yassouali=True, conv_bias=True)


def test_names_of_fcn16s():
    """wkentaro/pytorch-fcn, torchfcn/models/fcn16s.py."""
    trunk = [row for row in manifest("fcn8s_wkentaro") if row[0].startswith(("conv", "fc"))]
    heads = {
        "score_fr.weight": [21, 4096, 1, 1],
        "score_fr.bias": [21],
        "score_pool4.weight": [21, 512, 1, 1],
        "score_pool4.bias": [21],
        "upscore2.weight": [21, 21, 4, 4],
        "upscore16.weight": [21, 21, 32, 32],
    }
    assert shapes("fcn16s") == trunk + [[k, shape, "float32"] for k, shape in heads.items()]


def test_names_of_fcn8s_vgg16bn_are_torchvisions_and_wkentaros():
    found = {key: shape for key, shape, _ in shapes("fcn8s_vgg16bn")}
    backbone = {key: shape for key, shape, _ in manifest("vgg16_bn_torchvision")}
    heads = {key: shape for key, shape, _ in manifest("fcn8s_wkentaro") if "score" in key}
    assert found == {f"backbone.{k}": v for k, v in backbone.items()} | heads


def test_unet_of_the_first_releases_has_biases():
    keys = [key for key, *_ in shapes("unet_bilinear", conv_bias=True)]
    assert len(keys) == 110 + 18
    assert keys[:2] == ["inc.double_conv.0.weight", "inc.double_conv.0.bias"]


@pytest.mark.parametrize("row", ROWS)
def test_width_and_classes_are_plain_arguments(row):
    full = {key: shape for key, shape, _ in shapes(row)}
    small = {key: shape for key, shape, _ in shapes(row, width=0.25, num_classes=7)}
    assert full.keys() == small.keys()
    assert small[PAIRS[row].classes_key][0] == 7
    channels = [(s[0], full[k][0]) for k, s in small.items() if s and "classifier.6" not in k]
    classes = full[PAIRS[row].classes_key][0]
    quarter = [a / b for a, b in channels if b != classes]
    assert set(quarter) == {0.25}
    with pytest.raises(ConfigError, match="width is 0"):
        torch_ref.build_model(row, width=0)


# ----------------------------------------------------------------------------- initialisation


def test_fcn_starts_from_zero_and_bilinear_on_both_sides():
    paddle = pytest.importorskip("paddle")
    import paddle_impl

    for room in (torch_ref, paddle_impl):
        state = room.build_model("fcn8s", **SMALL).state_dict()
        state = {key: np.asarray(value.detach()) for key, value in state.items()}
        for key, value in state.items():
            if not key.startswith("upscore"):
                assert not value.any(), key
        for key, size in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
            np.testing.assert_array_equal(
                state[f"{key}.weight"], bilinear_kernel(5, size).astype(np.float32)
            )
        scratch = room.build_model("fcn8s", from_scratch=True, **SMALL).state_dict()
        assert np.asarray(scratch["fc6.weight"].detach()).std() == pytest.approx(
            np.sqrt(2 / (32 * 49)), rel=0.05
        )
        assert not np.asarray(scratch["score_fr.weight"].detach()).any()
    assert paddle


def test_bilinear_kernel():
    row = np.array([1, 3, 3, 1]) / 4
    kernel = bilinear_kernel(2, 4)
    np.testing.assert_array_equal(kernel[0, 0], np.outer(row, row))
    np.testing.assert_array_equal(kernel[1, 1], kernel[0, 0])
    assert not kernel[0, 1].any()
    assert not kernel[1, 0].any()
    assert bilinear_kernel(1, 16).sum() == 64.0
    assert bilinear_kernel(1, 64).sum() == 1024.0


def test_unets_initialisation_is_torchs_on_both_sides():
    """torch.nn.Conv2d: weights and biases uniform in +-1 / sqrt(fan_in)."""
    pytest.importorskip("paddle")
    import paddle_impl

    for room in (torch_ref, paddle_impl):
        net = room.build_model("unet", width=0.25)
        for layer, fan_in in (
            (net.down4.maxpool_conv[1].double_conv[3], 256 * 9),
            (net.up1.up, 128 * 4),
            (net.outc.conv, 16),
        ):
            for values in (layer.weight, layer.bias):
                if values is None:
                    continue
                values = np.asarray(values.detach())
                bound = 1 / np.sqrt(fan_in)
                assert np.abs(values).max() <= bound
                if values.size > 1000:
                    assert np.abs(values).max() > 0.99 * bound
                    assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


# -------------------------------------------------------------------------------- sizes, modes


@pytest.mark.parametrize("size", [(1, 1), (2, 33), (47, 473), (123, 123)])
@pytest.mark.parametrize("row", FCNS)
def test_fcn_takes_any_size(row, size):
    net = build_seeded(row, 0, width=1 / 64, num_classes=3).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [(16, 16), (47, 473), (123, 123)])
@pytest.mark.parametrize(
    ("row", "options"), [("unet", {}), ("unet_bilinear", {}), ("unet", {"yassouali": True})]
)
def test_unet_takes_any_size_from_16(row, options, size):
    net = build_seeded(row, 0, width=1 / 32, num_classes=3, **options).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, *size)).shape == (1, 3, *size)


def test_the_crops_of_fcn_keep_the_place():
    """The offsets centre the output: mirrored image and kernels give the mirrored logits.

    All sizes on the way down are even, so that no pool drops or adds on one side.
    """
    size = 26 + 32 * 4  # 352 behind the padded convolution: 176, 88, 44, 22, 11
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    for row in ("fcn32s", "fcn16s", "fcn8s"):
        net = build_seeded(row, 0, width=1 / 64, num_classes=3).eval()
        with torch.no_grad():
            straight = net(x)
            for layer in net.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.weight.copy_(layer.weight.flip(2, 3))
            mirrored = net(x.flip(2, 3)).flip(2, 3)
        scale = float(straight.abs().max())
        assert float((straight - mirrored).abs().max()) < 1e-5 * scale, row


def test_convolutional_linear_is_linear_at_every_place():
    paddle = pytest.importorskip("paddle")
    from paddle_impl.models.backbones import vgg as paddle_vgg
    from torch_ref.models.backbones import vgg as torch_vgg

    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((5, 2 * 3 * 3)), rng.standard_normal(5)
    maps = rng.standard_normal((1, 2, 4, 5))
    layer = torch_vgg.ConvolutionalLinear(2, 5, kernel=3).double()
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    paddle.set_default_dtype("float64")
    port = paddle_vgg.ConvolutionalLinear(2, 5, kernel=3)
    paddle.set_default_dtype("float32")
    port.set_state_dict({"weight": weight.T, "bias": bias})
    found = layer(torch.from_numpy(maps)).detach().numpy(), port(paddle.to_tensor(maps)).numpy()
    for row, column in np.ndindex(2, 3):
        window = maps[0, :, row : row + 3, column : column + 3].ravel()
        for result in found:
            np.testing.assert_allclose(result[0, :, row, column], weight @ window + bias)


def test_at_once_scales_the_pools():
    plain = build_seeded("fcn8s", 0, **SMALL).eval()
    at_once = build_seeded("fcn8s_atonce", 0, **SMALL).eval()
    x = torch.randn(1, 3, 8, 9)
    with torch.no_grad():
        assert not torch.allclose(plain(x), at_once(x))
        plain.score_pool3.weight *= 0.0001
        plain.score_pool4.weight *= 0.01
        torch.testing.assert_close(plain(x), at_once(x))


def test_seeded_nets_have_no_dead_layer():
    for row in FCNS:
        for name, value in build_seeded(row, 0, **SMALL).named_parameters():
            assert value.any(), f"{row}: {name}"


# -------------------------------------------------------------------------------------- pairs


def small_input(row):
    """Return the input at which a narrow net has something to compute at every place."""
    return (2, 3, 5, 7) if row in FCNS else (2, 3, 35, 64)


def check_alignment(row, seed, shape, **options):
    pytest.importorskip("paddle")
    from align import align_forward
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair

    torch_net, paddle_net = seeded_pair(row, seed, **options)
    for train in (False, True):
        report = align_forward(torch_net, paddle_net, [seeded_input(shape, seed)], train=train)
        assert report.aligned, report.divergences[:3]
        assert {call.verdict for call in report.calls} == {"equal"}


def check_whole_net(row, seed, shape, **options):
    """Compare whole nets: 1e-9 for outputs, 1e-7 for gradients and statistics."""
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import in_both_modes

    for found in in_both_modes(row, seed, shape, **options):
        for what, error in found.items():
            strict = 1e-9 if what.startswith("output") else 1e-7
            assert error < strict, (what, error)


@pytest.mark.parametrize("row", ROWS)
def test_every_call_is_aligned(row):
    check_alignment(row, 1, small_input(row), **SMALL)


@pytest.mark.parametrize("row", ROWS)
def test_outputs_gradients_and_statistics_of_the_whole_net(row):
    check_whole_net(row, 1, small_input(row), **SMALL)


@pytest.mark.parametrize("options", [{"conv_bias": True}, {"yassouali": True}], ids=str)
def test_variants_of_unet(options):
    check_alignment("unet", 1, (2, 3, 35, 64), **SMALL, **options)
    check_whole_net("unet", 1, (2, 3, 35, 64), **SMALL, **options)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(20))
def test_unet_in_full_over_seeds(seed):
    check_alignment("unet", seed, PAIRS["unet"].default_input)
    check_whole_net("unet", seed, PAIRS["unet"].default_input)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("row", ROWS)
def test_every_call_of_the_full_nets(row, seed):
    check_alignment(row, seed, full_input(row))


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("row", ROWS)
def test_the_whole_of_the_full_nets(row, seed):
    check_whole_net(row, seed, full_input(row))


def full_input(row):
    """Return the smallest legal input: 134 million parameters in float64 are slow enough."""
    return (2, 3, 1, 1) if row in FCNS else PAIRS[row].default_input


@pytest.mark.prove
@pytest.mark.parametrize(
    ("row", "place", "filled"),
    [("vgg16_bn", "fcn8s_vgg16bn:backbone", "backbone"), ("vgg16", "fcn8s", ("conv", "fc"))],
)
def test_an_imagenet_file_fills_an_fcn(row, place, filled, tmp_path):
    pytest.importorskip("paddle")
    from convert import convert_checkpoint

    net = build_seeded(row, 0)
    torch.save(net.state_dict(), tmp_path / "vgg.pth")
    conversion = convert_checkpoint(tmp_path / "vgg.pth", into=place, verify=True)
    account = conversion.account
    assert account.verification["worst"] < 1e-9
    into = place.partition(":")[0]
    left = [key for key, *_ in shapes(into) if not key.startswith(filled)]
    assert sorted(account.left_at_initialisation) == sorted(left)
    if row == "vgg16":  # a Linear layer over a 512 x 7 x 7 map is a 7 x 7 convolution
        weight = net.classifier[0].weight.detach().numpy().reshape(4096, 512, 7, 7)
        assert np.array_equal(conversion.state["fc6.weight"], weight)
