"""What the backward of a function reads of its own results, moved in the last place."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
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
NORMS = ("NativeBatchNormBackward0", "NativeLayerNormBackward0", "NativeGroupNormBackward0")


def move_own_results(outputs: Iterable[torch.Tensor], noise: Noise) -> None:
    """Let what the backward of `outputs` reads of its own results arrive there moved by `noise`."""
    for node in _nodes(outputs):
        for name in _subtracted(node):
            saved = getattr(node, f"_raw_saved_{name}", None)
            if saved is not None:
                with suppress(RuntimeError):  # moved already, or written into since
                    saved.register_hooks(_as_it_is, noise.jitter)


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _subtracted(node: Any) -> tuple[str, ...]:
    """Return which results of its own the backward of `node` subtracts from."""
    if node.name() not in NORMS:
        return SUBTRACTED.get(node.name(), ())
    with suppress(RuntimeError):
        values, channels = node._saved_input.numel(), node._saved_result1.numel()
        if channels and values // channels <= FEW_OF_CHANNEL:
            return STATISTICS
    return ()


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
