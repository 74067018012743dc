"""What the forced pass needs of a framework."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

# (tensor of the graph, cotangent)
Cotangents = tuple[Any, np.ndarray]


class Framework(Protocol):
    """What the pass needs of a framework. Gradients are asked for only in a backward pass."""

    def is_tensor(self, value: Any) -> bool:
        """Tell whether `value` is a tensor."""

    def leaf(self, array: np.ndarray, like: Any, constant: bool = False) -> Any:
        """Return a leaf of the graph that shares the memory of `array`.

        Of the dtype of `like`, where that is given; no gradient flows to a constant one.
        """

    def whole_number(self, tensor: Any) -> int | None:
        """Return the value of an integer tensor of one value, None for all others."""

    def takes_gradient(self, tensor: Any) -> bool:
        """Tell whether a gradient may flow to `tensor`."""

    def values(self, gradient: Any) -> np.ndarray:
        """Return a gradient as an array."""

    def handed(self, leaf: Any, written: bool) -> Any:
        """Return what code gets in place of the leaf: in-place code may not touch a leaf.

        `written` tells whether the reference's code writes into this tensor.
        """

    def version(self, tensor: Any) -> int:
        """Return how often code wrote into `tensor`."""

    def alias(self, tensor: Any) -> Any:
        """Return `tensor` as it stands in the graph now, whatever code writes into it later."""

    def cotangent(self, array: np.ndarray, leaf: Any) -> Any | None:
        """Return `array` as a gradient of `leaf`; None where that takes none."""

    def vjp(self, sources: Sequence[Cotangents], wrt: Sequence[Any]) -> list[Any | None]:
        """Return d(sum of tensor * cotangent) / d(each of `wrt`), None where nothing flows.

        No tensor stands twice in `sources`.
        """

    def parameters(self, module: Any) -> Mapping[int, Any]:
        """Return {identity: trainable parameter} of `module` and everything in it."""
