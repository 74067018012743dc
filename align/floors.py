"""What rounding explains at each place, measured on the reference."""

from typing import Any

import numpy as np

from align.judge import Allowance
from align.pairing import Pairing
from align.trace import Place, Trace


class Moves:
    """How far each tensor of the reference moves when roundings are exaggerated.

    Two more forced runs of the reference: one in which inputs, weights and cotangents move by one
    unit in the last place, one in which the kernels of `align.kernels` are off by their row.
    """

    def __init__(self, torch_net: Any, trace: Trace, run: Any, judged: Pairing, dtype: str) -> None:
        from align.record_torch import kernel_moves, rounding_moves

        reference = set(judged.reference_group)
        self.rounding = rounding_moves(torch_net, trace, run, reference)
        self.kernels = kernel_moves(torch_net, trace, run, reference)
        self.unit = float(np.finfo(dtype).eps)

    def allow(self, place: Place) -> Allowance:
        """Return what rounding explains at `place`."""
        return Allowance(self.rounding.get(place, 0.0), self.kernels.get(place, 0.0), self.unit)
