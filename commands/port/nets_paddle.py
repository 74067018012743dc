"""What a proof needs of the port: the reference's loss and rule."""

from typing import Any

import paddle

from align.arrays.trees import leaves

RATE, MOMENTUM = 0.01, 0.9


def mean_square(outputs: Any, label: Any) -> Any:
    """Return the sum of the mean squares of all outputs with a point."""
    found = [one for one in leaves(outputs) if _counts(one)]
    return paddle.stack([one.pow(2).mean() for one in found]).sum()


def _counts(value: Any) -> bool:
    return paddle.is_tensor(value) and value.is_floating_point()


def momentum(parameters: Any) -> Any:
    """Return gradient descent with momentum."""
    return paddle.optimizer.Momentum(RATE, MOMENTUM, parameters)
