"""Rows of docs/differences.yml: pooling and resizing, activations, losses."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from paddle_impl.layers import resize_bilinear
from tests.docs.differences.frameworks import (
    PADDLE2,
    PF,
    TF,
    apart,
    apart_relative,
    noise,
    paddle,
    pt,
    torch,
    tt,
)

IMAGE = noise(2, 3, 4, 5)


def test_avg_pool_padding():
    assert apart(PF.avg_pool2d(pt(IMAGE), 3, 1, 1), TF.avg_pool2d(tt(IMAGE), 3, 1, 1)) > 0.1
    counted = PF.avg_pool2d(pt(IMAGE), 3, 1, 1, exclusive=False)
    assert apart(counted, TF.avg_pool2d(tt(IMAGE), 3, 1, 1)) < 1e-6


def test_roi_align_aligned():
    """torchvision's compiled operators do not load everywhere: ours is held against a formula."""
    from torch_ref.models.detection.roi_align import roi_align

    box = np.array([[1.0, 0.5, 4.0, 3.0]], "float32")
    count = paddle.to_tensor([1, 0], dtype="int32")
    found = paddle.vision.ops.roi_align(pt(IMAGE), pt(box), count, 2, sampling_ratio=2)
    boxes = [tt(box), tt(box[:0])]
    assert apart(found, roi_align(tt(IMAGE), boxes, 2, 1.0, 2, aligned=False)) > 0.1
    assert apart(found, roi_align(tt(IMAGE), boxes, 2, 1.0, 2, aligned=True)) < 1e-6


def test_roi_align_backward_of_thin_boxes():
    def gradients(box, aligned):
        box = np.array([box], "float32")
        x, y = tt(IMAGE, grad=True), pt(IMAGE, grad=True)
        count = paddle.to_tensor([1, 0], dtype="int32")
        settings = {"sampling_ratio": 2, "aligned": aligned}
        found = paddle.vision.ops.roi_align(y, pt(box), count, 2, **settings)
        right = roi_align(x, [tt(box), tt(box[:0])], 2, 1.0, **settings)
        assert apart(found, right) < 1e-6
        found.square().sum().backward()
        right.square().sum().backward()
        return apart(y.grad, x.grad)

    from torch_ref.models.detection.roi_align import roi_align

    assert gradients([0.7, 0.7, 3.4, 2.9], aligned=True) < 1e-6
    assert gradients([0.7, 0.7, 1.3, 2.9], aligned=True) > 0.1
    assert gradients([0.7, 0.7, 1.3, 2.9], aligned=False) < 1e-6


def test_nms_threshold():
    from torch_ref.models.detection.boxes import nms

    boxes, scores = np.array([[0.0, 0, 10, 7], [0, 0, 10, 10]]), np.array([0.9, 0.8])
    assert nms(tt(boxes), tt(scores), 0.7).tolist() == [0, 1]
    assert paddle.vision.ops.nms(pt(boxes), 0.7).tolist() == [0]
    assert paddle.vision.ops.nms(pt(boxes.astype("float32")), 0.7).tolist() == [0, 1]


def test_pool_ceil_mode():
    flat = np.zeros((1, 1, 5, 5), "float32")
    settings = {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}
    assert list(PF.max_pool2d(pt(flat), **settings).shape) == [1, 1, 4, 4]
    assert list(TF.max_pool2d(tt(flat), **settings).shape) == [1, 1, 3, 3]
    for size in range(3, 20):  # the pooling of ResNet agrees at every size
        flat = np.zeros((1, 1, size, size), "float32")
        settings = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
        ported = PF.max_pool2d(pt(flat), **settings).shape
        assert list(ported) == list(TF.max_pool2d(tt(flat), **settings).shape)


def test_max_pool_indices():
    assert PF.max_pool2d(pt(IMAGE), 2, return_mask=True)[1].dtype == paddle.int32
    assert TF.max_pool2d(tt(IMAGE), 2, return_indices=True)[1].dtype == torch.int64


def test_pool_needs_a_batch():
    assert list(TF.max_pool2d(tt(IMAGE[0]), 2).shape) == [3, 2, 2]
    with pytest.raises(ValueError, match="4-D or 5-D"):
        PF.max_pool2d(pt(IMAGE[0]), 2)


def test_average_pool_gradient_float32():
    image, cotangent = noise(1, 2, 13, 17, dtype="float64"), noise(1, 2, 5, 6, dtype="float64")
    theirs, ours = tt(image, grad=True), pt(image, grad=True)
    TF.adaptive_avg_pool2d(theirs, (5, 6)).backward(tt(cotangent))
    PF.adaptive_avg_pool2d(ours, [5, 6]).backward(pt(cotangent))
    assert 1e-9 < apart_relative(ours.grad, theirs.grad) < 1e-7


def test_interpolate_ratio_float32():
    image = noise(1, 1, 37, 53, dtype="float64")
    for size, least, most in (((64, 100), 1e-6, 1e-5), ((74, 106), 0, 1e-14)):
        ported = PF.interpolate(pt(image), list(size), mode="bilinear")
        reference = TF.interpolate(tt(image), size, mode="bilinear")
        assert least <= apart_relative(ported, reference) < most


def test_interpolate_to_one():
    image = np.arange(6.0).reshape(1, 1, 2, 3)
    for mode, found in (("bilinear", 0.0), ("bicubic", -0.375)):
        assert PF.interpolate(pt(image), [1, 1], mode=mode).item() == found, mode
        assert TF.interpolate(tt(image), (1, 1), mode=mode).item() == 2.5, mode
    assert resize_bilinear(pt(image), [1, 1]).item() == 2.5
    volume = image.reshape(1, 1, 1, 2, 3)
    found = PF.interpolate(pt(volume), [1, 1, 1], mode="trilinear", data_format="NCDHW").item()
    assert found == (0.0 if PADDLE2 else 2.5)


def test_interpolate_line_to_one_backward():
    line = np.arange(5.0).reshape(1, 1, 5)
    theirs, ours = tt(line, grad=True), pt(line, grad=True)
    reference = TF.interpolate(theirs, 1, mode="linear")
    ported = PF.interpolate(ours, [1], mode="linear", data_format="NCW")
    assert reference.item() == 2.0
    assert ported.item() == (0.0 if PADDLE2 else 2.0)
    reference.sum().backward()
    ported.sum().backward()
    assert theirs.grad.argmax().item() == 2
    assert ours.grad.numpy().argmax() == 0


def test_interpolate_align_mode():
    reference = TF.interpolate(tt(IMAGE), (8, 10), mode="bilinear")
    old = PF.interpolate(pt(IMAGE), [8, 10], mode="bilinear", align_mode=1)
    assert apart(old, reference) > 0.5
    assert apart(PF.interpolate(pt(IMAGE), [8, 10], mode="bilinear"), reference) < 1e-6


def test_interpolate_nearest_exact():
    TF.interpolate(tt(IMAGE), (8, 10), mode="nearest-exact")
    with pytest.raises(ValueError, match="nearest"):
        PF.interpolate(pt(IMAGE), [8, 10], mode="nearest-exact")


def test_grid_sample_corners():
    grid = np.random.default_rng(0).uniform(-1, 1, (2, 4, 5, 2)).astype("float32")
    reference = TF.grid_sample(tt(IMAGE), tt(grid))
    assert apart(PF.grid_sample(pt(IMAGE), pt(grid)), reference) > 0.5
    assert apart(PF.grid_sample(pt(IMAGE), pt(grid), align_corners=False), reference) < 1e-6


def test_affine_grid_corners():
    theta, size = np.array([[[1, 0, 0], [0, 1, 0]]], "float32"), [1, 1, 4, 4]
    reference = TF.affine_grid(tt(theta), size)
    assert apart(PF.affine_grid(pt(theta), size), reference) == pytest.approx(0.25)
    assert apart(PF.affine_grid(pt(theta), size, align_corners=False), reference) < 1e-6


def test_pad_of_every_axis():
    pads, one = [0, 0, 1, 1, 0, 2, 0, 3], np.zeros((1, 1, 1, 1), "float32")
    assert list(TF.pad(tt(one), pads).shape) == [4, 3, 3, 1]
    assert list(PF.pad(pt(one), pads).shape) == [1, 3, 3, 4]
    assert apart(PF.pad(pt(IMAGE), [1, 2, 3, 4]), TF.pad(tt(IMAGE), [1, 2, 3, 4])) == 0


def test_pad_of_the_last_axis():
    assert list(TF.pad(tt(IMAGE), [1, 1]).shape) == [2, 3, 4, 7]
    if PADDLE2:
        with pytest.raises(ValueError, match="paddings"):
            PF.pad(pt(IMAGE), [1, 1])
    else:
        assert list(PF.pad(pt(IMAGE), [1, 1]).shape) == [2, 3, 4, 7]


def test_relu_swallows_nan():
    nan = np.array([math.nan], "float32")
    assert math.isnan(TF.relu(tt(nan)).item())
    assert PF.relu(pt(nan)).item() == 0


def test_max_pool_swallows_nan():
    image = np.ones((1, 1, 2, 2), "float32")
    image[0, 0, 0, 0] = math.nan
    assert math.isnan(TF.max_pool2d(tt(image), 2).item())
    assert PF.max_pool2d(pt(image), 2).item() == 1


def test_leaky_relu_gradient_at_zero():
    zero = np.zeros(1, "float32")
    theirs, ours = tt(zero, grad=True), pt(zero, grad=True)
    TF.leaky_relu(theirs, 0.1).backward()
    PF.leaky_relu(ours, 0.1).backward()
    assert theirs.grad.item() == pytest.approx(0.1)
    assert ours.grad.item() == 1


def test_dropout_of_channels_rank():
    tokens, volume = np.ones((64, 8, 5), "float32"), np.ones((64, 3, 4, 5), "float32")
    for three, image, axes in ((False, tokens, [0, 1]), (True, volume, 0)):
        kept = (TF.dropout3d if three else TF.dropout2d)(tt(image), 0.5).numpy()
        left = PF.dropout(pt(image), 0.5, axis=axes).numpy()
        for one in (kept, left):  # whole channels, or whole images
            inside = tuple(range(np.size(axes), image.ndim))
            assert set(np.unique(one.mean(inside))) == {0, 2}
        with pytest.raises(ValueError, match="dimensions of x"):
            (PF.dropout3d if three else PF.dropout2d)(pt(image), 0.5)


def test_softmax_default_axis():
    assert TF.softmax(tt(IMAGE), dim=None).sum(1).numpy() == pytest.approx(1, abs=1e-6)
    assert PF.softmax(pt(IMAGE)).sum(-1).numpy() == pytest.approx(1, abs=1e-6)


def test_gelu_approximate():
    reference = TF.gelu(tt(IMAGE), approximate="tanh")
    assert apart(PF.gelu(pt(IMAGE), approximate=True), reference) < 1e-6
    assert 1e-4 < apart(PF.gelu(pt(IMAGE)), reference) < 5e-4
    if PADDLE2:
        with pytest.raises(ValueError, match="must be bool"):
            PF.gelu(pt(IMAGE), approximate="tanh")


def test_hardsigmoid_slope():
    value = noise(100, dtype="float64")
    reference = TF.hardsigmoid(tt(value))
    assert 1e-8 < apart(PF.hardsigmoid(pt(value)), reference) < 4e-7
    assert apart(PF.hardsigmoid(pt(value), slope=1 / 6), reference) < 2e-8


@pytest.mark.parametrize("name", ["selu", "elu", "celu", "hardtanh", "softshrink"])
def test_activation_constants_float32(name):
    value = noise(100, dtype="float64") * 2
    bounds = {"hardtanh": (-0.1, 0.1), "softshrink": (0.1,), "elu": (0.1,), "celu": (0.1,)}
    extra = bounds.get(name, ())
    error = apart_relative(
        getattr(PF, name)(pt(value), *extra), getattr(TF, name)(tt(value), *extra)
    )
    assert 1e-11 < error < 2e-7


def test_dropout_mode():
    row = np.ones((1, 4), "float32")
    assert TF.dropout(tt(row), 0.25, training=False).tolist() == [[1] * 4]
    assert PF.dropout(pt(row), 0.25, training=False).tolist() == [[1] * 4]
    other = PF.dropout(pt(row), 0.25, training=False, mode="downscale_in_infer")
    assert other.tolist() == [[0.75] * 4]


SQUARE = noise(2, 4, 4, 4)
LABELS = np.random.default_rng(0).integers(0, 4, (2, 4, 4))
LOGITS, TARGETS, WEIGHT = SQUARE[:, :, 0, 0], np.array([0, 1]), np.array([1, 2, 3, 4], "float32")


def test_ce_axis():
    reference = TF.cross_entropy(tt(SQUARE), tt(LABELS)).item()
    assert abs(PF.cross_entropy(pt(SQUARE), pt(LABELS)).item() - reference) > 1e-3  # in silence
    assert PF.cross_entropy(pt(SQUARE), pt(LABELS), axis=1).item() == pytest.approx(reference)
    with pytest.raises(ValueError, match="same shape"):
        PF.cross_entropy(pt(SQUARE[..., :3]), pt(LABELS[..., :3]))


def test_softmax_stops_64_below():
    logits, label = np.array([[0.0, 100.0]]), np.array([0])
    assert TF.cross_entropy(tt(logits), tt(label)).item() == 100
    assert PF.cross_entropy(pt(logits), pt(label)).item() == 64
    assert PF.log_softmax(pt(logits)).numpy().tolist() == [[-64.0, 0.0]]


def test_ce_nothing_counted():
    void = np.full((2, 4, 4), 255)
    assert math.isnan(TF.cross_entropy(tt(SQUARE), tt(void), ignore_index=255).item())
    assert PF.cross_entropy(pt(SQUARE), pt(void), axis=1, ignore_index=255).item() == 0


def test_ce_negative_ignore_index():
    for ignored in (255, -1, -100):
        labels = np.array([0, 2, ignored, ignored, 1])
        logits = noise(5, 4)
        reference = TF.cross_entropy(tt(logits), tt(labels), ignore_index=ignored).item()
        ported = PF.cross_entropy(pt(logits), pt(labels), ignore_index=ignored).item()
        if not PADDLE2:
            share = 1.0 if ignored > 0 else 3 / 5
            assert ported == pytest.approx(reference * share, rel=1e-5)


def test_ce_soft_label_weight():
    """Paddle weighs whole samples, by the weight that their label expects; torch the classes."""
    soft = np.array([[0.7, 0.1, 0.1, 0.1], [0.25] * 4], "float32")
    logs = TF.log_softmax(tt(LOGITS), 1).numpy()
    ported = PF.cross_entropy(pt(LOGITS), pt(soft), weight=pt(WEIGHT), soft_label=True).item()
    reference = TF.cross_entropy(tt(LOGITS), tt(soft), weight=tt(WEIGHT)).item()
    weights = (soft * WEIGHT).sum(1)
    samples = -(logs * soft).sum(1)
    assert ported == pytest.approx((samples * weights).sum() / weights.sum(), rel=1e-5)
    assert reference == pytest.approx(-(logs * soft * WEIGHT).sum() / 2, rel=1e-5)
    assert reference / ported > 1.5


def test_ce_label_smoothing_weight():
    settings = {"label_smoothing": 0.1}
    ported = PF.cross_entropy(pt(LOGITS), pt(TARGETS), weight=pt(WEIGHT), **settings).item()
    reference = TF.cross_entropy(tt(LOGITS), tt(TARGETS), weight=tt(WEIGHT), **settings).item()
    assert reference - ported == pytest.approx(0.0815, abs=1e-3)


def test_ce_label_smoothing_ignored():
    labels = np.array([0, -100])
    assert TF.cross_entropy(tt(LOGITS), tt(labels), label_smoothing=0.1).item() > 0
    with pytest.raises(ValueError, match="Illegal index"):
        PF.cross_entropy(pt(LOGITS), pt(labels), label_smoothing=0.1)


def test_ce_label_smoothing_float32():
    logits = LOGITS.astype("float64")
    ported = PF.cross_entropy(pt(logits), pt(TARGETS), label_smoothing=0.1)
    reference = TF.cross_entropy(tt(logits), tt(TARGETS), label_smoothing=0.1)
    assert 1e-9 < apart(ported, reference) < 2e-7


def test_numbers_held_in_float32():
    left, right = noise(4, 5, dtype="float64"), noise(4, 5, seed=1, dtype="float64")
    ported = PF.smooth_l1_loss(pt(left), pt(right), delta=0.3)
    assert 1e-10 < apart_relative(ported, TF.huber_loss(tt(left), tt(right), delta=0.3)) < 2e-7
    ported, reference = paddle.stanh(pt(left), 0.67, 1.7159), 1.7159 * torch.tanh(0.67 * tt(left))
    assert 1e-10 < apart_relative(ported, reference) < 2e-7


def test_gaussian_nll_variance():
    values, targets, variance = (noise(4, seed=seed) for seed in range(3))
    variance = np.abs(variance) + 0.1
    theirs, ours = tt(variance, grad=True), pt(variance)
    ours.stop_gradient = False
    reference = TF.gaussian_nll_loss(tt(values), tt(targets), theirs)
    ported = PF.gaussian_nll_loss(pt(values), pt(targets), ours)
    assert apart_relative(ported, reference) < 1e-5
    reference.backward()
    assert theirs.grad is not None
    if not PADDLE2:
        assert ported.stop_gradient or ours.grad is None


def test_ce_label_dtype():
    labels = TARGETS.astype("int32")
    assert PF.cross_entropy(pt(LOGITS), pt(labels)).item() > 0
    with pytest.raises(RuntimeError, match="Long"):
        TF.cross_entropy(tt(LOGITS), tt(labels))


def test_ce_label_with_channel():
    labels = pt(LABELS[:, None])
    ported = PF.cross_entropy(pt(SQUARE), labels, axis=1, reduction="none")
    assert list(ported.shape) == [2, 1, 4, 4]
    with pytest.raises((RuntimeError, ValueError)):
        TF.cross_entropy(tt(SQUARE), tt(LABELS[:, None]))


CRASH = """
    import numpy as np, paddle, paddle.nn.functional as F
    logits = F.log_softmax(paddle.randn([2, 4, 64, 64]), 1)
    labels = np.random.default_rng(0).integers(0, 4, (2, 64, 64))
    labels[:, :32] = 255
    for _ in range(20):
        loss = float(F.LOSS(logits, paddle.to_tensor(labels), ignore_index=255))
    print("alive")
"""


@pytest.mark.prove
def test_nll_loss_with_ignored_labels():
    assert "alive" not in output_of(CRASH.replace("LOSS", "nll_loss"))
    same = CRASH.replace("LOSS", "cross_entropy").replace("=255)", "=255, axis=1)")
    assert "alive" in output_of(same)


def output_of(program: str) -> str:
    """What it printed within 20 s: a corrupted heap may end the process or hang it."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired as hung:
        return (hung.stdout or b"").decode()
    return done.stdout


def test_smooth_l1_is_huber():
    ported = PF.smooth_l1_loss(pt([2.0]), pt([0.0]), delta=0.5).item()
    assert ported == pytest.approx(0.875)
    assert TF.smooth_l1_loss(tt([2.0]), tt([0.0]), beta=0.5).item() == pytest.approx(1.75)
    assert ported == pytest.approx(TF.huber_loss(tt([2.0]), tt([0.0]), delta=0.5).item())
    if not PADDLE2:
        smooth = PF.smooth_l1_loss(pt([2.0]), pt([0.0]), delta=0.5, is_huber=False)
        assert smooth.item() == pytest.approx(1.75)


def test_kl_div_log_target():
    assert TF.kl_div(tt([0.0]), tt([0.0]), log_target=True).item() == 0
    if PADDLE2:
        with pytest.raises(TypeError):
            PF.kl_div(pt([0.0]), pt([0.0]), log_target=True)
    else:
        assert PF.kl_div(pt([0.0]), pt([0.0]), log_target=True).item() == 0
