"""What long sums add to the allowance of a tensor."""

from align.judge.compare import Allowance
from align.pairing.tensors import ancestors
from align.record.trace import Trace, around

TINY = 8  # values: so few of a gradient may be nothing but rounding


class Sums:
    """How many values the code of each module may add up."""

    def __init__(self, trace: Trace) -> None:
        self.summed: dict[str, int] = {}
        self.reach: dict[str, int] = {}
        for call in trace.calls:
            self.summed[call.path] = max(call.values_per_channel, self.summed.get(call.path, 0))
            for path in {*ancestors(call.path), *around([call])}:
                self.reach[path] = max(call.largest_size, self.reach.get(path, 0))

    def allowance(self, path: str, rounding: float, kernels: float, unit: float) -> Allowance:
        """Return the allowance at the module `path` with what was measured there."""
        summed, reach = self.summed.get(path, 0), self.reach.get(path, 0)
        return Allowance(rounding, kernels, unit, summed, reach=reach)
