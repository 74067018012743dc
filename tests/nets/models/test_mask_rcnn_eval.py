"""Mask R-CNN in eval mode: right ports are aligned, and wrong ones are found at their place."""

import math

import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward
from align.pairing.fill import load_state
from convert import convert_state
from tests.nets.models.thin_mask_rcnn import pictures, thin_pair
from torch_ref.seeded import seed_detector

pytestmark = pytest.mark.prove
# Boxes on all levels, about thirty objects each.
SMALL = {
    "anchor_sizes": (8, 12, 16, 24, 32),
    "canonical_scale": 9,
    "box_score_thresh": 0.45,
    "rpn_pre_nms_top_n_test": 100,
    "rpn_post_nms_top_n_test": 60,
}


@pytest.fixture(scope="module")
def nets():
    """The two nets in eval mode; a fault is undone by the test."""
    reference, port = thin_pair(**SMALL)
    with torch.no_grad():
        seed_detector(reference)
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def images():
    """A positional argument: images [3, H, W] of two sizes."""
    return [[image.astype("f4") for image in pictures()]]


def test_every_call_is_aligned(nets):
    report = align_forward(*nets, images())
    assert report.aligned, report.divergences[:3]
    found = [call for call in report.calls if call.layer == "roi_heads.detect"]
    assert {call.where for call in found} >= {f"output:{i}" for i in range(6)}
    assert all(call.shape[0] > 3 for call in found if call.where.startswith("output"))


def test_every_gradient_is_aligned(nets, monkeypatch):
    for net in nets:  # so many objects that every level has some
        monkeypatch.setattr(net.roi_heads.detect, "score_thresh", 0.35)
    report = align_backward(*nets, images(), train=False)
    assert not report.divergences, report.divergences[:3]
    assert report.exit_code == 0, [c for c in report.calls if c.verdict == "unchecked"][:3]


def aligned_pooling(port, monkeypatch):
    """RoIAlign as Paddle's by default: shifted by half a cell."""
    monkeypatch.setattr(port.roi_heads.box_roi_pool, "aligned", True)


def levels_too_fine(port, monkeypatch):
    """Boxes from the level below: without the 1e-6, say, or with another side."""
    monkeypatch.setattr(port.roi_heads.mask_roi_pool, "side", 18)


def one_suppression(port, monkeypatch):
    """Boxes of all levels compete."""
    from paddle_impl.models.detection import rpn

    right = rpn.grouped_nms
    monkeypatch.setattr(
        rpn, "grouped_nms", lambda boxes, scores, groups, t: right(boxes, scores, groups * 0, t)
    )


def wrong_weights(port, monkeypatch):
    """The box coder's weights of the proposals."""
    monkeypatch.setattr(port.roi_heads.detect, "weights", (1.0, 1.0, 1.0, 1.0))


def loose_suppression(port, monkeypatch):
    monkeypatch.setattr(port.roi_heads.detect, "nms_thresh", 0.6)


def corners_aligned(port, monkeypatch):
    """Masks are resized with aligned corners when they are pasted."""
    from paddle_impl.models.detection import paste

    right = paste.resize_bilinear
    monkeypatch.setattr(paste, "resize_bilinear", lambda x, size: right(x, size, True))


def no_growth_limit(port, monkeypatch):
    """Sides of proposals grow as they like."""
    from paddle_impl.models.detection import boxes

    with paddle.no_grad():
        monkeypatch.setattr(boxes, "LARGEST", math.log(1.2))


def clipped_to_padded(port, monkeypatch):
    """Proposals end at the padded batch, not at their image."""
    right = port.rpn.select.forward

    def forward(boxes, logits, sizes):
        return right(boxes, logits, [(128, 96)] * len(sizes))

    monkeypatch.setattr(port.rpn.select, "forward", forward)


def without_background(port, monkeypatch):
    """The mask of the class before the object's."""
    right = port.roi_heads.masks

    def masks(features, boxes, labels, sizes):
        return right(features, boxes, [label - 1 for label in labels], sizes)

    monkeypatch.setattr(port.roi_heads, "masks", masks)


def statistics_with_epsilon(port, monkeypatch):
    monkeypatch.setattr(port.backbone.body.bn1, "eps", 1e-3)


FAULTS = {
    aligned_pooling: {"roi_heads.box_roi_pool"},
    levels_too_fine: {"roi_heads.mask_roi_pool"},
    one_suppression: {"rpn.select"},
    wrong_weights: {"roi_heads.detect"},
    loose_suppression: {"roi_heads.detect"},
    corners_aligned: {""},
    no_growth_limit: {"rpn", "roi_heads.detect"},
    clipped_to_padded: {"rpn.select"},
    without_background: {"roi_heads"},
    statistics_with_epsilon: {"backbone.body.bn1"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_port_is_found_at_its_place(nets, monkeypatch, fault):
    fault(nets[1], monkeypatch)
    report = align_forward(*nets, images())
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == FAULTS[fault]
