"""What the backward of a function reads of its own results, moved in the last place."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from align.rounding.noise_torch import FEW_OF_CHANNEL, Noise

# By node of torch's graph: results from which its backward subtracts what may be nearly the same.
# The gradient of a softmax is y * (g - sum(g * y)): where one y is nearly 1, it hangs on the last
# place of that y, and so it does whatever the input was: 1 - 1e-20 is 1 before and after it moves.
SUBTRACTED = dict.fromkeys(
    ("SoftmaxBackward0", "SafeSoftmaxBackward0", "SigmoidBackward0", "TanhBackward0"), ("result",)
)
# Mean and 1 / deviation. What is normalised of two values is +1 and -1, whatever they are, and
# next to nothing is left of a gradient; of many values more is left than the last place.
STATISTICS = ("result1", "result2")
LAYER_NORM = "NativeLayerNormBackward0"
NORMS = ("NativeBatchNormBackward0", LAYER_NORM, "NativeGroupNormBackward0")


def move_own_results(outputs: Iterable[torch.Tensor], noise: Noise) -> None:
    """Let what the backward of `outputs` reads of its own results arrive there moved by `noise`."""
    for node in _nodes(outputs):
        for name in _subtracted(node):
            saved = getattr(node, f"_raw_saved_{name}", None)
            if saved is not None:
                with suppress(RuntimeError):  # moved already, or written into since
                    saved.register_hooks(_as_it_is, noise.jitter)
        if node.name() == LAYER_NORM and _values_of_one(node) == 1:
            node.register_hook(partial(_rounded_to_nothing, node, noise))


def _rounded_to_nothing(node: Any, noise: Noise, found: Any, given: Any) -> Any:
    """Move the gradient of what is normalised of one value, which is zero but for rounding.

    Of the terms that cancel nothing is left that could move. found: the gradients of the node's
    inputs; given: of its output.
    """
    if found[0] is None or given[0] is None:
        return None
    term = given[0] * node._saved_result2
    term = term if node._saved_weight is None else term * node._saved_weight
    return found[0] + (noise.jitter(term) - term).reshape(found[0].shape), *found[1:]


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _subtracted(node: Any) -> tuple[str, ...]:
    """Return which results of its own the backward of `node` subtracts from."""
    if node.name() not in NORMS:
        return SUBTRACTED.get(node.name(), ())
    return STATISTICS if 0 < _values_of_one(node) <= FEW_OF_CHANNEL else ()


def _values_of_one(node: Any) -> int:
    """Return of how many values a norm takes a mean; 0 where nobody knows."""
    with suppress(RuntimeError):
        values, means = node._saved_input.numel(), node._saved_result1.numel()
        return int(values // means) if means else 0
    return 0


def _nodes(outputs: Iterable[torch.Tensor]) -> Iterator[Any]:
    """Yield each node of the graph that ends in `outputs`, once."""
    left = [output.grad_fn for output in outputs]
    seen = set()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            left.extend(before for before, _ in node.next_functions)
