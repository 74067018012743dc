"""Complex tensors are judged like real ones: values, gradients, at their place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
import torch

from align import align_backward, align_forward
from align.report.report import Report

RNG = np.random.default_rng(5)
INPUT = RNG.standard_normal((2, 3, 8, 8))
Function = Callable[[Any], Any]


class TorchSpectral(torch.nn.Module):
    """A function of the spectrum, between two transforms."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.filter = TorchFilter(function)

    def forward(self, x: Any) -> Any:
        spectrum = torch.fft.rfft2(self.conv(x), norm="ortho")
        return torch.fft.irfft2(self.filter(spectrum), s=(8, 8), norm="ortho")


class TorchFilter(torch.nn.Module):
    """Takes and gives complex tensors."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.gain = torch.nn.Parameter(torch.linspace(0.5, 1.5, 4).reshape(1, 4, 1, 1))

    def forward(self, x: Any) -> Any:
        return self.function(x * self.gain)


class PaddleSpectral(paddle.nn.Layer):
    """The same in Paddle."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 1)
        self.filter = PaddleFilter(function)

    def forward(self, x: Any) -> Any:
        spectrum = paddle.fft.rfft2(self.conv(x), norm="ortho")
        return paddle.fft.irfft2(self.filter(spectrum), s=(8, 8), norm="ortho")


class PaddleFilter(paddle.nn.Layer):
    """Takes and gives complex tensors."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.gain = self.create_parameter([1, 4, 1, 1])

    def forward(self, x: Any) -> Any:
        return self.function(x * self.gain.astype(x.dtype))


def judged(reference: Function, port: Function, rung: Any) -> Report:
    """Judge two functions of a spectrum."""
    torch.manual_seed(3)
    ours, theirs = PaddleSpectral(port), TorchSpectral(reference)
    state = theirs.state_dict()
    ours.set_state_dict({key: paddle.to_tensor(value.numpy()) for key, value in state.items()})
    report: Report = rung(theirs, ours, INPUT)
    return report


right = {
    "same": (lambda x: x, lambda x: x),
    "squared": (lambda x: x * x, lambda x: x * x),
    "conjugate": (lambda x: x.conj() * (2 - 1j), lambda x: x.conj() * paddle.to_tensor(2 - 1j)),
    "parts": (
        lambda x: torch.complex(x.real * 2, x.imag),
        lambda x: paddle.complex(x.real() * 2, x.imag()),
    ),
}
wrong = {
    "scaled": (lambda x: x, lambda x: x * 2.5),
    "conjugate": (lambda x: x, lambda x: x.conj()),
    "imaginary": (
        lambda x: x * 1.0,
        lambda x: paddle.complex(x.real(), x.imag() * 1.001),
    ),
}


@pytest.mark.parametrize("rung", [align_forward, align_backward])
@pytest.mark.parametrize("name", right)
def test_the_right_port_is_aligned(name: str, rung: Any) -> None:
    """Both frameworks have the same gradients of complex tensors."""
    report = judged(*right[name], rung)
    assert report.exit_code == 0, report.verdict
    at = {call.where for call in report.calls if call.layer == "filter"}
    assert at >= ({"output:0"} if rung is align_forward else {"grad_input:0", "grad:gain"})
    assert not report.noise


@pytest.mark.parametrize("rung", [align_forward, align_backward])
@pytest.mark.parametrize("name", wrong)
def test_the_wrong_port_is_found_at_its_place(name: str, rung: Any) -> None:
    """A complex tensor is no noise."""
    report = judged(*wrong[name], rung)
    assert report.exit_code == 1, report.verdict
    assert {divergence.layer for divergence in report.divergences} == {"filter"}


def test_a_gradient_that_is_cut_is_found() -> None:
    """Values are equal, gradients are not."""
    report = judged(lambda x: x * 2.0, lambda x: x + x.detach(), align_backward)
    assert report.exit_code == 1
    assert {divergence.layer for divergence in report.divergences} == {"filter"}
