"""One tensor's move from the checkpoint to the net."""

from dataclasses import dataclass

import numpy as np

from convert.names.spec import Piece, TensorSpec


@dataclass(frozen=True)
class Move:
    """`target` is filled from the file's tensor `source`, or from a piece of it.

    `change` is "copied" (same name, same layout), "renamed" (other name), "transposed", "split" (a
    piece, in Paddle's layout) or "reshaped". `transposed` tells the layout of a split one.
    """

    source: str
    target: TensorSpec
    change: str
    transposed: bool = False
    piece: Piece | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return what the target is filled with, a view where the array allows it."""
        if self.piece is not None:
            array = self.piece.of(array)
        if self.transposed:
            array = array.T
        return array if array.shape == self.target.shape else array.reshape(self.target.shape)
