"""The base of criteria that are sums of named terms."""

from collections.abc import Callable, Mapping
from typing import Any

from paddle import Tensor, nn


class LossOfParts(nn.Layer):
    """A criterion whose terms are wanted by name, for logs: subclasses write `parts`."""

    parts: Callable[..., dict[str, Tensor]]

    def forward(self, outputs: Any, label: Tensor) -> Tensor:
        """Return `total(parts(outputs, label))`, a scalar; `parts` says what it takes."""
        return self.total(self.parts(outputs, label))

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        first, *others = parts.values()
        return sum(others, start=first)
