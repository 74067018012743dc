"""Mask R-CNN: names and sizes of torchvision's files, and the same objects on both sides."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref

V1, V2 = "mask_rcnn_r50_fpn", "mask_rcnn_r50_fpn_v2"
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


def pair(row, **options):
    """The two nets in float64 and eval mode, with equal weights."""
    pytest.importorskip("paddle")
    from commands.subjects.rows import seeded_pair

    reference, port = seeded_pair(row, 1, **{**SMALL, **options})
    port.to(dtype="float64")
    reference.double().eval()
    port.eval()
    return reference, port


@pytest.mark.parametrize("row", [V1, V2])
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
