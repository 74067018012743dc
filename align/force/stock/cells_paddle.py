"""Gives the cells of Paddle's recurrent layers what torch's return: the states alone.

Paddle's return (output, states), of which the output is the first state once more.
"""

import functools
from collections.abc import Callable
from typing import Any

from paddle import nn

from align.arrays.arguments import Forward

CELLS = (nn.SimpleRNNCell, nn.GRUCell, nn.LSTMCell)
Wrap = Callable[[str, nn.Layer, Forward], Forward]


def states_alone(wrap: Wrap) -> Wrap:
    """Return `wrap`, which sees of a cell the states; who calls the cell sees what Paddle has."""

    def wrapping(path: str, layer: nn.Layer, forward: Forward) -> Forward:
        if not isinstance(layer, CELLS):
            return wrap(path, layer, forward)

        @functools.wraps(forward)
        def states_of(*args: Any, **kwargs: Any) -> Any:
            return forward(*args, **kwargs)[1]

        wrapped = wrap(path, layer, states_of)

        @functools.wraps(wrapped)
        def called(*args: Any, **kwargs: Any) -> Any:
            states = wrapped(*args, **kwargs)
            return states[0] if isinstance(states, (tuple, list)) else states, states

        return called

    return wrapping
