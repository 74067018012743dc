"""A user's autograd functions: the helper gives torch's class its meaning in Paddle."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.spelling import spell_name
from tests.port.spelling.rows import helper_module

SOURCE = """
class Scaled({base}):
    @staticmethod
    def forward(ctx, x, factor, y):
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return x * y * factor

    @staticmethod
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        assert wanted[0]
        assert not wanted[1]
        return gradient * y * ctx.factor, None, gradient * x * ctx.factor * 2

class Clamped({base}):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 3

    @staticmethod
    def backward(ctx, gradient):
        x = ctx.saved_variables[0]
        return gradient * x
"""


def test_autograd_function() -> None:
    """Other arguments than tensors have no gradient, `saved_tensors` is read."""
    assert spell_name("torch.autograd.Function").helpers == {"AutogradFunction"}
    left: dict = {"torch": torch}
    right: dict = dict(helper_module())
    exec(SOURCE.format(base="torch.autograd.Function"), left)
    exec(SOURCE.format(base=spell_name("torch.autograd.Function").text), right)
    values = [np.linspace(-1, 1, 6), np.linspace(0, 2, 6)]
    a = [torch.from_numpy(v.copy()).requires_grad_() for v in values]
    b = [paddle.to_tensor(v, stop_gradient=False) for v in values]
    (left["Clamped"].apply(left["Scaled"].apply(a[0], 0.5, a[1]))).sum().backward()
    (right["Clamped"].apply(right["Scaled"].apply(b[0], 0.5, b[1]))).sum().backward()
    for x, y in zip(a, b, strict=True):
        assert np.allclose(x.grad.numpy(), y.grad.numpy())


@pytest.mark.parametrize("steps", [1, 2, 3, 12, 24, 50])
def test_numbers_at_even_distances_are_torchs_to_the_bit(steps: int) -> None:
    linspace = helper_module()["linspace"]
    for first, last in ((0, 0.1), (0.0, 0.3), (-1, 1.0), (0, steps - 1)):
        theirs = torch.linspace(first, last, steps, dtype=torch.float32).numpy()
        ours = linspace(first, last, steps, dtype="float32").numpy()
        np.testing.assert_array_equal(ours, theirs)
