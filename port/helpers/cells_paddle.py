"""Recurrent cells that return their new states alone, as torch's do, and their sequences."""

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn


class LSTMCellOfStates(nn.LSTMCell):
    """An LSTMCell that returns (hidden, cell): Paddle's returns the output in front of them."""

    def forward(self, x: Any, states: Any = None) -> Any:
        """Return both new states, [N, width]."""
        return super().forward(x, states)[1]


class GRUCellOfStates(nn.GRUCell):
    """A GRUCell that returns its state: Paddle's returns it twice."""

    def forward(self, x: Any, states: Any = None) -> Any:
        """Return the new state, [N, width]."""
        return super().forward(x, states)[1]


class RNNCellOfStates(nn.SimpleRNNCell):
    """An RNNCell that returns its state: Paddle's SimpleRNNCell returns it twice."""

    def forward(self, x: Any, states: Any = None) -> Any:
        """Return the new state, [N, width]."""
        return super().forward(x, states)[1]


def padded_sequences(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0
) -> Any:
    """Stack sequences [L, *] as [longest, N, *], filled at their ends: Paddle has no such call."""
    longest = max(len(one) for one in sequences)
    filled = [
        paddle.concat(
            [one, paddle.full([longest - len(one), *one.shape[1:]], padding_value, one.dtype)]
        )
        for one in sequences
    ]
    return paddle.stack(filled, axis=0 if batch_first else 1)


def recurrent_names(layer: Any) -> list[list[str]]:
    """Return the names of a recurrent layer's weights, a list for each of its layers and ways."""
    ways = ("", "_reverse")[: layer.num_directions]
    ends = [f"_l{number}{way}" for number in range(layer.num_layers) for way in ways]
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [[f"{kind}{end}" for kind in kinds] for end in ends]


def recurrent_weights(layer: Any) -> list[list[Any]]:
    """Return a recurrent layer's weights, layer by layer: Paddle lists one kind after another."""
    return [[getattr(layer, name) for name in names] for names in recurrent_names(layer)]
