"""Whole numbers with numbers with a point: Paddle's float32 of them follows the run in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_forward

# It holds a number beside a tensor in float32, and its `sqrt` has no kernel for whole numbers.
OLD = paddle.__version__ < "3"
X = np.random.default_rng(0).standard_normal((2, 4))
CODES = {
    "sum": lambda f, n: n + 1e-7,
    "difference": lambda f, n: 0.3 - n,
    "share": lambda f, n: n / 7,
    "inverse": lambda f, n: 1 / (n + 1),
    "quotient": lambda f, n: n / (n + 2),
    "power": lambda f, n: 0.7**n,
    "root": lambda f, n: f.sqrt(n),
    "logarithm": lambda f, n: f.log(n + 1),
    "in bounds": lambda f, n: (n > 1) * 0.3,
}


class Weighted(torch.nn.Module):
    def __init__(self, code):
        super().__init__()
        self.code = code

    def forward(self, x):
        return x * self.code(torch, torch.arange(4))


class WeightedPort(paddle.nn.Layer):
    def __init__(self, code, times=1.0):
        super().__init__()
        self.code, self.times = code, times

    def forward(self, x):
        weights = self.code(paddle, paddle.arange(4))
        assert weights.dtype == x.dtype
        return x * weights * self.times


@pytest.mark.parametrize("name", CODES)
def test_a_right_port_is_aligned(name):
    if OLD and name == "root":
        pytest.skip("Paddle before 3.0 has no sqrt of whole numbers")
    report = align_forward(Weighted(CODES[name]), WeightedPort(CODES[name]), [X])
    assert report.exit_code == 0
    held = OLD and name == "difference"
    assert report.worst.relative_error < (1e-8 if held else 1e-14)


@pytest.mark.parametrize("name", CODES)
def test_a_small_fault_is_found(name):
    if OLD and name == "root":
        pytest.skip("Paddle before 3.0 has no sqrt of whole numbers")
    # 0.3 in float32 is off by 4e-8 of itself, and that is allowed for where it is added.
    fault = 1 + 2**-20 if OLD and name == "difference" else 1.00000001
    code = CODES[name]
    assert align_forward(Weighted(code), WeightedPort(code, fault), [X]).exit_code == 1


def test_another_code_is_found():
    code = CODES["sum"]
    assert align_forward(Weighted(code), WeightedPort(CODES["share"]), [X]).exit_code == 1


def test_nothing_is_left_changed():
    align_forward(Weighted(CODES["sum"]), WeightedPort(CODES["sum"]), [X])
    assert (paddle.arange(4) + 0.5).dtype == paddle.float32
    if OLD:
        with pytest.raises(RuntimeError, match="sqrt"):
            paddle.sqrt(paddle.arange(4))
    else:
        assert paddle.sqrt(paddle.arange(4)).dtype == paddle.float32
