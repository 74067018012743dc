"""UPSNet's panoptic head: equal on both sides, and what the paper says of its channels."""

import numpy as np
import pytest

from common.errors import ConfigError, DataError, UserError
from common.panoptic.unified import (
    IGNORED,
    box_window,
    prune_instances,
    unified_panoptic,
    unified_target,
)

torch = pytest.importorskip("torch")

CLASSES, THINGS = 5, (1, 4)
STUFF = 3
SIZE = (12, 16)
# In the image, beyond two borders, one cell, outside.
BOXES = [[4, 8, 30, 40], [-9, -3, 20, 14], [50, 30, 90, 70], [10, 10, 11, 11], [90, 90, 99, 99]]


def scene(count=5, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.array([1, 4, 1, 4, 1])[:count]
    semantic = draw.normal(size=(1, CLASSES, *SIZE))
    masks = draw.normal(size=(count, 7, 7))
    return semantic, masks, np.array(BOXES, float)[:count].reshape(count, 4), labels


def torch_logits(arrays, **options):
    from torch_ref.models.panoptic.upsnet import PanopticHead

    semantic, masks, boxes, labels = (torch.tensor(a) for a in arrays)
    semantic.requires_grad_(), masks.requires_grad_()
    return PanopticHead(CLASSES, THINGS, **options)(semantic, masks, boxes, labels), semantic, masks


@pytest.mark.parametrize("count", [0, 1, len(BOXES)])
@pytest.mark.parametrize("unknown", [True, False])
def test_both_sides_have_equal_logits_and_gradients(count, unknown):
    paddle = pytest.importorskip("paddle")
    from paddle_impl.models.panoptic.upsnet import PanopticHead

    arrays = scene(count)
    out, semantic, masks = torch_logits(arrays, unknown=unknown)
    cotangent = np.random.default_rng(1).normal(size=out.shape)
    (out * torch.tensor(cotangent)).sum().backward()
    tensors = [paddle.to_tensor(a) for a in arrays]
    tensors[0].stop_gradient = tensors[1].stop_gradient = False
    port = PanopticHead(CLASSES, THINGS, unknown=unknown)(*tensors)
    (port * paddle.to_tensor(cotangent)).sum().backward()
    assert list(port.shape) == list(out.shape) == [1, STUFF + count + unknown, *SIZE]
    np.testing.assert_allclose(port.numpy(), out.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(tensors[0].grad.numpy(), semantic.grad.numpy(), rtol=0, atol=1e-12)
    if count:
        np.testing.assert_allclose(tensors[1].grad.numpy(), masks.grad.numpy(), rtol=0, atol=1e-12)


def test_channels_are_stuff_instances_and_the_unknown():
    semantic, masks, boxes, labels = scene(2)
    out = torch_logits((semantic, masks, boxes, labels))[0].detach().numpy()[0]
    np.testing.assert_array_equal(out[:STUFF], semantic[0, [0, 2, 3]])
    top, left, bottom, right = box_window(boxes[0], 4)
    assert (top, left, bottom, right) == (2, 1, 11, 8)
    outside = np.ones(SIZE, bool)
    outside[top:bottom, left:right] = False
    assert not out[STUFF][outside].any()
    resized = torch.nn.functional.interpolate(
        torch.tensor(masks[:1, None]), (bottom - top, right - left), mode="bilinear"
    )[0, 0]
    inside = semantic[0, 1, top:bottom, left:right] + resized.numpy()
    np.testing.assert_allclose(out[STUFF, top:bottom, left:right], inside, atol=1e-12)
    far = (0, 15)  # a cell of no box: what no instance has is 0 there
    assert out[-1][far] == semantic[0, list(THINGS)].max(0)[far]


def test_a_scene_that_is_none_is_refused():
    from torch_ref.models.panoptic.upsnet import PanopticHead

    semantic, masks, boxes, labels = (torch.tensor(a) for a in scene(1))
    head = PanopticHead(CLASSES, THINGS)
    with pytest.raises(UserError, match=r"labels \[2\]"):
        head(semantic, masks, boxes, labels + 1)
    with pytest.raises(UserError, match="2 images"):
        head(semantic.expand(2, -1, -1, -1), masks, boxes, labels)
    with pytest.raises(ConfigError, match=r"things are \[7\]"):
        PanopticHead(CLASSES, (7,))


def test_pruning_goes_by_score_on_one_canvas_a_class():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9], [5, 0, 24, 9], [0, 0, 9, 9]], float)
    labels = np.array([1, 1, 4, 1, 1])
    scores = np.array([0.7, 0.9, 0.8, 0.65, 0.5])
    masks = np.ones((5, 4, 4))
    args = (scores, labels, masks, boxes, (20, 30))
    # The second covers the first; the fourth shares a quarter of its pixels; the last is unsure.
    assert prune_instances(*args).tolist() == [1, 2, 3]
    assert prune_instances(*args, overlap=0.2).tolist() == [1, 2]
    assert prune_instances(*args, overlap=1).tolist() == [1, 2, 0, 3]
    assert prune_instances(scores, labels, -masks, boxes, (20, 30)).size == 0
    with pytest.raises(DataError, match="'boxes': 4"):
        prune_instances(scores, labels, masks, boxes[:4], (20, 30))


def test_target_gives_left_out_objects_to_the_unknown():
    semantic = np.array([[0, 1, 1, 4, IGNORED, 3]])
    masks = np.array([[[0, 1, 0, 0, 0, 0]], [[0, 0, 1, 0, 0, 0]], [[0, 0, 0, 1, 0, 0]]])
    options = {"num_classes": CLASSES, "things": THINGS}
    target = unified_target(semantic, masks, [2, 0], **options)
    assert target.tolist() == [[0, STUFF + 1, STUFF + 2, STUFF, IGNORED, 2]]
    target = unified_target(semantic, masks, [2, 0], unknown=False, **options)
    assert target.tolist() == [[0, STUFF + 1, IGNORED, STUFF, IGNORED, 2]]


def test_map_drops_small_stuff_and_lets_the_semantic_majority_name_an_instance():
    channel = np.array([[0, 0, 0, 1, 3, 3, 4, 4, 5]])
    logits = (np.arange(6)[:, None, None] == channel).astype(float)
    semantic = np.array([[0, 0, 0, 2, 4, 4, 4, 1, 1]])
    options = {"num_classes": CLASSES, "things": THINGS, "stuff_area": 2}
    found = unified_panoptic(logits, semantic, np.array([1, 4]), **options)
    assert found.tolist() == [[0, 0, 0, -1, 4001, 4001, 4002, 4002, -1]]
    with pytest.raises(DataError, match="6 channels"):
        unified_panoptic(logits[:5], semantic, np.array([1, 4]), **options)
