"""Panoptic-DeepLab and ViP-DeepLab: names and sizes of the authors' files, equal pairs."""

import json
import pickle

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError
from common.pairs import PAIRS
from torch_ref.seeded import build_seeded

D2, VIP = "panoptic_deeplab_d2_r52", "vip_deeplab_r50"
FILES = {
    "panoptic_deeplab_bowenc_r50_os32": ("panoptic_deeplab_r50", {}, 530, 55_308_870),
    "panoptic_deeplab_bowenc_r101_os32": ("panoptic_deeplab_r101", {}, 836, 74_300_998),
    "panoptic_deeplab_detectron2_r52_os16_dsconv": (D2, {"dsconv": True}, 544, 30_271_350),
    "panoptic_deeplab_detectron2_r52_os16": (D2, {"dsconv": False}, 508, 59_770_166),
}
ROWS = (*dict.fromkeys(row for row, *_ in FILES.values()), VIP)
SMALL = {"width": 0.0625, "num_classes": 5}
LONG = pytest.mark.prove
# What computes something else, and is no deeper than another: row, options, input.
CASES = [
    ("panoptic_deeplab_r50", {}, (2, 3, 65, 97)),
    (D2, {}, (2, 3, 64, 128)),
    (VIP, {}, (2, 6, 65, 97)),
    pytest.param(
        "panoptic_deeplab_r50",
        {"output_stride": 16, "pool_window": [3, 4]},
        (2, 3, 65, 97),
        marks=LONG,
    ),
    pytest.param(D2, {"dsconv": False, "pool_window": [2, 4]}, (1, 3, 64, 128), marks=LONG),
]


def on_meta(row, **options):
    with torch.device("meta"):
        return torch_ref.build_model(row, **options)


def manifest(file):
    return json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    row, options, keys, parameters = FILES[file]
    net = on_meta(row, **options)
    held = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]
    assert held == manifest(file)
    assert (len(held), sum(p.numel() for p in net.parameters())) == (keys, parameters)


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_by_itself_what_it_is(file):
    from convert.nets.recognise import recognise

    row, options, *_ = FILES[file]
    found = recognise({key: tuple(shape) for key, shape, _ in manifest(file)})
    assert (found.row, dict(found.options)) == (row, {"num_classes": 19, **options})


@pytest.mark.parametrize("row", ROWS)
def test_width_and_classes_are_plain_arguments(row):
    full, small = on_meta(row).state_dict(), on_meta(row, **SMALL).state_dict()
    assert full.keys() == small.keys()
    assert small[PAIRS[row].classes_key].shape[0] == 5
    shares = {s.shape[0] / full[k].shape[0] for k, s in small.items() if s.ndim}
    assert shares == {0.0625, 5 / 19, 1.0}  # 1.0: center, offset, depth
    with pytest.raises(ConfigError, match=r"width is 0\.02; .* at least 0\.0"):
        on_meta(row, width=0.02)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"output_stride": 8}, "choose 16 or 32"),
        ({"pool_window": 3}, "pool_window is 3"),
        ({"pool_window": [0, 4]}, r"pool_window is \[0, 4\]"),
    ],
)
def test_settings_that_are_not_possible_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        on_meta("panoptic_deeplab_r50", **options)


@pytest.mark.parametrize(
    ("stride", "rates", "fourth"), [(32, [3, 6, 9], [1, 1, 1]), (16, [6, 12, 18], [1, 2, 2])]
)
def test_rates_and_dilations_follow_the_output_stride(stride, rates, fourth):
    net = on_meta("panoptic_deeplab_r50", output_stride=stride)
    for decoder in (net.decoder.semantic_decoder, net.decoder.instance_decoder):
        assert [conv[0].dilation[0] for conv in list(decoder.aspp.convs)[1:4]] == rates
    assert [block.conv2.dilation[0] for block in net.backbone.layer4] == fourth


def test_batchnorms_keep_what_the_authors_keep():
    kept = {1 - m.momentum for m in on_meta("panoptic_deeplab_r50").modules() if norm(m)}
    assert kept == {0.99}
    given = on_meta("panoptic_deeplab_r50", bn_kept=0.9)
    assert {round(1 - m.momentum, 9) for m in given.modules() if norm(m)} == {0.9}


def norm(module):
    return isinstance(module, torch.nn.BatchNorm2d)


def test_the_decoders_begin_small_and_the_backbone_does_not():
    torch.manual_seed(0)
    net = torch_ref.build_model("panoptic_deeplab_r50", **SMALL)
    wide = net.decoder.semantic_decoder.aspp.convs[3][0].weight.detach()
    assert 0.9e-3 < float(wide.std()) < 1.1e-3
    head = net.decoder.instance_head.classifier["offset"][1]
    assert 0 < float(head.bias.detach().abs().max()) < 1 / head.in_channels**0.5
    assert float(net.backbone.layer4[0].conv2.weight.detach().std()) > 0.05


def test_seeded_nets_look_at_their_image_all_the_same():
    """With N(0, 0.001) in the decoders an evaluation would show little but biases."""
    net = build_seeded("panoptic_deeplab_r50", 0, **SMALL).eval()
    with torch.no_grad():
        two = [net(torch.randn(1, 3, 65, 97)) for _ in range(2)]
    for one, other in zip(*two, strict=True):
        assert (one - other).abs().max() > 0.01 * one.abs().max()


def test_outputs_have_the_image_s_size_in_both_modes():
    net = build_seeded("panoptic_deeplab_r50", 0, **SMALL)
    for train, size in ((False, (65, 97)), (True, (47, 80))):
        with torch.no_grad():
            out = net.train(train)(torch.randn(2, 3, *size))
        assert isinstance(out, list)
        assert [tuple(o.shape) for o in out] == [(2, c, *size) for c in (5, 1, 2)]
    with pytest.raises(UserError, match="5 at least"):
        net(torch.randn(2, 3, 4, 97))


@pytest.mark.parametrize(("height", "factor"), [(65, 4), (8, 7), (6, 5), (1025, 4)])
def test_the_offset_is_in_pixels_of_the_image(height, factor):
    """(H - 1) // (h - 1) of the heights, for both axes, whatever the widths are."""
    from torch_ref.models.panoptic.panoptic_deeplab import upsample_offset

    offset = torch.ones(1, 2, (height + 3) // 4, 5, dtype=torch.float64)
    scaled = upsample_offset(offset, torch.zeros(1, 3, height, 80))
    torch.testing.assert_close(scaled, torch.full_like(scaled, factor))


def test_a_window_of_the_whole_map_is_its_average():
    """And a smaller one moves over the map by one cell: the authors' test crop."""
    from torch_ref.models.panoptic.panoptic_deeplab import WindowPool

    x = torch.rand(1, 1, 3, 9, dtype=torch.float64)
    average, whole, part = (WindowPool(1, 1, window).double() for window in (None, (3, 9), (3, 5)))
    for pool in (average, whole, part):
        torch.nn.init.ones_(pool.aspp_pooling[1].weight)
    torch.testing.assert_close(average(x), x.mean().expand(1, 1, 3, 9))
    torch.testing.assert_close(whole(x), average(x))
    windows = torch.stack([x[..., i : i + 5].mean() for i in range(5)])
    torch.testing.assert_close(part(x)[0, 0, 1, ::2], windows)
    with pytest.raises(UserError, match=r"pool_window is \[3, 5\]"):
        part(x[..., :4])


def test_vip_takes_two_frames_and_of_the_next_only_its_offsets():
    net = build_seeded(VIP, 0, **SMALL).eval()
    x, other = torch.randn(2, 6, 33, 65), torch.randn(2, 3, 33, 65)
    with torch.no_grad():
        maps, again, changed = net(x), net(x[:, :3], x[:, 3:]), net(x[:, :3], other)
    assert [tuple(m.shape) for m in maps] == [(2, c, 33, 65) for c in (5, 1, 2, 2, 1)]
    assert all(torch.equal(*two) for two in zip(maps, again, strict=True))
    assert [torch.equal(*two) for two in zip(maps, changed, strict=True)] == [
        *(True, True, True, False, True)
    ]
    assert maps[4].min() > 0
    assert maps[4].max() < 88
    for wrong in ((x[:, :3],), (x[:, :3], other[..., :-1]), (x, x)):
        with pytest.raises(UserError, match="two frames"):
            net(*wrong)


def test_vip_s_offset_has_a_factor_for_each_axis():
    from torch_ref.models.panoptic.vip_deeplab import upsample_by_axis

    offset = torch.ones(1, 2, 3, 5, dtype=torch.float64)
    scaled = upsample_by_axis(offset, torch.zeros(1, 3, 8, 17))
    torch.testing.assert_close(scaled[0, :, 0, 0], torch.tensor([3.5, 4.0], dtype=torch.float64))


def check_whole_net(row, options, shape, train):
    """DESIGN's table: 1e-9 outputs, 1e-7 gradients; every resize of these sizes is exact."""
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import whole_net

    found = whole_net(row, 1, shape, train, **SMALL, **options)
    for what, error in found.items():
        assert error < (1e-9 if what.startswith("output") else 1e-7), (what, error)


@pytest.mark.parametrize(("row", "options", "shape"), CASES)
def test_outputs_gradients_and_statistics_in_train_mode(row, options, shape):
    check_whole_net(row, options, shape, train=True)


@LONG
@pytest.mark.parametrize(("row", "options", "shape"), CASES)
def test_outputs_and_gradients_in_eval_mode(row, options, shape):
    check_whole_net(row, options, shape, train=False)


@LONG
@pytest.mark.parametrize(("row", "options", "shape"), CASES)
def test_every_call_is_aligned(row, options, shape):
    nets = small_pair(row, **options)
    from align import align_backward, align_forward
    from commands.subjects.inputs import seeded_input

    for train in (False, True):
        report = align_forward(*nets, [seeded_input(shape, 1)], train=train)
        assert report.aligned, report.divergences[:3]
    report = align_backward(*nets, [seeded_input(shape, 1)])
    assert report.aligned, report.divergences[:3]


def small_pair(row, **options):
    pytest.importorskip("paddle")
    from commands.subjects.rows import seeded_pair

    return seeded_pair(row, 1, **SMALL, **options)


def swapped(decoder):
    """A port that joins [projected, running], as detectron2 does."""
    import paddle

    from paddle_impl.layers import resize_bilinear

    def forward(features):
        x = decoder.aspp(features[-1])
        for low, project, fuse in zip(features[-2::-1], decoder.project, decoder.fuse, strict=True):
            low = project(low)
            x = resize_bilinear(x, low.shape[2:], align_corners=True)
            x = fuse(paddle.concat([low, x], axis=1))
        return x

    decoder.forward = forward


def unscaled(net):
    """A port whose offsets stay in cells."""
    from paddle_impl.models.panoptic.panoptic_deeplab import upsample

    net.forward = lambda x: [upsample(map_, x) for map_ in net.decoder(net.backbone(x))]


@LONG
@pytest.mark.parametrize(
    ("fault", "layer", "where"),
    [("swapped", "decoder.instance_decoder", "input:0"), ("unscaled", "", "output:2")],
)
def test_a_wrong_port_is_found_at_its_place(fault, layer, where):
    reference, port = small_pair("panoptic_deeplab_r50")
    if fault == "swapped":
        swapped(port.decoder.instance_decoder)
    else:
        unscaled(port)
    from align import align_forward
    from commands.subjects.inputs import seeded_input

    report = align_forward(reference, port, [seeded_input((1, 3, 33, 33), 1)])
    assert report.exit_code == 1
    assert {(d.layer, d.where) for d in report.divergences} == {(layer, where)}


@LONG
@pytest.mark.parametrize(("row", "stem"), [("panoptic_deeplab_r50", "plain"), (VIP, "deep")])
def test_imagenet_weights_fill_the_backbone(tmp_path, row, stem):
    pytest.importorskip("paddle")
    from convert import convert_checkpoint

    net = build_seeded("resnet50", 0, stem=stem)
    torch.save(net.state_dict(), tmp_path / "imagenet.pth")
    made = convert_checkpoint(tmp_path / "imagenet.pth", into=f"{row}:backbone")
    filled = made.state["backbone.layer4.2.conv3.weight"]
    np.testing.assert_array_equal(filled, net.state_dict()["layer4.2.conv3.weight"].numpy())
    assert len(made.state) == sum("num_batches" not in k for k in net.state_dict()) - 2


def test_a_pickle_of_detectron2_s_is_converted(tmp_path):
    """Its model zoo holds NumPy arrays; older nets their image's mean and deviation, too."""
    pytest.importorskip("paddle")
    from convert import convert_checkpoint

    held = {k: v.numpy() for k, v in build_seeded(D2, 0).state_dict().items()}
    shape = (3, 1, 1)
    model = held | {"pixel_mean": np.ones(shape, "f4"), "pixel_std": np.ones(shape, "f4")}
    path = tmp_path / "model_final.pkl"
    about = {"model": model, "__author__": "Detectron2 Model Zoo", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(about))
    made = convert_checkpoint(path)
    assert made.account.net["row"] == D2
    assert made.account.net["options"] == {"num_classes": 19, "dsconv": True}
    for ours, theirs in (("weight", "weight"), ("norm._mean", "norm.running_mean")):
        at = "sem_seg_head.decoder.res5.project_conv.convs.2.depthwise"
        np.testing.assert_array_equal(made.state[f"{at}.{ours}"], held[f"{at}.{theirs}"])
    assert len(made.state) == sum("num_batches" not in key for key in held)
    dropped = {row.key for row in made.account.source_tensors if row.reason}
    assert {key for key in dropped if "num_batches" not in key} == {"pixel_mean", "pixel_std"}
