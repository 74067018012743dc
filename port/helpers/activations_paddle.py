"""Activations whose gradient is another in Paddle, where their input is exactly zero."""

from typing import Any

import paddle
from paddle import nn


class LeakyReLUWithSlopeAtZero(nn.LeakyReLU):
    """LeakyReLU whose gradient at 0, as behind a dropout, is the slope; Paddle's is 1."""

    def forward(self, x: Any) -> Any:
        """Return `x` where it is above 0, and `x` times the slope elsewhere."""
        return paddle.where(x > 0, x, x * self._negative_slope)
