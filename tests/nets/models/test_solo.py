"""SOLO and SOLOv2: names and sizes of MMDetection's files, equal pairs, faults of ports."""

import json
import re

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError
from torch_ref.seeded import build_seeded

FILES = {
    "solo_r50_fpn": ("solo_r50_fpn_mmdet", 388, 36_301_232),
    "solov2_r50_fpn": ("solov2_r50_fpn_mmdet", 386, 46_592_912),
}
SMALL = {"width": 0.125, "num_classes": 5, "num_grids": [8, 8, 4, 4, 2], "stacked_convs": 2}
SHAPE = (1, 3, 64, 128)
LONG = pytest.mark.prove


def on_meta(row, **options):
    with torch.device("meta"):
        return torch_ref.build_model(row, **options)


def manifest(row):
    return json.loads((MANIFESTS / f"{FILES[row][0]}.json").read_text())["state_dict"]


@pytest.mark.parametrize("row", FILES)
def test_reference_has_the_keys_shapes_and_order_of_mmdetection_s_file(row):
    net = on_meta(row)
    held = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]
    assert {key: (shape, kind) for key, shape, kind in held} == {
        key: (shape, kind) for key, shape, kind in manifest(row)
    }
    assert held == manifest(row)
    assert (len(held), sum(p.numel() for p in net.parameters())) == FILES[row][1:]


@pytest.mark.parametrize("row", FILES)
def test_a_file_says_by_itself_what_it_is(row):
    from convert.nets.recognise import recognise

    found = recognise({key: tuple(shape) for key, shape, _ in manifest(row)})
    assert (found.row, dict(found.options)) == (row, {"num_classes": 80})


@pytest.mark.parametrize("grids", [[40, 36, 24, 16], [40, 36, 24, 16, 0], 40, [8.0] * 5])
def test_grids_that_are_not_five_numbers_are_refused(grids):
    with pytest.raises(ConfigError, match=r"num_grids is .* five whole numbers"):
        on_meta("solo_r50_fpn", num_grids=grids)


AUTHORS = [  # ours to those of WXinlong/SOLO
    (r"^mask_head\.mask_convs", "bbox_head.ins_convs"),
    (r"^mask_head\.cls_convs", "bbox_head.cate_convs"),
    (r"^mask_head\.kernel_convs", "bbox_head.kernel_convs"),
    (r"^mask_head\.conv_mask_list", "bbox_head.solo_ins_list"),
    (r"^mask_head\.conv_cls", "bbox_head.solo_cate"),
    (r"^mask_head\.conv_kernel", "bbox_head.solo_kernel"),
    (r"^mask_head\.mask_feature_head\.conv_pred", "mask_feat_head.conv_pred.0"),
    (r"^mask_head\.mask_feature_head", "mask_feat_head"),
]


@pytest.mark.parametrize("row", FILES)
def test_a_file_of_the_authors_fills_the_port(row):
    pytest.importorskip("paddle")
    import paddle_impl
    from convert import convert_state

    arrays = {k: v.numpy() for k, v in build_seeded(row, 0, **SMALL).state_dict().items()}
    renamed = {}
    for key, value in arrays.items():
        name = key
        for match, to in AUTHORS:
            name = re.sub(match, to, name)
        renamed[name] = value
    assert not any(name.startswith("mask_head") for name in renamed)
    port = paddle_impl.build_model(row, **SMALL)
    straight, made = convert_state(arrays, port).state, convert_state(renamed, port).state
    assert straight.keys() == made.keys() == port.state_dict().keys()
    for key, value in straight.items():
        np.testing.assert_array_equal(made[key], value)


def test_stages_and_statistics_may_be_trained():
    net = torch_ref.build_model("solo_r50_fpn", **SMALL, frozen_stages=-1, norm_eval=False)
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.train().backbone.bn1.training
    net = torch_ref.build_model("solov2_r50_fpn", **SMALL, frozen_stages=2)
    still = {n.split(".")[1] for n, p in net.named_parameters() if not p.requires_grad}
    assert still == {"conv1", "bn1", "layer1", "layer2"}
    assert not net.train().backbone.bn1.training


def test_what_the_nets_return():
    x = torch.randn(SHAPE)
    net = build_seeded("solo_r50_fpn", 0, **SMALL)
    with torch.no_grad():
        masks, classes = net(x)
        assert [tuple(m.shape) for m in masks] == [
            *[(1, 64, 16, 32)] * 2,
            *[(1, 16, 8, 16), (1, 16, 4, 8), (1, 4, 4, 8)],
        ]
        assert [tuple(c.shape) for c in classes] == [(1, 5, s, s) for s in SMALL["num_grids"]]
        masks, classes = net.eval()(x)
        assert [tuple(m.shape) for m in masks] == [(1, n, 16, 32) for n in (64, 64, 16, 16, 4)]
        assert all(m.min() >= 0 and m.max() <= 1 for m in (*masks, *classes))
        kernels, classes, features = build_seeded("solov2_r50_fpn", 0, **SMALL)(x)
    assert [tuple(k.shape) for k in kernels] == [(1, 32, s, s) for s in SMALL["num_grids"]]
    assert [tuple(c.shape) for c in classes] == [(1, 5, s, s) for s in SMALL["num_grids"]]
    assert tuple(features.shape) == (1, 32, 16, 32)


def test_a_point_stays_where_it_is_the_largest_of_its_upper_left_four():
    from torch_ref.models.detection.solo import points_nms

    x = torch.tensor([[0.5, 0.4, 0.4], [0.3, 0.6, 0.1], [0.3, 0.2, 0.7]])
    kept = torch.tensor([[0.5, 0, 0.4], [0, 0.6, 0], [0.3, 0, 0.7]])
    assert torch.equal(points_nms(x[None, None])[0, 0], kept)


def test_coordinates_are_x_then_y_between_minus_and_plus_one():
    from torch_ref.models.detection.solo import with_coordinates

    x, y = with_coordinates(torch.zeros(1, 1, 2, 3))[0, 1:]
    assert torch.equal(x, torch.tensor([[-1.0, 0.0, 1.0]] * 2))
    assert torch.equal(y, torch.tensor([[-1.0] * 3, [1.0] * 3]))


def test_the_pyramid_has_no_relu_and_a_fifth_level_of_every_second_value():
    from torch_ref.models.detection.fpn import FPN

    levels = FPN([2, 4], 8)([torch.randn(1, 2, 4, 8), torch.randn(1, 4, 2, 4)])
    assert [tuple(level.shape[2:]) for level in levels] == [(4, 8), (2, 4), (1, 2)]
    assert torch.equal(levels[2], levels[1][..., ::2, ::2])
    assert all((level < 0).any() for level in levels)


def test_heads_begin_as_the_authors_do():
    torch.manual_seed(0)
    one, two = (torch_ref.build_model(row, **SMALL).mask_head for row in FILES)
    for conv in (one.conv_cls, *one.conv_mask_list, two.conv_cls):
        torch.testing.assert_close(
            torch.sigmoid(conv.bias.detach()), torch.full_like(conv.bias, 0.01)
        )
    assert not two.conv_kernel.bias.any()
    assert 0.009 < float(one.mask_convs[1].conv.weight.detach().std()) < 0.011


def test_the_backbone_s_statistics_and_first_stages_are_frozen_on_both_sides():
    paddle = pytest.importorskip("paddle")
    reference, port = pair("solo_r50_fpn")
    before = {k: v.clone() for k, v in reference.state_dict().items()}
    ours = {k: v.numpy().copy() for k, v in port.state_dict().items()}
    wrapped = paddle.nn.Sequential(port)  # Paddle's train() does not call that of what it holds
    reference.train()
    wrapped.train()
    x = np.random.default_rng(0).standard_normal(SHAPE).astype("f4")
    reference(torch.from_numpy(x))
    wrapped(paddle.to_tensor(x))
    assert all(torch.equal(v, before[k]) for k, v in reference.state_dict().items())
    for key, value in port.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), ours[key])
    still = {n for n, p in reference.named_parameters() if not p.requires_grad}
    ours = {n for n, p in port.named_parameters() if p.stop_gradient}
    assert still == {name for name in ours if not name.endswith(("._mean", "._variance"))}
    assert {".".join(name.split(".")[:2]) for name in still} == {
        *("backbone.conv1", "backbone.bn1", "backbone.layer1")
    }


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("row", FILES)
def test_outputs_and_gradients(row, train):
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import whole_net

    for what, error in whole_net(row, 1, SHAPE, train, **SMALL).items():
        assert error < (1e-9 if what.startswith("output") else 1e-7), (what, error)


def pair(row):
    pytest.importorskip("paddle")
    from commands.subjects.rows import seeded_pair

    return seeded_pair(row, 1, **SMALL)


def aligned(pair, train=True):
    from align import align_forward
    from commands.subjects.inputs import seeded_input

    return align_forward(*pair, [seeded_input(SHAPE, 1)], train=train)


@LONG
@pytest.mark.parametrize("row", FILES)
def test_every_call_is_aligned(row):
    from align import align_backward
    from commands.subjects.inputs import seeded_input

    nets = pair(row)
    for train in (False, True):
        report = aligned(nets, train)
        assert report.aligned, report.divergences[:3]
    report = align_backward(*nets, [seeded_input(SHAPE, 1)])
    assert report.aligned, report.divergences[:3]


def y_first(port):
    """A port that joins y before x."""
    import paddle

    from common.shapes import coordinates

    def masks_of(i, x):
        places = paddle.to_tensor(coordinates(*x.shape[2:])[:, ::-1].copy()).astype(x.dtype)
        x = paddle.concat([x, places.expand([x.shape[0], -1, -1, -1])], axis=1)
        for conv in head.mask_convs:
            x = conv(x)
        return head.conv_mask_list[i](head.twice(x))

    head = port.mask_head
    head.masks_of = masks_of


def transposed(port):
    """A port whose grid of kernels has its rows for columns."""
    right = port.mask_head.kernels_of
    port.mask_head.kernels_of = lambda x: right(x).transpose([0, 1, 3, 2])


def normalised_by_others(port):
    """A port whose GroupNorms have other groups."""
    port.mask_head.cls_convs[0].gn._num_groups = 2


def normalised_late(port):
    """A port whose GroupNorms stand behind the ReLU."""
    block = port.mask_head.cls_convs[0]
    block.forward = lambda x: block.gn(block.relu(block.conv(x)))


def learning(port):
    """A port whose backbone collects statistics in train mode."""
    for layer in port.backbone.sublayers():
        if "BatchNorm" in type(layer).__name__:
            layer._use_global_stats = None
            layer.training = True
    port.train = lambda: port


def forgetful(port):
    """A port that adds no coarser level."""
    neck = port.neck

    def forward(features):
        import paddle.nn.functional as F

        maps = [conv(x) for conv, x in zip(neck.lateral_convs, features, strict=True)]
        levels = [conv(x) for conv, x in zip(neck.fpn_convs, maps, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]

    neck.forward = forward


# The ReLU gets what the convolution gave: the code of the block hands on otherwise.
LATE = {("mask_head.cls_convs.0", where) for where in ("input:0", "output:0")}


@LONG
@pytest.mark.parametrize(
    ("fault", "row", "places"),
    [
        (y_first, "solo_r50_fpn", {("mask_head", "input:0")}),
        (transposed, "solov2_r50_fpn", {("mask_head", f"output:{i}") for i in range(5)}),
        (normalised_by_others, "solov2_r50_fpn", {("mask_head.cls_convs.0.gn", "output:0")}),
        (normalised_late, "solov2_r50_fpn", LATE),
        (learning, "solo_r50_fpn", {("backbone.bn1", "output:0")}),
        (forgetful, "solo_r50_fpn", {("neck", "input:0")}),
    ],
)
def test_a_wrong_port_is_found_at_its_place(fault, row, places):
    reference, port = pair(row)
    fault(port)
    report = aligned((reference, port))
    assert report.exit_code == 1
    found = {(d.layer, d.where) for d in report.divergences}
    assert places <= found if fault is learning else places == found


@LONG
def test_imagenet_weights_fill_the_backbone(tmp_path):
    pytest.importorskip("paddle")
    from convert import convert_checkpoint

    net = build_seeded("resnet50", 0)
    torch.save(net.state_dict(), tmp_path / "imagenet.pth")
    made = convert_checkpoint(tmp_path / "imagenet.pth", into="solo_r50_fpn:backbone")
    filled = made.state["backbone.layer4.2.conv3.weight"]
    np.testing.assert_array_equal(filled, net.state_dict()["layer4.2.conv3.weight"].numpy())
