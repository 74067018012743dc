"""Mask R-CNN: names and sizes of torchvision's files, and the same objects on both sides."""

import json
import re

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from torch_ref.seeded import build_seeded

V1, V2, D2 = "mask_rcnn_r50_fpn", "mask_rcnn_r50_fpn_v2", "mask_rcnn_r50_fpn_d2"
LATER = [pytest.param(row, marks=pytest.mark.prove) for row in (V2, D2)]
FILES = {
    "mask_rcnn_r50_fpn_torchvision": (V1, {}, 307, 44_401_393),
    "mask_rcnn_r50_fpn_torchvision_bn": (V1, {"norm": "batch"}, 360, 44_454_513),
    "mask_rcnn_r50_fpn_v2_torchvision": (V2, {}, 432, 46_359_409),
}
# So that images of 64 pixels have boxes on all levels, and about ten objects each.
SMALL = {"width": 0.125, "num_classes": 5, "min_size": 64, "max_size": 128}
SMALL |= {"anchor_sizes": (8, 16, 24, 32, 48), "canonical_scale": 28, "box_score_thresh": 0.3}
SMALL |= {"rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 40}
SIZES = ((64, 96), (80, 50), (130, 101))


def on_meta(row, **options):
    with torch.device("meta"):
        return torch_ref.build_model(row, **options)


def manifest(name):
    return json.loads((MANIFESTS / f"{name}.json").read_text())["state_dict"]


def pictures(sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((3, *size)) for size in sizes]


@pytest.mark.parametrize("name", FILES)
def test_reference_has_the_keys_shapes_and_order_of_torchvision_s_file(name):
    row, options, keys, parameters = FILES[name]
    net = on_meta(row, **options)
    held = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]
    assert held == manifest(name)
    assert (len(held), sum(p.numel() for p in net.parameters())) == (keys, parameters)


@pytest.mark.parametrize(
    ("name", "row", "options"),
    [
        ("mask_rcnn_r50_fpn_torchvision", V1, {"num_classes": 91, "norm": "frozen"}),
        ("mask_rcnn_r50_fpn_torchvision_released", V1, {"num_classes": 91, "norm": "frozen"}),
        ("mask_rcnn_r50_fpn_torchvision_bn", V1, {"num_classes": 91, "norm": "batch"}),
        ("mask_rcnn_r50_fpn_v2_torchvision", V2, {"num_classes": 91}),
        ("mask_rcnn_r50_fpn_detectron2", D2, {"num_classes": 81}),
    ],
)
def test_a_file_says_by_itself_what_it_is(name, row, options):
    from convert.nets.recognise import recognise

    found = recognise({key: tuple(shape) for key, shape, _ in manifest(name)})
    assert (found.row, dict(found.options)) == (row, options)


# Ours to that of the file, in words of their own.
RELEASED = [
    (r"_blocks\.(\d)\.0\.", r"_blocks.\1."),
    (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
    (r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}."),
]
DETECTRON2 = [
    (r"body\.bn1\.", "bottom_up.stem.conv1.norm."),
    (r"body\.conv1\.", "bottom_up.stem.conv1."),
    (r"body\.layer(\d)", lambda m: f"bottom_up.res{int(m[1]) + 1}"),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"downsample\.1\.", "shortcut.norm."),
    (r"downsample\.0\.", "shortcut."),
    (r"fpn\.inner_blocks\.(\d)\.0", lambda m: f"fpn_lateral{int(m[1]) + 2}"),
    (r"fpn\.layer_blocks\.(\d)\.0", lambda m: f"fpn_output{int(m[1]) + 2}"),
    (r"rpn\.head\.conv\.0\.0", "proposal_generator.rpn_head.conv"),
    (r"rpn\.head\.cls_logits", "proposal_generator.rpn_head.objectness_logits"),
    (r"rpn\.head\.bbox_pred", "proposal_generator.rpn_head.anchor_deltas"),
    (r"box_head\.fc(\d)", lambda m: f"box_head.fc{int(m[1]) - 5}"),
    (r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}."),
    (r"mask_predictor\.conv5_mask", "mask_head.deconv"),
    (r"mask_predictor\.mask_fcn_logits", "mask_head.predictor"),
]


@pytest.mark.parametrize(
    ("row", "names", "file", "more"),
    [
        (V1, RELEASED, "mask_rcnn_r50_fpn_torchvision_released", {}),
        (D2, DETECTRON2, "mask_rcnn_r50_fpn_detectron2", {"pixel_mean": np.zeros([3, 1, 1])}),
    ],
)
def test_a_file_of_other_names_fills_the_port(row, names, file, more):
    pytest.importorskip("paddle")
    import paddle_impl
    from convert import convert_state

    arrays = {k: v.numpy() for k, v in build_seeded(row, 0, **SMALL).state_dict().items()}
    port = paddle_impl.build_model(row, **SMALL)
    renamed = {}
    for key, value in arrays.items():
        for match, to in names:
            key = re.sub(match, to, key)
        renamed[key] = value
    assert set(renamed) == {key for key, _, _ in manifest(file)}
    made = convert_state({**renamed, **more}, port)
    straight = convert_state(arrays, port).state
    assert made.state.keys() == straight.keys() == port.state_dict().keys()
    for key, value in straight.items():
        np.testing.assert_array_equal(made.state[key], value)


def test_detectron2_s_heads_return_the_background_first():
    """Its layers have it last, and no offsets and no mask of it (fast_rcnn.py:207, 275)."""
    from torch_ref.models.detection.roi_heads import FastRCNNPredictor, MaskRCNNPredictor

    head, x = FastRCNNPredictor(4, 3, background_last=True), torch.randn(2, 4)
    logits, offsets = head(x)
    assert torch.equal(logits, head.cls_score(x)[:, [2, 0, 1]])
    assert tuple(offsets.shape) == (2, 12)
    assert torch.equal(offsets[:, 4:], head.bbox_pred(x))
    assert not offsets[:, :4].any()
    mask, x = MaskRCNNPredictor(4, 3, background_last=True), torch.randn(2, 4, 2, 2)
    assert tuple(mask(x).shape) == (2, 3, 4, 4)
    assert torch.equal(mask(x)[:, 1:], mask.mask_fcn_logits(mask.relu(mask.conv5_mask(x))))


def pair(row, **options):
    """The two nets in float64 and eval mode, with equal weights."""
    pytest.importorskip("paddle")
    from commands.subjects.rows import seeded_pair

    reference, port = seeded_pair(row, 1, **{**SMALL, **options})
    port.to(dtype="float64")
    reference.double().eval()
    port.eval()
    return reference, port


@pytest.mark.parametrize("row", [V1, *LATER])
def test_both_sides_find_the_same_objects_in_images_of_three_sizes(row):
    paddle = pytest.importorskip("paddle")
    reference, port = pair(row)
    images = pictures()
    theirs = reference([torch.from_numpy(x) for x in images])
    ours = port([paddle.to_tensor(x) for x in images])
    for one, other, image in zip(theirs, ours, images, strict=True):
        assert list(one) == list(other) == ["boxes", "labels", "scores", "masks"]
        assert tuple(one["masks"].shape) == (len(one["boxes"]), 1, *image.shape[1:])
        for key, value in one.items():
            np.testing.assert_allclose(other[key].numpy(), value.detach().numpy(), atol=1e-9)
    assert sum(len(one["boxes"]) for one in theirs) > 10


@pytest.mark.parametrize("row", [V1, *LATER[:1]])
@pytest.mark.parametrize("option", ["rpn_score_thresh", "box_score_thresh"])
def test_images_in_which_nothing_is_proposed_or_found(row, option):
    paddle = pytest.importorskip("paddle")
    reference, port = pair(row, **{option: 2.0})
    image = pictures()[0]
    for found in (reference([torch.from_numpy(image)]), port([paddle.to_tensor(image)])):
        shapes = {key: list(value.shape) for key, value in found[0].items()}
        assert shapes == {"boxes": [0, 4], "labels": [0], "scores": [0], "masks": [0, 1, 64, 96]}
