"""Recurrent cells that return their new states alone, as torch's do."""

from typing import Any

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
