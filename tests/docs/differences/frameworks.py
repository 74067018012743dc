"""What the tests of docs/differences.yml share: both frameworks, short names, distances.

A test shows one row of the table on the Paddle at hand. Where 2.6.2 does something else, the test
says what, by `PADDLE2`.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

tnn, pnn = torch.nn, paddle.nn
TF, PF = torch.nn.functional, paddle.nn.functional
topt, popt = torch.optim, paddle.optimizer
PADDLE2 = int(paddle.__version__.split(".")[0]) < 3


def noise(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def tt(array, grad: bool = False) -> "torch.Tensor":
    return torch.tensor(array, requires_grad=grad)


def pt(array, grad: bool = False) -> "paddle.Tensor":
    return paddle.to_tensor(array, stop_gradient=not grad)


def as_array(tensor) -> np.ndarray:
    if isinstance(tensor, torch.Tensor):
        return tensor.detach().numpy()
    return tensor.numpy() if isinstance(tensor, paddle.Tensor) else np.asarray(tensor)


def apart(left, right) -> float:
    """The largest difference; shapes must be equal."""
    left, right = as_array(left), as_array(right)
    assert left.shape == right.shape
    return float(np.abs(left - right).max())


def apart_relative(paddle_result, torch_result) -> float:
    return apart(paddle_result, torch_result) / float(np.abs(as_array(torch_result)).max())


@contextlib.contextmanager
def float64_layers() -> Iterator[None]:
    paddle.set_default_dtype("float64")
    try:
        yield
    finally:
        paddle.set_default_dtype("float32")


def filled(*shape: int, value: float = 0.0, array: np.ndarray | None = None, dtype="float32"):
    """A Paddle parameter of one value, or with the values of `array`."""
    make = pnn.initializer
    start = make.Constant(value) if array is None else make.Assign(array)
    return paddle.create_parameter(shape, dtype, default_initializer=start)


def optimizers_apart(
    torch_optimizer: Callable, paddle_optimizer: Callable, scale: float = 1.0, steps: int = 5
) -> float:
    """How far the weights are apart after `steps` steps in float64, gradients of size `scale`."""
    start = noise(5, dtype="float64")
    gradients = noise(steps, 5, seed=1, dtype="float64") * scale
    with float64_layers():
        ours = filled(5, array=start, dtype="float64")
        theirs = tnn.Parameter(tt(start))
        ported, reference = paddle_optimizer([ours]), torch_optimizer([theirs])
        for gradient in gradients:
            theirs.grad = tt(gradient)
            reference.step()
            ported.clear_grad()
            (ours * pt(gradient)).sum().backward()
            ported.step()
    return apart(ours, theirs)
