"""Every function that both frameworks have: in float64 they agree, or the tables know of it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward
from tests.align.function_nets import Port, Reference
from tests.align.judge.float64_pairs import GROUPS, KNOWN, NO_PAIR, PAIRS

EXACT = 1e-13  # relative; rounding of two kernels that sum in other orders is below


@pytest.fixture
def in_float64():
    defaults = torch.get_default_dtype(), paddle.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    paddle.set_default_dtype("float64")
    yield
    torch.set_default_dtype(defaults[0])
    paddle.set_default_dtype(defaults[1])


def distance(theirs, ours):
    if theirs is None and ours is None:
        return 0.0
    if theirs is None or ours is None or theirs.shape != ours.shape:
        return np.inf
    return float(np.abs(theirs - ours).max(initial=0.0) / (np.abs(theirs).max(initial=0.0) or 1.0))


def apart(pair, scale):
    """Return how far values and gradients of both are apart on N(0, `scale`)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 6, 8)) * scale
    theirs_x = torch.from_numpy(x).requires_grad_()
    ours_x = paddle.to_tensor(x, stop_gradient=False)
    theirs, ours = pair[0](theirs_x), pair[1](ours_x)
    values = distance(theirs.detach().numpy(), ours.numpy())
    cotangent = rng.standard_normal(tuple(theirs.shape))
    if theirs.requires_grad:
        (theirs * torch.from_numpy(cotangent)).sum().backward()
    if not ours.stop_gradient:
        (ours * paddle.to_tensor(cotangent)).sum().backward()
    theirs_grad = None if theirs_x.grad is None else theirs_x.grad.numpy()
    ours_grad = None if ours_x.grad is None else ours_x.grad.numpy()
    return max(values, distance(theirs_grad, ours_grad))


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_both_agree_or_a_table_knows_of_it(name, in_float64):
    try:
        scales = [s for s in (1.0, 1e-2) if apart(PAIRS[name], s) > EXACT]
    except AttributeError as error:
        pytest.skip(f"this Paddle has no such function: {error}")
    except TypeError as error:
        if "unexpected keyword argument 'is_huber'" not in str(error):
            raise
        pytest.skip(f"since Paddle 3.0: {error}")
    for scale in scales:
        x = np.random.default_rng(0).standard_normal((2, 4, 6, 8)) * scale
        report = align_backward(Reference(PAIRS[name][0]), Port(PAIRS[name][1]), [x])
        if name in KNOWN:
            assert report.exit_code == 1, f"{name} is no difference any more: {KNOWN[name]}"
            continue
        assert report.exit_code == 0, [str(each) for each in report.divergences]
        worst = max(call.floor for call in report.calls)
        assert worst < 1e-4, f"{worst} is allowed"


def test_every_function_of_both_frameworks_has_a_pair_or_a_reason():
    common = {
        name
        for theirs, ours in ((torch, paddle), (torch.nn.functional, paddle.nn.functional))
        for name in getattr(ours, "__all__", ())
        if hasattr(theirs, name) and callable(getattr(ours, name)) and not name.endswith("_")
    }
    words = {word for group in GROUPS for name in group for word in name.split()}
    missing = common - words - set(NO_PAIR) - {type_ for type_ in common if _is_type(type_)}
    assert not missing, sorted(missing)


def _is_type(name):
    return isinstance(getattr(paddle, name, None), type)


def test_a_fault_beside_an_operator_that_is_allowed_for_is_found():
    """A frozen BatchNorm by hand against one call, and a wrong epsilon, slope or smoothing."""
    import paddle.nn.functional as PF

    x = [np.random.default_rng(0).standard_normal((2, 4, 6, 8))]

    def by_hand(x):
        scale = (torch.full((1, 4, 1, 1), 0.25) + 1e-5).rsqrt()
        return (x - 0.125) * scale

    def one_call(epsilon):
        def port(x):
            mean, variance = paddle.full([4], 0.125), paddle.full([4], 0.25)
            return PF.batch_norm(x, mean, variance, epsilon=epsilon)

        return port

    assert align_backward(Reference(by_hand), Port(one_call(1e-5)), x).exit_code == 0
    assert align_backward(Reference(by_hand), Port(one_call(1.1e-5)), x).exit_code == 1

    def tanh(x):
        return 1.7159 * torch.tanh(0.67 * x)

    right, wrong = (lambda x, a=a: paddle.stanh(x, a, 1.7159) for a in (0.67, 0.67001))
    assert align_backward(Reference(tanh), Port(right), x).exit_code == 0
    assert align_backward(Reference(tanh), Port(wrong), x).exit_code == 1


def test_a_batch_norm_that_the_port_writes_with_the_function():
    """Against the layer of torch, and against one by hand; in both modes of the layer."""
    import paddle.nn.functional as PF

    class Ours(paddle.nn.Layer):
        def __init__(self, epsilon=1e-5):
            super().__init__()
            self.weight = self.create_parameter([4])
            self.weight.set_value(paddle.ones([4]))
            self.bias = self.create_parameter([4], is_bias=True)
            self.register_buffer("running_mean", paddle.zeros([4]))
            self.register_buffer("running_var", paddle.ones([4]))
            self.epsilon = epsilon

        def forward(self, x):
            statistics = self.running_mean, self.running_var
            return PF.batch_norm(x, *statistics, self.weight, self.bias, epsilon=self.epsilon)

    class Frozen(torch.nn.Module):
        """As DETR's: the epsilon is a number in the code."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4))
            self.bias = torch.nn.Parameter(torch.zeros(4))
            self.register_buffer("running_mean", torch.zeros(4))
            self.register_buffer("running_var", torch.ones(4))

        def forward(self, x):
            w, b, rv, rm = (
                tensor.reshape(1, -1, 1, 1)
                for tensor in (self.weight, self.bias, self.running_var, self.running_mean)
            )
            scale = w * (rv + 1e-5).rsqrt()
            return x * scale + (b - rm * scale)

    x = [np.random.default_rng(0).standard_normal((2, 4, 6, 8))]
    layer = paddle.nn.BatchNorm2D(4)
    for port in (Ours(), layer):
        report = align_backward(Frozen(), port, x, train=False)
        assert report.exit_code == 0, [str(each) for each in report.divergences]
    report = align_backward(torch.nn.BatchNorm2d(4), Ours(), x, train=False)
    assert report.exit_code == 0, [str(each) for each in report.divergences]
    for reference in (Frozen(), torch.nn.BatchNorm2d(4)):
        report = align_backward(reference, Ours(1e-6), x, train=False)
        assert report.exit_code == 1
