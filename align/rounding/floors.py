"""What rounding explains at each place, measured on the reference."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from align.judge.compare import Allowance
from align.judge.where import Where
from align.nets.asked import ASSIGNMENT
from align.nets.calls import is_net_with_loss
from align.pairing.by_path import Pairing
from align.record.trace import Call, CallPlace, Trace
from align.rounding.allowances import Sums


class Floors:
    """How far each tensor of the reference moves when roundings are exaggerated.

    Two more forced runs of the reference: one in which inputs, weights and cotangents move by one
    unit in the last place, one in which the kernels of `align.judge.kernels` are off by their row.
    """

    def __init__(self, torch_net: Any, trace: Trace, run: Any, judged: Pairing, dtype: str) -> None:
        from align.rounding.rounding_torch import Rounding

        self.net, self.trace, self.run = torch_net, trace, run
        self.judged = set(judged.reference_group)
        self._rounding = Rounding(torch_net, trace, run, self.judged)
        self.rounding: Mapping[CallPlace, float] = self._rounding.moves
        self.kernels: dict[CallPlace, float] = {}
        self.unit = float(np.finfo(dtype).eps)
        self.sums = Sums(trace)

    def alone(self, call: Call) -> None:
        """Measure at one call by itself, while the reference's backward runs."""
        self._rounding.alone(call)

    def not_needed(self, paths: Iterable[str]) -> None:
        """Leave out modules whose only call is equal whatever rounding does."""
        self._rounding.not_needed(paths)

    def lost_in_sums(self, name: str, parameter: Any) -> float:
        """Return what the gradient of a bias loses as a sum over pixels, whatever it comes to."""
        return self._rounding.lost_in_sums(name, parameter)

    def drops(self, name: str, gradient: Any) -> None:
        """Note the gradient of a parameter that is judged and will not be kept."""
        self._rounding.drops(name, gradient)

    def together(self, call: Call, within: list[Call]) -> bool:
        """Measure likewise at one call and the calls `within` it; False where that fails.

        Then what was measured does not hold, and is measured again by `finish`.
        """
        from align.rounding.rounding_torch import kernel_moves_together

        try:
            if not self._rounding.together(call, within):
                return False
            place = (self.net, self.trace, self.run, self.judged)
            self.kernels |= kernel_moves_together(*place, call, within)
        except Exception:  # code of the net that cannot run by itself
            return False
        return True

    def keep_together(self, call: Call, within: list[Call]) -> None:
        """Let what `together` measured hold."""
        self._rounding.keep_together(call, within)

    def finish(self) -> None:
        """Measure everywhere else, after the reference's run."""
        from align.rounding.rounding_torch import kernel_moves

        self._rounding.finish()
        self.kernels |= kernel_moves(self.net, self.trace, self.run, self.judged)

    def allow(self, place: CallPlace) -> Allowance:
        """Return what rounding explains at `place`."""
        path, at = place[0], Where.of(place[2])
        if not path and at.name and at.kind in ("grad", "buffer"):
            path = at.module
        rounding, kernels = self.rounding.get(place, 0.0), self.kernels.get(place, 0.0)
        allowance = self.sums.allowance(path, rounding, kernels, self.unit)
        if path == ASSIGNMENT and at.kind == "output" and is_net_with_loss(self.net):
            return replace(allowance, others=partial(self._other_choices, place, int(at.name)))
        return allowance

    def _other_choices(self, place: CallPlace, index: int) -> list[np.ndarray]:
        """Return what else the criterion may choose, see `other_choices`."""
        from align.rounding.other_choices_torch import other_choices

        call = next(c for c in self.trace.calls if (c.path, c.index) == place[:2])
        return other_choices(self.net.get_submodule(ASSIGNMENT), call, index)
