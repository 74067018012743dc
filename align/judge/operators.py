"""Operators of Paddle that hold numbers in float32, whatever of torch they stand for.

`align.judge.kernels` goes by the function of torch that ran. A port may call one operator for what
the reference writes out: `F.batch_norm` for a frozen BatchNorm by hand, `paddle.stanh` for
`b * tanh(a * x)`, `F.label_smooth` for `y * (1 - e) + e / k`. Then the operator says how far off
the code that calls it may be: as far as the reference's code moves where what it is given moves by
so much, and by so much of its results.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.judge.kernel_names import EXACT_ORDERS, NORMS
from align.judge.kernels import (
    EPS32,
    NORM_ERROR,
    NORM_GRADIENT,
    POWER_ERROR,
    SERIES_ERROR,
)

# `x + 1e-5` in code, told by `align.nets.casts` of a Paddle that does so, with the share of the
# largest result by which the number is off.
ADDED = "number added"


@dataclass(frozen=True)
class Operator:
    """One row: errors of values and of gradients, as fractions.

    `numbers`: only where a number that it is called with is none that float32 holds; then `share`
    of how far the worst of them is off: an epsilon. `functions` are the rows of `KERNELS` by
    which code of the reference is allowed for already.
    """

    name: str
    why: str
    forward: float
    backward: float
    functions: tuple[str, ...] = ()
    numbers: bool = True
    share: float = 0.0

    def errors(self, arguments: Iterable[Any]) -> tuple[float, float]:
        """Return (forward, backward) of a call with these plain arguments."""
        if self.name == ADDED:
            (off,) = arguments
            return off, off
        floats = [value for value in arguments if type(value) is float and value]
        if self.name == "p_norm" and floats and floats[0] in EXACT_ORDERS:
            return 0.0, self.backward
        off = max((abs(float(np.float32(value)) / value - 1.0) for value in floats), default=0.0)
        if self.numbers and not off:
            return 0.0, 0.0
        if self.share:
            return self.share * off, self.share * off
        return self.forward, self.backward


OPERATORS = {
    row.name: row
    for row in (
        *(
            Operator(name, "holds epsilon in float32", EPS32, EPS32, functions, share=0.5)
            for name, functions in (
                ("batch_norm", ()),
                ("layer_norm", ("layer_norm",)),
                ("instance_norm", ("instance_norm",)),
            )
        ),
        *(
            Operator(name, "holds its numbers in float32", EPS32, EPS32, functions)
            for name, functions in (
                ("stanh", ()),
                ("label_smooth", ("cross_entropy",)),
                ("huber_loss", ("huber_loss", "smooth_l1_loss")),
                ("thresholded_relu", ("threshold",)),
                ("hardtanh", ("hardtanh",)),
                ("softshrink", ("softshrink",)),
                ("hard_shrink", ("hardshrink",)),
                ("elu", ("elu",)),
                ("celu", ("celu",)),
                ("rrelu", ("rrelu",)),
                ("renorm", ("renorm",)),
                ("addmm", ("addmm",)),
                ("baddbmm", ("baddbmm",)),
            )
        ),
        Operator(ADDED, "holds its number in float32 before 3.0", 0.0, 0.0, ("add", "sub", "rsub")),
        Operator("hardsigmoid", "holds its slope in float32", 4e-7, 4e-7, ("hardsigmoid",), False),
        Operator("selu", "holds scale and alpha in float32", 2e-7, 2e-7, ("selu",), False),
        Operator("pow", "holds the exponent in float32", POWER_ERROR, POWER_ERROR, ("pow", *NORMS)),
        Operator(
            "p_norm", "goes through float32", NORM_ERROR, NORM_GRADIENT, (*NORMS,), numbers=False
        ),
        Operator("dist", "goes through float32", NORM_ERROR, NORM_ERROR, NORMS, numbers=False),
        Operator("digamma", "cuts its series off", 0.0, SERIES_ERROR, ("digamma",), numbers=False),
    )
}
