"""The criteria of both sides, against NumPy written here and against each other."""

from itertools import product

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.schedules import warmup_poly

SIDES = ("torch", "paddle")
VOID = 255
CLASSES = 5


class Torch:
    """What a test asks of a framework, on arrays."""

    def __init__(self):
        self.fw = pytest.importorskip("torch")
        self.fw.set_num_threads(1)
        import torch_ref
        from torch_ref import losses

        self.room, self.losses = torch_ref, losses

    def build(self, name, dtype="float64", **settings):
        before = self.fw.get_default_dtype()
        self.fw.set_default_dtype(getattr(self.fw, dtype))
        try:
            return self.losses.LOSSES[name](**settings)
        finally:
            self.fw.set_default_dtype(before)

    def array(self, tensor):
        return tensor.detach().numpy()

    def tensor(self, array):
        return self.fw.tensor(array, requires_grad=array.dtype.kind == "f")

    def fill(self, parameter, values):
        parameter.data = self.fw.tensor(values, dtype=parameter.dtype).reshape(parameter.shape)


class Paddle:
    """The same on the other side."""

    def __init__(self):
        self.fw = pytest.importorskip("paddle")
        import paddle_impl
        from paddle_impl import losses

        self.room, self.losses = paddle_impl, losses

    def build(self, name, dtype="float64", **settings):
        before = self.fw.get_default_dtype()
        self.fw.set_default_dtype(dtype)
        try:
            return self.losses.LOSSES[name](**settings)
        finally:
            self.fw.set_default_dtype(before)

    def array(self, tensor):
        return tensor.numpy()

    def tensor(self, array):
        return self.fw.to_tensor(array, stop_gradient=array.dtype.kind != "f")

    def fill(self, parameter, values):
        values = np.asarray(values, dtype="float64").reshape(parameter.shape)
        parameter.set_value(values.astype(str(parameter.dtype).split(".")[-1]))


@pytest.fixture(params=SIDES)
def side(request):
    return {"torch": Torch, "paddle": Paddle}[request.param]()


@pytest.fixture
def sides():
    return Torch(), Paddle()


def evaluate(side, criterion, logits, label):
    """Return values of all outputs, and of each the gradients of all logits."""
    values, gradients = [], []
    several = isinstance(logits, list)
    count = None
    index = 0
    while count is None or index < count:
        tensors = [side.tensor(array) for array in (logits if several else [logits])]
        out = criterion(tuple(tensors) if several else tensors[0], side.tensor(label))
        out = out if isinstance(out, tuple) else (out,)
        count = len(out)
        out[index].backward()
        values.append(float(side.array(out[index])))
        gradients.append([side.array(tensor.grad) for tensor in tensors])
        index += 1
    return values, gradients


def make_logits(label, sharpness, seed, classes=CLASSES):
    """Random logits; `sharpness` is added to the true class."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((label.shape[0], classes, *label.shape[1:]))
    for k in range(classes):
        logits[:, k] += sharpness * (label == k)
    return logits


def make_label(shape, seed, void=0.3, classes=CLASSES):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, shape)
    return np.where(rng.random(shape) < void, VOID, label).astype(np.int64)


def make_blocks(shape, seed, classes=19):
    """A label of flat regions of odd sizes, one of them void."""
    rng = np.random.default_rng(seed)
    n, height, width = shape
    label = np.zeros(shape, np.int64)
    for i in range(n):
        for _ in range(9):
            y, x = rng.integers(0, height), rng.integers(0, width)
            h, w = rng.integers(2, height // 2), rng.integers(2, width // 2)
            label[i, y : y + h, x : x + w] = rng.integers(0, classes)
        label[i, 3:8, 5:9] = VOID
    return label


# ---------------------------------------------------------------------------------------- OHEM


def pixel_losses_numpy(logits, label):
    shifted = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    true = np.where(label == VOID, 0, label)
    picked = np.take_along_axis(probability, true[:, None], axis=1)[:, 0]
    losses = np.where(label == VOID, 0.0, -np.log(picked))
    one_hot = np.arange(logits.shape[1])[None, :, None, None] == true[:, None]
    gradient = (probability - one_hot) * (label != VOID)[:, None]
    return losses, gradient


def ohem_numpy(logits, label, threshold, min_kept):
    """The authors' rule as they write it: sort all pixels, ignored ones as zeros."""
    losses, gradient = pixel_losses_numpy(logits, label)
    order = np.argsort(-losses.ravel(), kind="stable")
    ranked = losses.ravel()[order]
    hard = -np.log(threshold)
    kept = order[ranked > hard] if ranked[min_kept] > hard else order[:min_kept]
    mask = np.zeros(losses.size)
    mask[kept] = 1.0 / len(kept)
    return losses.ravel()[kept].mean(), gradient * mask.reshape(losses.shape)[:, None]


OHEM_CASES = list(product(("hard", "easy"), (10, 120, 300)))


def ohem_case(kind):
    label = make_label((2, 12, 16), seed=1)
    return make_logits(label, {"hard": 0.0, "easy": 4.0}[kind], seed=2), label


def test_ohem_cases_reach_every_branch():
    hard = {}
    for kind in ("hard", "easy"):
        logits, label = ohem_case(kind)
        hard[kind] = int((pixel_losses_numpy(logits, label)[0] > -np.log(0.7)).sum())
        valid = int((label != VOID).sum())
    assert 10 < hard["easy"] < 120 < hard["hard"] < 300
    assert valid < 300 < label.size  # ignored pixels count as zeros in the last case


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_ohem_is_the_authors_rule(side, kind, min_kept):
    logits, label = ohem_case(kind)
    criterion = side.build("ohem", threshold=0.7, min_kept=min_kept)
    (value,), ((gradient,),) = evaluate(side, criterion, logits, label)
    expected, expected_gradient = ohem_numpy(logits, label, 0.7, min_kept)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_ohem_in_float32(side, kind, min_kept):
    logits, label = ohem_case(kind)
    criterion = side.build("ohem", dtype="float32", min_kept=min_kept)
    (value,), ((gradient,),) = evaluate(side, criterion, logits.astype(np.float32), label)
    assert gradient.dtype == np.float32
    assert value == pytest.approx(ohem_numpy(logits, label, 0.7, min_kept)[0], rel=2e-6)


def test_ohem_hard_count_equal_to_min_kept(side):
    logits, label = ohem_case("easy")
    losses, _ = pixel_losses_numpy(logits, label)
    count = int((losses > -np.log(0.7)).sum())
    for min_kept in (count - 1, count, count + 1):
        criterion = side.build("ohem", min_kept=min_kept)
        (value,), _ = evaluate(side, criterion, logits, label)
        assert value == pytest.approx(ohem_numpy(logits, label, 0.7, min_kept)[0], rel=1e-12)


def test_ohem_takes_a_sixteenth_by_default(side):
    logits, label = ohem_case("easy")
    (value,), _ = evaluate(side, side.build("ohem", threshold=0.3), logits, label)
    expected = ohem_numpy(logits, label, 0.3, label.size // 16)[0]
    assert value == pytest.approx(expected, rel=1e-12)


def test_ohem_without_zeros_for_ignored_pixels(side):
    logits, label = ohem_case("easy")
    criterion = side.build("ohem", min_kept=300, ignored_as_zeros=False)
    (value,), _ = evaluate(side, criterion, logits, label)
    losses, _ = pixel_losses_numpy(logits, label)
    assert value == pytest.approx(losses[label != VOID].mean(), rel=1e-12)


@pytest.mark.parametrize("settings", [{}, {"ignored_as_zeros": False}])
def test_ohem_of_ignored_pixels_only_is_zero_and_differentiable(side, settings):
    label = np.full((2, 6, 8), VOID, np.int64)
    criterion = side.build("ohem", min_kept=20, **settings)
    (value,), ((gradient,),) = evaluate(side, criterion, make_logits(label, 0, 3), label)
    assert value == 0.0
    assert gradient.shape == (2, CLASSES, 6, 8)
    assert not gradient.any()


@pytest.mark.parametrize("min_kept", [96, 97, 524_288])
def test_ohem_refuses_min_kept_of_the_whole_batch(side, min_kept):
    label = make_label((2, 6, 8), seed=4)
    criterion = side.build("ohem", min_kept=min_kept)
    with pytest.raises(ConfigError, match=rf"min_kept is {min_kept}.* only 96 pixels.*gives 6"):
        evaluate(side, criterion, make_logits(label, 0, 5), label)


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_kept": 0}])
def test_ohem_refuses_settings_outside_their_range(side, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        side.build("ohem", **settings)


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_a_nan_at_one_counted_pixel_makes_ohem_nan(side, kind, min_kept):
    logits, label = ohem_case(kind)
    y, x = np.argwhere(label[1] != VOID)[7]
    logits[1, 2, y, x] = np.nan
    (value,), _ = evaluate(side, side.build("ohem", min_kept=min_kept), logits, label)
    assert np.isnan(value)


# ------------------------------------------------------------------------------- cross-entropy


def test_cross_entropy_is_the_mean_over_counted_pixels(side):
    logits, label = ohem_case("hard")
    (value,), ((gradient,),) = evaluate(side, side.build("cross_entropy"), logits, label)
    losses, expected = pixel_losses_numpy(logits, label)
    valid = (label != VOID).sum()
    assert value == pytest.approx(losses.sum() / valid, rel=1e-12)
    np.testing.assert_allclose(gradient, expected / valid, rtol=0, atol=1e-15)


def test_cross_entropy_of_ignored_pixels_only_is_zero_and_nan_stays_nan(side):
    label = np.full((1, 4, 4), VOID, np.int64)
    logits = make_logits(label, 0, 6)
    (value,), ((gradient,),) = evaluate(side, side.build("cross_entropy"), logits, label)
    assert value == 0.0
    assert not gradient.any()
    label[0, 1, 1] = 2
    logits[0, 0, 1, 1] = np.nan
    (value,), _ = evaluate(side, side.build("cross_entropy"), logits, label)
    assert np.isnan(value)


# -------------------------------------------------------------------------------------- detail


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


# ---------------------------------------------------------------------------------- whole loss


def stdc_case(heads, seed=10):
    label = make_blocks((2, 33, 65), seed, classes=CLASSES)
    rng = np.random.default_rng(seed + 1)
    outputs = [make_logits(label, sharpness, seed) for sharpness in (3.0, 1.0, 0.0)]
    for size in [(9, 17), (17, 33), (33, 65)][:heads]:
        outputs.append(rng.standard_normal((2, 1, *size)))
    return outputs, label


@pytest.mark.parametrize("heads", [0, 1, 2, 3])
def test_stdc_loss_is_the_sum_of_its_named_parts(side, heads):
    outputs, label = stdc_case(heads)
    criterion = side.build("stdc", ohem={"min_kept": 200})
    tensors = tuple(side.tensor(array) for array in outputs)
    parts = criterion.parts(tensors, side.tensor(label))
    details = [(), ("sp8",), ("sp4", "sp8"), ("sp2", "sp4", "sp8")][heads]
    expected = ["ohem_out", "ohem_out16", "ohem_out32"]
    expected += [f"{kind}_{name}" for name in details for kind in ("bce", "dice")]
    assert list(parts) == expected
    for name, logits in zip(expected, outputs[:3], strict=False):
        wanted = ohem_numpy(logits, label, 0.7, 200)[0]
        assert float(side.array(parts[name])) == pytest.approx(wanted, rel=1e-12)
    (value,), _ = evaluate(side, criterion, outputs, label)
    assert value == pytest.approx(sum(float(side.array(p)) for p in parts.values()), rel=1e-13)


def test_stdc_loss_takes_what_the_net_returns(side):
    net, criterion = side.room.build_model("stdc1_seg"), side.build("stdc", dtype="float32")
    images = np.random.default_rng(14).standard_normal((2, 3, 64, 96)).astype(np.float32)
    label = side.tensor(make_blocks((2, 64, 96), seed=15))
    parts = criterion.parts(net(side.tensor(images)), label)
    assert list(parts) == ["ohem_out", "ohem_out16", "ohem_out32", "bce_sp8", "dice_sp8"]
    criterion.total(parts).backward()
    assert np.isfinite([side.array(part) for part in parts.values()]).all()
    assert side.array(net.conv_out.conv_out.weight.grad).any()
    assert not side.array(criterion.detail.fuse_kernel.grad).any()


def test_stdc_loss_hands_settings_on(side):
    criterion = side.build("stdc", ohem={"threshold": 0.5}, detail={"decaying_fuse_kernel": False})
    assert criterion.ohem.threshold == 0.5
    assert list(criterion.parameters()) == []
    assert [n for n, _ in side.build("stdc").named_parameters()] == ["detail.fuse_kernel"]


# -------------------------------------------------------------------------- one side, the other


def assert_twins(sides, name, logits, label, allowed, **settings):
    found = []
    for side in sides:
        values, gradients = evaluate(side, side.build(name, **settings), logits, label)
        found.append([np.asarray(values), *(g for row in gradients for g in row)])
    for reference, port in zip(*found, strict=True):
        scale = np.abs(reference).max()
        worst = np.abs(reference - port).max()
        assert worst <= allowed * scale, f"worst {worst / scale:.1e}, allowed {allowed}"


@pytest.mark.parametrize(("kind", "min_kept"), OHEM_CASES)
def test_twins_ohem(sides, kind, min_kept):
    assert_twins(sides, "ohem", *ohem_case(kind), 1e-12, min_kept=min_kept)


def test_twins_cross_entropy(sides):
    assert_twins(sides, "cross_entropy", *ohem_case("hard"), 1e-12)


@pytest.mark.parametrize(
    ("size", "label_size", "allowed"),
    [
        ((9, 17), (33, 65), 1e-12),  # (9 - 1) / (33 - 1) is a power of two, as is the width's
        ((33, 65), (33, 65), 1e-12),
        ((8, 16), (64, 128), 5e-6),  # 7 / 63: Paddle holds the ratio in float32
    ],
)
@pytest.mark.parametrize("void_edges", [True, False])
def test_twins_detail(sides, size, label_size, allowed, void_edges):
    logits = np.random.default_rng(11).standard_normal((2, 1, *size))
    label = make_blocks((2, *label_size), seed=12)
    assert_twins(sides, "detail", logits, label, allowed, void_edges=void_edges)


@pytest.mark.parametrize("heads", [0, 3])
def test_twins_stdc(sides, heads):
    assert_twins(sides, "stdc", *stdc_case(heads), 1e-12, ohem={"min_kept": 200})


def test_twins_have_the_same_table(sides):
    reference, port = (side.losses.LOSSES for side in sides)
    assert list(reference) == list(port)
    assert [c.__name__ for c in reference.values()] == [c.__name__ for c in port.values()]


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["cross_entropy", "ohem"])
@pytest.mark.parametrize(
    ("logits", "label", "told"),
    [
        (np.zeros((2, 5, 6, 8)), np.zeros((2, 6, 8), np.int32), "label is .*int32.*int64"),
        (np.zeros((2, 5, 6, 8)), np.zeros((2, 1, 6, 8), np.int64), r"\[2, 1, 6, 8\]"),
        (np.zeros((2, 5, 6, 8)), np.zeros((1, 6, 8), np.int64), r"\[1, 6, 8\]"),
        (np.zeros((2, 5, 3, 4)), np.zeros((2, 6, 8), np.int64), "differ in height or width"),
        (np.zeros((2, 5, 6, 8), np.int64), np.zeros((2, 6, 8), np.int64), "floating"),
    ],
)
def test_class_losses_refuse_what_does_not_fit(side, name, logits, label, told):
    with pytest.raises(UserError, match=told):
        side.build(name)(side.tensor(logits), side.tensor(label))


def test_detail_loss_refuses_class_logits(side):
    with pytest.raises(UserError, match="expected 1 channel"):
        side.build("detail")(
            side.tensor(np.zeros((2, 5, 6, 8))), side.tensor(np.zeros((2, 6, 8), np.int64))
        )


@pytest.mark.parametrize("count", [1, 2, 7])
def test_stdc_loss_refuses_another_number_of_outputs(side, count):
    outputs = tuple(side.tensor(np.zeros((2, 5, 6, 8))) for _ in range(count))
    with pytest.raises(UserError, match=f"got {count}"):
        side.build("stdc")(outputs, side.tensor(np.zeros((2, 6, 8), np.int64)))
    with pytest.raises(UserError, match=r"got .*Tensor"):
        side.build("stdc")(outputs[0], side.tensor(np.zeros((2, 6, 8), np.int64)))


@pytest.mark.parametrize("name", ["cross_entropy", "summed_cross_entropy"])
def test_a_pixel_may_cost_more_than_64(name):
    """Paddle's own cross-entropy stops there on CPUs; FCN's begins at some hundreds a pixel."""
    label = np.array([[[0, 1, VOID], [2, 0, 1]]])
    logits = np.random.default_rng(0).standard_normal((1, 3, 2, 3)) * 300
    logits[0, 0, 0, 2] = np.nan  # where nothing counts
    for side in (Torch(), Paddle()):
        (value,), ((gradient,),) = evaluate(side, side.build(name), logits, label)
        pixels, _ = pixel_losses_numpy(np.nan_to_num(logits), label)
        assert pixels.max() > 300
        expected = pixels.sum() / (1 if name == "summed_cross_entropy" else 5)
        assert value == pytest.approx(expected, rel=1e-12)
        counted = np.broadcast_to((label != VOID)[:, None], gradient.shape)
        assert np.isfinite(gradient[counted]).all()
