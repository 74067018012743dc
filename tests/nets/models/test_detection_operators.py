"""Operators of detectors on both sides, against formulas written out here, in float64."""

import importlib

import numpy as np
import pytest

from common.instances.sizes import level_scale, one_each, padded, ratios, resized

FRAMEWORKS = ("torch", "paddle")


class Side:
    """The operators of one framework on NumPy arrays."""

    def __init__(self, framework):
        self.framework = pytest.importorskip(framework)
        self.package = {"torch": "torch_ref", "paddle": "paddle_impl"}[framework]
        self.learns = {"torch": ("requires_grad", True), "paddle": ("stop_gradient", False)}[
            framework
        ]

    def tensor(self, array):
        array = np.asarray(array)
        return (
            self.framework.to_tensor(array)
            if self.package == "paddle_impl"
            else self.framework.from_numpy(array)
        )

    def module(self, name):
        return importlib.import_module(f"{self.package}.models.detection.{name}")

    def call(self, module, name, *arguments, **options):
        """Call a function on tensors made of the arrays among `arguments`."""
        made = [self.tensor(x) if isinstance(x, np.ndarray) else x for x in arguments]
        return getattr(self.module(module), name)(*made, **options).detach().numpy()


@pytest.fixture(params=FRAMEWORKS)
def side(request):
    return Side(request.param)


def sample(image, y, x):
    """The map `image` [C, h, w] at a point, as torchvision's roi_align_common.h:60 says."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    hat = [np.maximum(0, 1 - abs(np.arange(n) - p)) for n, p in ((height, y), (width, x))]
    return np.einsum("chw,h,w->c", image, *hat)


def roi_align(image, box, bins, scale, ratio, aligned):
    """One box pooled: the mean of ratio x ratio samples in each bin."""
    x0, y0, x1, y1 = np.asarray(box) * scale - 0.5 * aligned
    wide, high = (x1 - x0, y1 - y0) if aligned else (max(x1 - x0, 1), max(y1 - y0, 1))
    pooled = np.zeros((len(image), bins, bins))
    rows, columns = (ratio or max(int(np.ceil(side / bins)), 1) for side in (high, wide))
    for v in range(bins * rows):
        for u in range(bins * columns):
            y, x = y0 + high * (v + 0.5) / (bins * rows), x0 + wide * (u + 0.5) / (bins * columns)
            pooled[:, v // rows, u // columns] += sample(image, y, x) / (rows * columns)
    return pooled


# In cells of a map of 6 x 8: inside; thinner than a cell in the corner, at the right, at the lower
# border; across the border; beside the map; as large as the map.
BOXES = [
    *([1.3, 0.7, 5.2, 4.9], [7.6, 5.7, 7.9, 5.9], [7.97, 1.0, 8.0, 5.0], [2.0, 5.98, 6.0, 6.0]),
    *([-2.6, -1.9, 2.0, 3.0], [5.5, 3.5, 10.5, 8.25], [9.5, 7.5, 12.0, 9.0], [0, 0, 8, 6]),
]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [2, 0])
def test_roi_align_at_the_border_and_of_thin_boxes(side, ratio, aligned):
    maps = np.random.default_rng(0).standard_normal((2, 3, 6, 8))
    boxes = [np.array(BOXES) * 4, np.array(BOXES[::-1][:5]) * 4, np.zeros((0, 4))]
    maps = np.concatenate([maps, maps[:1]])
    found = side.module("roi_align").roi_align(
        side.tensor(maps), [side.tensor(b) for b in boxes], 3, 0.25, ratio, aligned
    )
    expected = [
        roi_align(image, box, 3, 0.25, ratio, aligned)
        for image, part in zip(maps, boxes, strict=True)
        for box in part
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_roi_align_of_no_box(side):
    x = side.tensor(np.ones((2, 3, 4, 4)))
    none = [side.tensor(np.zeros((0, 4)))] * 2
    assert list(side.module("roi_align").roi_align(x, none, 7, 0.5, 2, False).shape) == [0, 3, 7, 7]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [2, 0])
def test_gradients_of_roi_align(side, ratio, aligned):
    """A map gets what its cells gave, thin boxes and all; boxes get nothing."""
    maps, boxes = np.random.default_rng(0).standard_normal((1, 2, 6, 8)), np.array(BOXES)
    x, b = side.tensor(maps), side.tensor(boxes)
    for tensor in (x, b):
        setattr(tensor, *side.learns)
    out = side.module("roi_align").roi_align(x, [b], 3, 1.0, ratio, aligned)
    cotangents = np.random.default_rng(1).standard_normal(tuple(out.shape))
    (out * side.tensor(cotangents)).sum().backward()
    assert b.grad is None or not b.grad.numpy().any()
    expected = np.zeros((6, 8))
    for row, column in np.ndindex(6, 8):
        one = np.zeros((1, 6, 8))
        one[0, row, column] = 1.0
        shares = [roi_align(one, box, 3, 1.0, ratio, aligned)[0] for box in boxes]
        expected[row, column] = (cotangents[:, 0] * np.array(shares)).sum()
    np.testing.assert_allclose(x.grad.numpy()[0, 0], expected, atol=1e-12)


def test_the_level_of_a_box_at_the_edge_between_two(side):
    """floor(4 + log2(side / 224) + 1e-6): a box a little too small counts as large enough."""
    just, below = 224 * 2**-0.5e-6, 224 * 2**-1.5e-6
    sides = np.array([20, 111.9, 112, just, below, 224, 447.9, 448, 2000])
    boxes = np.stack([np.zeros(9), np.zeros(9), sides, sides], axis=1)
    scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    found = side.call("roi_align", "level_of", boxes, scales)
    assert found.tolist() == [0, 0, 1, 2, 1, 2, 2, 3, 3]


def test_pooling_keeps_the_order_of_the_boxes_over_levels_and_images(side):
    rng = np.random.default_rng(0)
    levels = [rng.standard_normal((2, 3, 64 // s, 96 // s)) for s in (4, 8, 16, 32)]
    boxes = [
        np.array([[0, 0, 60, 60], [3, 4, 12, 11], [9, 9, 40, 30.0]]),
        np.array([[50, 20, 58, 31], [1, 2, 90, 60.0]]),
    ]
    pool = side.module("roi_align").MultiScaleRoIAlign(3, side=28)
    pooled = pool([side.tensor(x) for x in levels], [side.tensor(b) for b in boxes], [(64, 96)] * 2)
    expected = []
    for i, part in enumerate(boxes):
        for box in part:
            area = (box[2] - box[0]) * (box[3] - box[1])
            level = int(np.clip(np.floor(4 + np.log2(area**0.5 / 28) + 1e-6), 2, 5)) - 2
            expected.append(roi_align(levels[level][i], box, 3, 0.25 / 2**level, 2, False))
    np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-12)


def nms(boxes, scores, threshold):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


def iou(a, b):
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def test_nms_of_equal_scores_and_of_overlaps_at_the_threshold(side):
    """Equal scores stay in their order; an overlap of exactly the threshold drives nothing away."""
    boxes = np.array(
        [[0, 0, 10, 7], [0, 0, 10, 10], [0, 0, 10, 7.01], [20, 0, 30, 9], [20, 0, 30, 10.0]]
    )
    scores = np.array([0.9, 0.9, 0.8, 0.5, 0.5])
    assert iou(boxes[0], boxes[1]) == 0.7
    assert side.call("boxes", "nms", boxes, scores, 0.7).tolist() == [0, 1, 3]
    assert side.call("boxes", "nms", boxes, scores, 0.9).tolist() == [0, 1, 3, 4]
    assert side.call("boxes", "nms", boxes[:0], scores[:0], 0.7).tolist() == []
    groups = np.array([1, 1, 0, 7, 0])
    assert side.call("boxes", "grouped_nms", boxes, scores, groups, 0.69).tolist() == [0, 2, 3, 4]


def test_nms_of_many_boxes(side):
    rng = np.random.default_rng(0)
    low = rng.random((120, 2)) * 40
    boxes = np.concatenate([low, low + 5 + rng.random((120, 2)) * 20], axis=1)
    scores = rng.integers(0, 12, 120) / 12
    assert side.call("boxes", "nms", boxes, scores, 0.5).tolist() == nms(boxes, scores, 0.5)
    groups = rng.integers(0, 3, 120)
    apart = boxes + groups[:, None] * 1000.0
    found = side.call("boxes", "grouped_nms", boxes, scores, groups, 0.5)
    assert found.tolist() == nms(apart, scores, 0.5)


def test_offsets_to_boxes_and_how_far_a_side_may_grow(side):
    boxes = np.array([[10.0, 20.0, 30.0, 60.0]])
    deltas = np.array([[1.0, -2.0, 1.5, 50.0, 0.0, 0.0, 0.0, 0.0]])
    found = side.call("boxes", "decode", deltas, boxes, (10.0, 10.0, 5.0, 5.0))
    x, y, wide, high = 20 + 0.1 * 20, 40 - 0.2 * 40, 20 * np.exp(0.3), 40 * 1000 / 16
    expected = [[x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], [10, 20, 30, 60]]
    np.testing.assert_allclose(found[0], expected, rtol=1e-13)


def test_boxes_end_at_the_image_and_small_ones_are_told(side):
    boxes = np.array([[-3.0, 5.0, 70.0, 80.0], [2.0, 2.0, 2.0005, 9.0], [2.0, 2.0, 2.001, 9.0]])
    found = side.call("boxes", "clip", boxes, (40, 64))
    assert found[0].tolist() == [0.0, 5.0, 64.0, 40.0]
    assert side.call("boxes", "large", boxes, 0.0009).tolist() == [True, False, True]


def test_anchors_are_rounded_and_placed_by_whole_steps(side):
    """By row, column and shape; heights / widths of 0.5, 1 and 2. 100 pixels on 3 cells: 33."""
    levels = [side.tensor(np.zeros((1, 1, 2, 3)))]
    generator = side.module("anchors").AnchorGenerator(sizes=(32,))
    (found,) = (x.numpy() for x in generator(levels, (64, 100)))
    assert found.shape == (18, 4)
    assert found[:3].tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    assert (found[3:6] - found[:3]).tolist() == [[33, 0, 33, 0]] * 3
    assert (found[9:12] - found[:3]).tolist() == [[0, 32, 0, 32]] * 3
    exact = side.module("anchors").AnchorGenerator(sizes=(32,), rounded=False)
    half = 16 * 2**0.5
    np.testing.assert_allclose(
        exact(levels, (64, 100))[0].numpy()[0], [-half, -half / 2, half, half / 2], rtol=1e-14
    )


def test_a_pasted_mask(side):
    """A mask of 2 x 2 is padded to 4 x 4 and its box doubled; corners are cut off towards 0."""
    mask = np.array([[0.2, 0.4], [0.6, 0.8]])[None, None]
    # 8 pixels from -2 to 6, doubled: -6 to 10, 17 pixels: columns 6 to 15 of them are in the image.
    found = side.call("paste", "paste_masks", mask, np.array([[-2.0, 1.0, 6.0, 4.9]]), (7, 9))
    cells = np.pad(mask[0, 0], 1)
    top = int(2.95 - 3.9)  # 0, not -1
    bottom = int(2.95 + 3.9)
    expected = np.zeros((7, 9))
    for row in range(7):
        for column in range(9):
            y = (row - top + 0.5) * 4 / (bottom - top + 1) - 0.5
            x = (column + 6 + 0.5) * 4 / 17 - 0.5
            y, x = np.clip(y, 0, 3), np.clip(x, 0, 3)
            hat = [np.maximum(0, 1 - abs(np.arange(4) - p)) for p in (y, x)]
            expected[row, column] = hat[0] @ cells @ hat[1]
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-7)
    assert side.call("paste", "paste_masks", mask[:0], np.zeros((0, 4)), (7, 9)).shape == (
        0,
        1,
        7,
        9,
    )


def test_a_mask_beside_the_image(side):
    found = side.call(
        "paste", "paste_masks", np.ones((1, 1, 2, 2)), np.array([[40.0, 40, 44, 44]]), (7, 9)
    )
    assert found.shape == (1, 1, 7, 9)
    assert not found.any()


def test_sizes_of_images():
    assert resized((480, 640), 800, 1333) == (800, 1066)
    assert resized((427, 1000), 800, 1333) == (569, 1333)
    assert padded([(800, 1066), (801, 600)]) == (832, 1088)
    assert ratios((3, 7), (1, 2)) == (
        float(np.float32(1) / np.float32(3)),
        float(np.float32(2) / np.float32(7)),
    )
    assert [level_scale(200 // 2**i, [(800, 1066), (640, 700)]) for i in range(4)] == [
        1 / 4,
        1 / 8,
        1 / 16,
        1 / 32,
    ]
    assert one_each((3, 4), 2) == [(3, 4), (3, 4)]
    assert one_each([(3, 4), (5, 6)], 2) == [(3, 4), (5, 6)]
    from common.errors import UserError

    with pytest.raises(UserError, match="2 sizes are given for a batch of 3 images"):
        one_each([(3, 4), (5, 6)], 3)
    with pytest.raises(UserError, match="a side of no pixel; set max_size higher"):
        resized((1, 5000), 800, 1333)
