"""The detail loss of both sides, against NumPy written here and against each other."""

from itertools import product

import numpy as np
import pytest

from common.errors import UserError
from common.schedules import warmup_poly
from tests.nets.losses.criteria import VOID, assert_twins, evaluate, make_blocks


def edges_numpy(label, stride, void_edges=True):
    """One pixel at a time: its class against its eight neighbours', outside being class 0."""
    n, height, width = label.shape
    small = np.zeros((n, -(-height // stride), -(-width // stride)), bool)
    for i, a, b in np.ndindex(small.shape):
        y, x = a * stride, b * stride
        centre, response = label[i, y, x], 0
        for dy, dx in product((-1, 0, 1), repeat=2):
            inside = 0 <= y + dy < height and 0 <= x + dx < width
            other = label[i, y + dy, x + dx] if inside else 0
            if void_edges or VOID not in (centre, other):
                response += centre - other
        small[i, a, b] = response > 0
    rows = np.arange(height) * small.shape[1] // height
    columns = np.arange(width) * small.shape[2] // width
    return small[:, rows][:, :, columns]


@pytest.fixture(scope="module")
def blocks():
    label = make_blocks((2, 37, 45), seed=7)
    return label, [edges_numpy(label, stride) for stride in (1, 2, 4)]


def target_array(side, criterion, label):
    target = side.array(criterion.target(side.tensor(label)))
    assert target.dtype == np.float32
    assert set(np.unique(target)) <= {0.0, 1.0}
    return target[:, 0].astype(bool)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_detail_target_is_the_fine_or_the_middle_scale(side, blocks, dtype):
    label, (x1, x2, x4) = blocks
    assert (x4 & ~x1 & ~x2).any()  # the coarsest scale alone: 0.1 > 0.1 is False
    assert (x2 & ~x1).any()
    target = target_array(side, side.build("detail", dtype=dtype), label)
    np.testing.assert_array_equal(target, x1 | x2)


def test_x4_alone_never_fires_after_a_cast_to_float64(side, blocks):
    label, (x1, x2, _) = blocks
    criterion = side.build("detail", dtype="float32")
    criterion = criterion.double() if hasattr(criterion, "double") else criterion
    criterion = criterion.to(dtype=side.fw.float64)
    np.testing.assert_array_equal(target_array(side, criterion, label), x1 | x2)


def test_strict_threshold_off_lets_x4_fire(side, blocks):
    label, (x1, x2, x4) = blocks
    criterion = side.build("detail", strict_threshold=False)
    np.testing.assert_array_equal(target_array(side, criterion, label), x1 | x2 | x4)


def test_a_flat_label_has_an_edge_along_the_image_border(side):
    target = target_array(side, side.build("detail"), np.full((1, 21, 25), 3, np.int64))
    inside = np.zeros_like(target)
    inside[:, 2:-2, 2:-2] = True
    assert not target[inside].any()
    for border in (target[:, 0], target[:, -1], target[:, :, 0], target[:, :, -1]):
        assert border.all()


def test_void_has_edges_unless_asked_otherwise(side, blocks):
    label, _ = blocks
    target = target_array(side, side.build("detail"), label)
    without = target_array(side, side.build("detail", void_edges=False), label)
    expected = edges_numpy(label, 1, void_edges=False) | edges_numpy(label, 2, void_edges=False)
    np.testing.assert_array_equal(without, expected)
    assert (target & (label == VOID)).sum() > 2 * (without & (label == VOID)).sum()
    assert (without & ~target).any()  # an ignored neighbour no longer drowns a real edge


def detail_numpy(logits, target):
    """BCE and Dice of logits at label size, and the gradient of each."""
    probability = 1 / (1 + np.exp(-logits))
    bce = -(target * np.log(probability) + (1 - target) * np.log(1 - probability)).mean()
    bce_gradient = (probability - target) / logits.size
    axes = (1, 2, 3)
    overlap = (probability * target).sum(axis=axes, keepdims=True)
    total = (probability + target).sum(axis=axes, keepdims=True)
    dice = (1 - (2 * overlap + 1) / (total + 1)).mean()
    slope = -(2 * target * (total + 1) - (2 * overlap + 1)) / (total + 1) ** 2 / len(logits)
    return (bce, dice), (bce_gradient, slope * probability * (1 - probability))


def corner_matrix(small, large):
    """Linear interpolation as a matrix [large, small]: first and last samples coincide."""
    place = np.arange(large) * (small - 1) / (large - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(small)[None]))


@pytest.mark.parametrize("size", [(33, 65), (9, 17), (17, 65)])
def test_bce_and_dice_and_their_gradients(side, size):
    label = make_blocks((2, 33, 65), seed=13)
    target = (edges_numpy(label, 1) | edges_numpy(label, 2))[:, None].astype(float)
    logits = np.random.default_rng(8).standard_normal((2, 1, *size))
    values, gradients = evaluate(side, side.build("detail"), logits, label)

    rows, columns = corner_matrix(size[0], 33), corner_matrix(size[1], 65)
    expected, expected_gradients = detail_numpy(rows @ logits @ columns.T, target)
    assert values == pytest.approx(expected, rel=1e-12)
    for (gradient,), wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, rows.T @ wanted @ columns, rtol=0, atol=1e-15)


def test_fuse_kernel_has_a_gradient_and_it_is_zero(side, blocks):
    criterion = side.build("detail")
    logits = np.random.default_rng(9).standard_normal((2, 1, 10, 12))
    assert [name for name, _ in criterion.named_parameters()] == ["fuse_kernel"]
    evaluate(side, criterion, logits, blocks[0])
    gradient = side.array(criterion.fuse_kernel.grad)
    assert gradient.shape == (1, 3, 1, 1)
    assert not gradient.any()
    constant = side.build("detail", decaying_fuse_kernel=False)
    assert list(constant.parameters()) == []
    assert "fuse_kernel" in constant.state_dict()
    evaluate(side, constant, logits, blocks[0])


def decayed_kernels():
    """Yield the kernel before every step of the paper's run: momentum 0.9, decay 5e-4."""
    recipe = {"base_lr": 0.01, "warmup_start_lr": 1e-5, "warmup_steps": 1000}
    kernel, velocity = np.array([0.6, 0.3, 0.1], np.float32), np.zeros(3, np.float32)
    for step in range(60_000):
        yield kernel
        lr = np.float32(warmup_poly(step, max_steps=60_000, power=0.9, **recipe))
        velocity = np.float32(0.9) * velocity + np.float32(5e-4) * kernel
        kernel = kernel - lr * velocity
    yield kernel


@pytest.fixture(scope="module")
def kernels():
    return list(decayed_kernels())


def test_the_kernel_decays_to_a_fifth(kernels):
    np.testing.assert_allclose(kernels[-1], [0.126, 0.063, 0.021], atol=1e-4)


@pytest.mark.parametrize(
    ("update", "lost"),
    [
        (28_838, lambda x1, x2, x4: x2 & ~x1 & ~x4),  # the middle scale alone
        (41_351, lambda x1, x2, x4: x2 & ~x1 & x4),  # the middle with the coarsest
    ],
)
def test_edges_of_coarse_scales_stop_counting_at_a_known_update(
    side, blocks, kernels, update, lost
):
    label, scales = blocks
    pixels = lost(*scales)
    assert pixels.any()
    criterion = side.build("detail", dtype="float32")
    side.fill(criterion.fuse_kernel, kernels[update])
    assert target_array(side, criterion, label)[pixels].all()
    side.fill(criterion.fuse_kernel, kernels[update + 1])
    target = target_array(side, criterion, label)
    assert not target[pixels].any()
    assert target[scales[0]].all()


@pytest.mark.parametrize(
    ("size", "label_size", "allowed"),
    [
        ((9, 17), (33, 65), 1e-12),  # (9 - 1) / (33 - 1) is a power of two, as is the width's
        ((33, 65), (33, 65), 1e-12),
        ((8, 16), (64, 128), 5e-6),  # 7 / 63: Paddle holds the ratio in float32
    ],
)
@pytest.mark.parametrize("void_edges", [True, False])
def test_twins_detail(size, label_size, allowed, void_edges):
    logits = np.random.default_rng(11).standard_normal((2, 1, *size))
    label = make_blocks((2, *label_size), seed=12)
    assert_twins("detail", logits, label, allowed, void_edges=void_edges)


def test_detail_loss_refuses_class_logits(side):
    with pytest.raises(UserError, match="expected 1 channel"):
        side.build("detail")(
            side.tensor(np.zeros((2, 5, 6, 8))), side.tensor(np.zeros((2, 6, 8), np.int64))
        )
