"""3D U-Net and residual 3D U-Net: names, orders, equal pairs, and ports with a fault."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError

# (row, options that the file tells, parameters); counted by the authors' own nets
FILES = {
    "unet3d_wolny": ("unet3d", {"num_classes": 3}, 16_318_821),
    "unet3d_wolny_f32": ("unet3d", {"num_classes": 1, "width": 0.5}, 4_081_267),
    "unet3d_wolny_f32_deconv_bcr": (
        "unet3d",
        {"num_classes": 1, "width": 0.5, "order": "bcr", "upsample": "deconv"},
        4_661_427,
    ),
    "residual_unet3d_wolny": ("residual_unet3d", {"num_classes": 3}, 113_735_363),
    "residual_unet3d_wolny_f32": (
        "residual_unet3d",
        {"num_classes": 1, "width": 0.5},
        28_437_281,
    ),
    "residual_unet3d_se_wolny_f32": (
        "residual_unet3d",
        {"num_classes": 1, "width": 0.5, "excite": "scse"},
        29_314_154,
    ),
}
ROWS = ("unet3d", "residual_unet3d")
SMALL = {"width": 0.125, "num_levels": 3}
# Odd sizes: a plane is lost in halving, and is there again after the resize.
SHAPE = (2, 1, 8, 5, 6)


def manifest(file):
    return json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    row, options, parameters = FILES[file]
    with torch.device("meta"):
        net = torch_ref.build_model(row, **options)
    found = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]
    assert found == manifest(file)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_by_itself_what_it_is(file):
    from convert.nets.recognise import recognise

    row, options, _ = FILES[file]
    found = recognise({key: tuple(shape) for key, shape, _ in manifest(file)})
    assert (found.row, found.options) == (row, {"width": 1.0, "in_channels": 1, **options})


@pytest.mark.parametrize(("order", "upsample"), [("cgr", "nearest"), ("cr", "deconv")])
def test_a_file_tells_whether_the_norm_is_in_front_and_how_it_upsamples(order, upsample):
    from convert.nets.recognise import recognise

    options = {"in_channels": 3, "width": 0.25, "order": order, "upsample": upsample}
    with torch.device("meta"):
        net = torch_ref.build_model("unet3d", **options)
    found = recognise({key: tuple(value.shape) for key, value in net.state_dict().items()})
    told = {"upsample": "nearest", **found.options}
    assert (found.row, told) == ("unet3d", {"num_classes": 2, **options})


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("unet3d", {}),
        ("unet3d", {"order": "bcl", "upsample": "deconv", "in_channels": 3}),
        ("residual_unet3d", {"order": "cge", "excite": "scse"}),
        pytest.param("unet3d", {"order": "crg"}, marks=pytest.mark.prove),
        pytest.param("unet3d", {"order": "cbe"}, marks=pytest.mark.prove),
        pytest.param("unet3d", {"order": "cdl", "num_classes": 1}, marks=pytest.mark.prove),
        pytest.param("residual_unet3d", {}, marks=pytest.mark.prove),
        pytest.param(
            "residual_unet3d", {"order": "bcrD", "excite": "cse"}, marks=pytest.mark.prove
        ),
        pytest.param("residual_unet3d", {"order": "gcl", "excite": "sse"}, marks=pytest.mark.prove),
    ],
)
def test_the_pair_is_equal_as_a_whole(row, options):
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import in_both_modes

    shape = (SHAPE[0], options.get("in_channels", 1), *SHAPE[2:])
    for found in in_both_modes(row, 0, shape, **SMALL, **options):
        assert max(found.values()) < 1e-11, max(found, key=found.get)


@pytest.mark.parametrize("row", ROWS)
def test_both_modes_return_logits(row):
    net = torch_ref.build_model(row, **SMALL, num_classes=3)
    found = [
        mode(net)(torch.zeros(SHAPE)) for mode in (torch.nn.Module.eval, torch.nn.Module.train)
    ]
    for logits in found:
        assert list(logits.shape) == [2, 3, *SHAPE[2:]]
        assert not torch.allclose(logits.sum(1), torch.ones(1))
    torch.testing.assert_close(*found)  # GroupNorm knows no mode


@pytest.mark.parametrize("row", ROWS)
def test_all_rungs_of_a_net_take_volumes(row):
    pytest.importorskip("paddle")
    from align import align_backward, align_forward
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair

    options = {"width": 0.125, "num_levels": 2 if row == "unet3d" else 3}
    options |= {"order": "bcr"} if row == "unet3d" else {"excite": "scse"}
    pair, inputs = seeded_pair(row, 0, **options), [seeded_input(SHAPE, 0)]
    for report in (align_forward(*pair, inputs, train=True), align_backward(*pair, inputs)):
        assert report.exit_code == 0, report.verdict


def joined_the_other_way(net):
    import paddle

    decoder = net.decoders[0]
    decoder.forward = lambda skip, x: decoder.basic_module(
        paddle.concat([decoder.upsampling(x, skip), skip], axis=1)
    )
    return "decoders.0"


def pooled_by_averages(net):
    from paddle import nn

    net.encoders[1].pooling = nn.AvgPool3D(2)
    return "encoders.1.pooling"


def slope_of_inside(net):
    net.encoders[0].basic_module.non_linearity._negative_slope = 0.01
    return "encoders.0.basic_module.non_linearity"


def groups_of_all_channels(net):
    net.decoders[0].basic_module.SingleConv2.groupnorm._num_groups = 1
    return "decoders.0.basic_module.SingleConv2.groupnorm"


@pytest.mark.parametrize(
    ("row", "order", "fault"),
    [
        ("unet3d", "gcr", joined_the_other_way),
        ("unet3d", "gcr", pooled_by_averages),
        ("unet3d", "gcr", groups_of_all_channels),
        ("residual_unet3d", "gcl", slope_of_inside),
    ],
)
def test_a_port_with_a_fault_is_found_at_its_place(row, order, fault):
    pytest.importorskip("paddle")
    from align import align_forward
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair

    reference, port = seeded_pair(row, 0, width=0.25, num_levels=2, order=order)
    place = fault(port)
    report = align_forward(reference, port, [seeded_input(SHAPE, 0)])
    assert report.exit_code == 1, report.verdict
    assert {call.layer for call in report.calls if call.verdict == "differs"} == {place}


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        ("unet3d", {"order": "rgc"}, "order is 'rgc'"),
        ("unet3d", {"order": "gr"}, "write c, once"),
        ("unet3d", {"order": "ccr"}, "write c, once"),
        ("unet3d", {"order": "cx"}, "letters of gbcreldD"),
        ("unet3d", {"upsample": "area"}, "choose nearest or deconv"),
        ("unet3d", {"width": 12 / 64}, "GroupNorm of 12 channels"),
        ("residual_unet3d", {"excite": "se"}, "choose one of scse, cse, sse"),
        ("residual_unet3d", {"num_levels": 1}, "at least 2"),
    ],
)
def test_options_that_no_net_has(row, options, says):
    with pytest.raises(ConfigError, match=says):
        torch_ref.build_model(row, **options)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((1, 8, 8, 8), r"takes volumes \[N, 1, D, H, W\], got \[1, 8, 8, 8\]"),
        ((1, 3, 8, 8, 8), r"takes volumes \[N, 1, D, H, W\]"),
        ((1, 1, 8, 3, 8), "3 levels takes volumes of at least 4 voxels"),
    ],
)
def test_what_is_no_volume_is_refused_on_both_sides(shape, says):
    paddle = pytest.importorskip("paddle")
    import paddle_impl

    x = np.zeros(shape, np.float32)
    for room, tensor in ((torch_ref, torch.from_numpy(x)), (paddle_impl, paddle.to_tensor(x))):
        with pytest.raises(UserError, match=says):
            room.build_model("unet3d", **SMALL)(tensor)


def test_a_shape_of_an_image_is_refused_for_a_net_of_volumes():
    from commands.subjects.inputs import check_input_shape

    volume, image = (2, 1, 8, 16, 24), (2, 1, 64, 64)
    assert check_input_shape((2, 1, 8, 8, 8), volume, True) == (2, 1, 8, 8, 8)
    with pytest.raises(UserError, match="five positive numbers N C D H W"):
        check_input_shape((2, 1, 8, 8), volume, False)
    with pytest.raises(UserError, match="four positive numbers"):
        check_input_shape((2, 1, 8, 8, 8), image, False)


def test_layers_whose_meaning_differs_have_torchs():
    """Epsilon and slope in float64, the gradient of LeakyReLU at 0 and of a maximum of equals."""
    paddle = pytest.importorskip("paddle")
    from paddle_impl.layers import GroupNorm, LeakyReLU, maximum

    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 2, 8, 3, 4, 5))
    x *= 1e-3  # where epsilon counts
    x[0, 0, 0] = 0
    ours = GroupNorm(4, 8)
    ours.to(dtype="float64")
    pairs = [
        (torch.nn.GroupNorm(4, 8).double(), ours),
        (torch.nn.LeakyReLU(0.01), LeakyReLU(0.01)),
        (lambda v: torch.maximum(v * 0.3, v * 0.6), lambda v: maximum(v * 0.3, v * 0.6)),
    ]
    for theirs, port in pairs:
        left = torch.from_numpy(x).requires_grad_()
        right = paddle.to_tensor(x, stop_gradient=False)
        outputs = theirs(left), port(right)
        (outputs[0] * torch.from_numpy(g)).sum().backward()
        (outputs[1] * paddle.to_tensor(g)).sum().backward()
        wanted = outputs[0].detach().numpy(), left.grad.numpy()
        for found, expected in zip((outputs[1].numpy(), right.grad.numpy()), wanted, strict=True):
            np.testing.assert_allclose(
                found, expected, rtol=1e-11, atol=1e-14 * abs(expected).max()
            )
    assert ours._epsilon == 1e-5
