"""Each row of the table of inexact kernels: the kernel stays below it, and comes near it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF

from align.judge.kernel_names import ADDITIONS
from align.judge.kernels import KERNELS, paddle_version
from tests.align.judge.float64_pairs import PAIRS

ROWS = {kernel.function: kernel for kernel in KERNELS}


def distance(theirs, ours):
    return float(np.abs(theirs - ours).max() / np.abs(theirs).max())


RESIZES = [((8, 12), (64, 96)), ((32, 48), (255, 383)), ((40, 40), (68, 68)), ((64, 96), (31, 50))]


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize(("size", "out"), RESIZES)
def test_bilinear_resize(size, out, corners):
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    settings = {"mode": "bilinear", "align_corners": corners}
    theirs = TF.interpolate(torch.from_numpy(x), out, **settings).numpy()
    ours = PF.interpolate(paddle.to_tensor(x), list(out), **settings).numpy()
    allowed = ROWS["interpolate"].forward(size, out, settings)
    if allowed == 0.0:
        assert distance(theirs, ours) < 1e-15
    else:
        assert allowed / 20 < distance(theirs, ours) < allowed


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_resize_by_a_power_of_two_is_exact_only_where_the_table_says_so(mode):
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 9))
    settings = {"mode": mode, "align_corners": False}
    theirs = TF.interpolate(torch.from_numpy(x), (14, 18), **settings).numpy()
    ours = PF.interpolate(paddle.to_tensor(x), [14, 18], **settings).numpy()
    assert ROWS["interpolate"].forward((7, 9), (14, 18), settings) == 0.0
    assert distance(theirs, ours) < 1e-14


@pytest.mark.parametrize("name", ["hardsigmoid", "selu"])
def test_rounded_constants(name):
    x = np.random.default_rng(0).standard_normal((64, 64))
    theirs = getattr(TF, name)(torch.from_numpy(x)).numpy()
    ours = getattr(PF, name)(paddle.to_tensor(x)).numpy()
    allowed = ROWS[name].forward((), (), {})
    assert allowed / 20 < distance(theirs, ours) < allowed


CONSTANTS = {"elu": (0.3,), "celu": (0.3,), "hardtanh": (-0.7, 0.7), "softshrink": (0.3,)}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_that_are_held_in_float32(name):
    x = np.random.default_rng(0).standard_normal((64, 64))
    theirs = getattr(TF, name)(torch.from_numpy(x), *CONSTANTS[name]).numpy()
    ours = getattr(PF, name)(paddle.to_tensor(x), *CONSTANTS[name]).numpy()
    assert 1e-10 < distance(theirs, ours) < ROWS[name].forward((), (), {})


def test_scale_factor_that_float32_does_not_hold_is_inexact_at_any_size():
    settings = {"mode": "bilinear", "scale_factor": 0.6, "align_corners": False}
    assert ROWS["interpolate"].forward((4, 4), (2, 2), settings) > 0
    settings["scale_factor"] = 0.5
    assert ROWS["interpolate"].forward((5, 5), (2, 2), settings) == 0


def input_gradients(theirs_function, ours_function, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    theirs_x = torch.from_numpy(x).requires_grad_()
    ours_x = paddle.to_tensor(x, stop_gradient=False)
    theirs, ours = theirs_function(theirs_x), ours_function(ours_x)
    cotangent = rng.standard_normal(theirs.shape)
    (theirs * torch.from_numpy(cotangent)).sum().backward()
    (ours * paddle.to_tensor(cotangent)).sum().backward()
    return theirs_x.grad.numpy(), ours_x.grad.numpy()


POOLS = {
    "avg_pool1d": ((2, 3, 12), 3),
    "avg_pool2d": ((2, 3, 12, 12), 3),
    "avg_pool3d": ((2, 3, 6, 6, 6), 3),
    "adaptive_avg_pool1d": ((2, 3, 12), 4),
    "adaptive_avg_pool2d": ((2, 3, 12, 12), 4),
    "adaptive_avg_pool3d": ((2, 3, 6, 6, 6), 2),
}


@pytest.mark.parametrize("name", POOLS)
def test_average_pooling_backward(name):
    shape, size = POOLS[name]
    theirs, ours = input_gradients(
        lambda x: getattr(TF, name)(x, size), lambda x: getattr(PF, name)(x, size), shape
    )
    allowed = ROWS[name].backward(shape[2:], (), {})
    assert allowed / 20 < distance(theirs, ours) < allowed


def test_area_resize_backward():
    settings = {"mode": "area"}
    theirs, ours = input_gradients(
        lambda x: TF.interpolate(x, (4, 4), **settings),
        lambda x: PF.interpolate(x, [4, 4], **settings),
        (2, 3, 12, 12),
    )
    allowed = ROWS["interpolate"].backward((12, 12), (4, 4), settings)
    assert allowed / 20 < distance(theirs, ours) < allowed


def test_bilinear_resize_backward():
    settings = {"mode": "bilinear", "align_corners": True}
    theirs, ours = input_gradients(
        lambda x: TF.interpolate(x, (64, 96), **settings),
        lambda x: PF.interpolate(x, [64, 96], **settings),
        (2, 3, 8, 12),
    )
    allowed = ROWS["interpolate"].backward((8, 12), (64, 96), settings)
    assert allowed / 20 < distance(theirs, ours) < allowed


OTHERS = {
    "layer_norm": (lambda x: TF.layer_norm(x, (8,)), lambda x: PF.layer_norm(x, [8]), {}),
    "instance_norm": (TF.instance_norm, PF.instance_norm, {}),
    "pow": (lambda x: (x * x + 1) ** 0.3, lambda x: (x * x + 1) ** 0.3, {"numbers": (0.3,)}),
    "norm": (lambda x: x.norm(p=3, dim=1), lambda x: x.norm(p=3, axis=1), {"p": 3}),
    "normalize": (
        lambda x: TF.normalize(x, p=3, dim=1),
        lambda x: PF.normalize(x, p=3, axis=1),
        {"p": 3},
    ),
}
# Exact in Paddle 3; in 2.6.2 they hold their number in float32.
BEFORE_3 = {
    "leaky_relu": (lambda x: TF.leaky_relu(x, 0.3), lambda x: PF.leaky_relu(x, 0.3)),
    "softplus": (lambda x: TF.softplus(x, 0.7), lambda x: PF.softplus(x, 0.7)),
    "add": (lambda x: x + 0.3, lambda x: x + 0.3),
    "sub": (lambda x: x - 0.3, lambda x: x - 0.3),
    "rsub": (lambda x: 0.3 - x, lambda x: 0.3 - x),
    "pad": (
        lambda x: TF.pad(x, [1, 1, 1, 1], value=0.3),
        lambda x: PF.pad(x, [1, 1, 1, 1], value=0.3),
    ),
    "logit": (
        lambda x: torch.logit(torch.sigmoid(x), 0.3),
        lambda x: paddle.logit(PF.sigmoid(x), 0.3),
    ),
    "hinge_embedding_loss": (
        lambda x: TF.hinge_embedding_loss(x, x.detach().sign(), 0.3),
        lambda x: PF.hinge_embedding_loss(x, x.detach().sign(), 0.3),
    ),
    "rsqrt": (lambda x: (x * x + 0.3).rsqrt(), lambda x: (x * x + 0.3).rsqrt()),
}


# What Paddle 2.6.2 lacks is skipped there.
NUMBERS = {
    "addmm": (
        paddle,
        lambda x: torch.addmm(x[0, 0, :, :6], x[0, 1], x[0, 2].T, beta=0.3, alpha=0.1),
        lambda x: paddle.addmm(x[0, 0, :, :6], x[0, 1], x[0, 2].t(), beta=0.3, alpha=0.1),
    ),
    "baddbmm": (
        paddle,
        lambda x: torch.baddbmm(x[0, :, :, :6], x[1], x[1].mT, beta=0.3, alpha=0.1),
        lambda x: paddle.baddbmm(
            x[0, :, :, :6], x[1], x[1].transpose([0, 2, 1]), beta=0.3, alpha=0.1
        ),
    ),
    "threshold": (
        PF,
        lambda x: TF.threshold(x, 0.3, 0.1),
        lambda x: PF.thresholded_relu(x, 0.3, 0.1),
    ),
    "rrelu": (
        PF,
        lambda x: TF.rrelu(x, 0.1, 0.3),
        lambda x: PF.rrelu(x, 0.1, 0.3, training=False),
    ),
    "local_response_norm": (
        PF,
        lambda x: TF.local_response_norm(x, 3, 0.7, 0.7, 1.1),
        lambda x: PF.local_response_norm(x, 3, 0.7, 0.7, 1.1),
    ),
    "lp_pool1d": (
        PF,
        lambda x: TF.lp_pool1d(x[0].abs() + 0.1, 3.0, 2),
        lambda x: PF.lp_pool1d(x[0].abs() + 0.1, 3.0, 2),
    ),
    "lp_pool2d": (
        PF,
        lambda x: TF.lp_pool2d(x.abs() + 0.1, 3.0, 2),
        lambda x: PF.lp_pool2d(x.abs() + 0.1, 3.0, 2),
    ),
}


def values_and_gradients(theirs_function, ours_function, scale):
    """Return the distances of the values and of the gradients, [2, 4, 6, 8] of size `scale`."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 6, 8)) * scale
    theirs_x = torch.from_numpy(x).requires_grad_()
    ours_x = paddle.to_tensor(x, stop_gradient=False)
    theirs, ours = theirs_function(theirs_x), ours_function(ours_x)
    cotangent = rng.standard_normal(tuple(theirs.shape))
    (theirs * torch.from_numpy(cotangent)).sum().backward()
    (ours * paddle.to_tensor(cotangent)).sum().backward()
    values = distance(theirs.detach().numpy(), ours.numpy())
    return values, distance(theirs_x.grad.numpy(), ours_x.grad.numpy())


def largest_value(function):
    """Return the largest magnitude that `function` makes of the same input, of size 1."""
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 8))
    return float(function(torch.from_numpy(x)).abs().max())


@pytest.mark.parametrize("name", OTHERS)
def test_functions_that_hold_a_number_in_float32(name):
    theirs, ours, settings = OTHERS[name]
    scale = 1e-3 if name.endswith("_norm") else 1.0
    values, gradients = values_and_gradients(theirs, ours, scale)
    forward, backward = ROWS[name].errors((), (), settings)
    assert forward / 20 < values < forward
    assert gradients < backward


@pytest.mark.parametrize("name", NUMBERS)
def test_functions_that_hold_their_numbers_in_float32(name):
    home, theirs, ours = NUMBERS[name]
    lacks_value = name == "threshold" and paddle_version() < (3, 0)
    if lacks_value or not (hasattr(home, name) or name == "threshold"):
        pytest.skip("this Paddle has no such function")
    values, gradients = values_and_gradients(theirs, ours, 1.0)
    forward, backward = ROWS[name].errors((), (), {"numbers": (0.3, 0.1)})
    assert 1e-10 < values < forward
    assert gradients < backward


def test_lp_pooling_and_a_matrix_product_with_weights_are_aligned():
    """Rows are found by the functions that run: of a layer, and of glue."""
    from align import align_backward, align_forward

    if not hasattr(PF, "lp_pool2d"):
        pytest.skip("this Paddle has no LPPool2D")

    class Reference(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = torch.nn.LPPool2d(3.0, 2)

        def forward(self, x):
            y = self.pool(x.abs() + 0.1)[:, 0]
            return torch.addmm(y[0], y[0], y[1], beta=0.3, alpha=0.1)

    class Port(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.pool = paddle.nn.LPPool2D(3.0, 2)

        def forward(self, x):
            y = self.pool(x.abs() + 0.1)[:, 0]
            return paddle.addmm(y[0], y[0], y[1], beta=0.3, alpha=0.1)

    x = [np.random.default_rng(0).standard_normal((2, 3, 8, 8))]
    for align in (align_forward, align_backward):
        report = align(Reference(), Port(), x)
        assert report.aligned, [str(d) for d in report.divergences]


def test_gradient_of_the_euclidean_norm():
    for name in ("norm", "normalize"):
        theirs = (lambda x: x.norm(dim=1)) if name == "norm" else (lambda x: TF.normalize(x, dim=1))
        ours = (lambda x: x.norm(axis=1)) if name == "norm" else (lambda x: PF.normalize(x, axis=1))
        values, gradients = values_and_gradients(theirs, ours, 1e-3)
        forward, backward = ROWS[name].errors((), (), {})
        assert forward == 0.0
        assert values < 1e-14
        assert 1e-13 < gradients < backward


@pytest.mark.parametrize("name", BEFORE_3)
def test_numbers_that_old_paddle_holds_in_float32(name):
    values, gradients = values_and_gradients(*BEFORE_3[name], 1.0)
    forward, backward = ROWS[name].errors((), (), {"numbers": (0.3,)})
    if paddle_version() >= ROWS[name].before:
        assert (forward, backward) == (0.0, 0.0)
        assert max(values, gradients) < 1e-14
    else:
        assert 1e-10 < values < forward
        assert gradients < backward


@pytest.mark.parametrize("name", ADDITIONS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_an_added_number_is_off_by_its_own_rounding(name, scale):
    """And by no more, however small it is beside what it is added to."""
    largest = largest_value(lambda x: BEFORE_3[name][0](x * scale))
    settings = {"numbers": (0.3,), "largest": largest}
    forward, backward = ROWS[name].errors((), (), settings)
    rounding = abs(float(np.float32(0.3)) - 0.3)
    assert forward == backward == (rounding / largest if paddle_version() < (3, 0) else 0.0)
    theirs, ours = (lambda x, f=f: f(x * scale) for f in BEFORE_3[name])
    values, gradients = values_and_gradients(theirs, ours, 1.0)
    assert values <= forward + 1e-15
    assert gradients < 1e-15


def test_numbers_that_float32_holds_are_exact():
    for name in ("pow", "addmm", "baddbmm", "threshold", *BEFORE_3):
        assert ROWS[name].errors((), (), {"numbers": (2, 0.5)}) == (0.0, 0.0)
    assert ROWS["layer_norm"].errors((), (), {"eps": float(np.float32(1e-5))}) == (0.0, 0.0)


class TorchFunctions(torch.nn.Module):
    def forward(self, x):
        y = TF.layer_norm(x, x.shape[3:])
        return TF.normalize(y, dim=1) + (y * y + 1) ** 0.3, y.norm(p=3, dim=1)


class Functions(paddle.nn.Layer):
    def __init__(self, fault=0.0):
        super().__init__()
        self.fault = fault

    def forward(self, x):
        y = PF.layer_norm(x, x.shape[3:])
        out = PF.normalize(y, axis=1) + (y * y + 1) ** 0.3
        return out * (1 + self.fault), y.norm(p=3, axis=1)


def test_functional_code_is_aligned_and_a_fault_of_ten_times_the_row_is_found():
    from align import align_backward, align_forward

    x = [np.random.default_rng(0).standard_normal((2, 4, 6, 8)) * 0.01]
    for align in (align_forward, align_backward):
        assert align(TorchFunctions(), Functions(), x).exit_code == 0
    fault = 10 * ROWS["pow"].forward((), (), {"numbers": (0.3,)})
    assert align_forward(TorchFunctions(), Functions(fault), x).exit_code == 1


def test_scale_factor_does_not_make_aligned_corners_exact():
    settings = {"mode": "bilinear", "scale_factor": 2, "align_corners": True}
    assert ROWS["interpolate"].forward((8, 12), (16, 24), settings) > 0


def test_every_row_has_a_test():
    # tests/align/record/test_weights_that_hooks_make.py has weight_norm.
    tested = {"interpolate", "hardsigmoid", "selu", "weight_norm", *LOSSES}
    tested |= {*CONSTANTS, *POOLS, *OTHERS, *BEFORE_3, *NUMBERS}
    paired = {name.split()[0] for name in PAIRS} | {"exp"}  # test_float64_pairs.py
    assert tested <= set(ROWS)
    assert set(ROWS) <= tested | paired


def test_table_of_kernels_has_no_duplicate():
    names = [kernel.function for kernel in KERNELS]
    assert len(names) == len(set(names))


def test_gradient_of_a_parameter_through_an_inexact_kernel():
    """A normalisation's weight, and what a layer computes before one, are off as the input is."""
    from align import align_backward

    class Reference(torch.nn.Module):
        def __init__(self):
            super().__init__()
            values = np.linspace(0.5, 1.5, 8, dtype=np.float32)
            self.weight = torch.nn.Parameter(torch.from_numpy(values))

        def forward(self, x):
            return TF.layer_norm(x * self.weight, (8,), self.weight * 1, None, 1e-5)

    class Port(paddle.nn.Layer):
        def __init__(self, fault=0.0):
            super().__init__()
            start = paddle.nn.initializer.Assign(np.linspace(0.5, 1.5, 8, dtype=np.float32))
            self.weight = self.create_parameter([8], default_initializer=start)
            self.fault = fault

        def forward(self, x):
            weight = self.weight * 1
            return PF.layer_norm(x * self.weight, [8], weight, None, 1e-5 * (1 + self.fault))

    class Outer(torch.nn.Module):
        def __init__(self, part):
            super().__init__()
            self.part = part

        def forward(self, x):
            return self.part(x)

    class PaddleOuter(paddle.nn.Layer):
        def __init__(self, part):
            super().__init__()
            self.part = part

        def forward(self, x):
            return self.part(x)

    x = [np.random.default_rng(0).standard_normal((2, 6, 8)) * 0.01]
    report = align_backward(Outer(Reference()), PaddleOuter(Port()), x)
    assert report.exit_code == 0, [str(d) for d in report.divergences]
    report = align_backward(Outer(Reference()), PaddleOuter(Port(1e-4)), x)
    assert {d.where for d in report.divergences} >= {"grad:weight", "grad_input:0"}


LOSSES = {
    "cross_entropy": (
        lambda out: TF.cross_entropy(out, torch.arange(8) % 5, label_smoothing=0.3),
        lambda out: PF.cross_entropy(out, paddle.arange(8) % 5, label_smoothing=0.3),
    ),
    "huber_loss": (
        lambda out: TF.huber_loss(out, out.detach() * 0, delta=0.3),
        lambda out: PF.smooth_l1_loss(out, out.detach() * 0, delta=0.3),
    ),
    "smooth_l1_loss": (
        lambda out: TF.smooth_l1_loss(out, out.detach() * 0, beta=1 / 9),
        lambda out: PF.smooth_l1_loss(out, out.detach() * 0, delta=1 / 9, is_huber=False),
    ),
}


SETTINGS = ("label_smoothing", "delta", "beta")


@pytest.mark.parametrize("name", LOSSES)
def test_numbers_of_losses_are_held_in_float32(name):
    if name == "smooth_l1_loss" and paddle_version() < (3, 0):
        pytest.skip("this Paddle has Huber's loss only")
    theirs, ours = LOSSES[name]
    x = np.random.default_rng(0).standard_normal((8, 5))
    values = distance(theirs(torch.from_numpy(x)).numpy(), ours(paddle.to_tensor(x)).numpy())
    gradients = distance(*input_gradients(theirs, ours, (8, 5)))
    held, exact = (dict.fromkeys(SETTINGS, share) for share in (0.3, 0.5))
    assert 1e-10 < values < ROWS[name].forward((), (), held)
    assert 1e-10 < gradients < ROWS[name].backward((), (), held)
    assert ROWS[name].forward((), (), exact) == 0.0
