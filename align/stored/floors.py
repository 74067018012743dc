"""The floor of rounding that a stored trace holds."""

import numpy as np

from align.judge.compare import Allowance
from align.judge.where import Where
from align.pairing.by_path import Pairing
from align.record.trace import Call, CallPlace, nearest
from align.rounding.allowances import Sums
from align.stored.format import Floor, number
from align.stored.reference import StoredReference

OWN = ("output", "grad_input")  # what the code of a call itself makes
CONSTANTS_SPREAD = 2.0  # rounding a constant moves a tensor by what was measured, to first order


class StoredFloors:
    """The floors of a stored trace for one pairing.

    They are what `align.rounding.floors.Floors` is of a live net.

    Between two boundaries that the port matches, the reference may have modules that it does not
    (see `align.stored.floors_torch.floors`): then floors count that were measured with fewer
    modules judged, where they are larger.
    """

    def __init__(self, reference: StoredReference, judged: Pairing) -> None:
        self.reference, self.judged = reference, set(judged.reference_group)
        self.floors: dict[CallPlace, Floor] = {
            (floor.path, floor.call, floor.where): floor for floor in reference.manifest.floors
        }
        self.unit = float(np.finfo(np.float64).eps)
        self.sums = Sums(reference.trace)
        self.calls: dict[str, list[Call]] = {}
        self.unmatched: dict[int, list[Call]] = {}  # id of a call -> calls that are its code
        for call in reference.trace.calls:
            self.calls.setdefault(call.path, []).append(call)
            around = nearest(call.parent, self.judged)
            if call.path not in self.judged and around is not None:
                self.unmatched.setdefault(id(around), []).append(call)

    def allow(self, place: CallPlace) -> Allowance:
        """Return what rounding explains at `place`."""
        path, at = place[0], Where.of(place[2])
        of_tensor = not path and at.kind in ("grad", "buffer")
        module = at.module if of_tensor else path
        floor = self.floors.get(place)
        rounding = kernels = 0.0
        levels, inexact = self._levels(place, module, of_tensor)
        for level in ("all", "layers", "root")[:levels]:
            measured = None if floor is None else getattr(floor, level)
            if measured is not None:
                rounding = max(rounding, number(measured[0]))
                if level == "all" or inexact:
                    kernels = max(kernels, number(measured[1]))
        if floor is not None and module in self.reference.rounded:
            kernels += CONSTANTS_SPREAD * number(floor.constants)
        return self.sums.allowance(module, rounding, kernels, self.unit)

    def _levels(self, place: CallPlace, module: str, of_tensor: bool) -> tuple[int, bool]:
        """Return how many of the three kinds of floors count at a place.

        And whether the code that made the tensor, with the modules that the port lacks, called an
        inexact kernel: else those of other layers do not reach it.
        """
        if of_tensor:
            calls = self._calls_of(module)
        else:
            calls = [call for call in self.calls.get(module, []) if call.index == place[1]]
            if Where.of(place[2]).kind not in OWN:  # code around the call made it
                calls = [call.parent for call in calls if call.parent is not None]
        frames = [frame for frame in (nearest(c, self.judged) for c in calls) if frame is not None]
        inside = [call for frame in frames for call in self.unmatched.get(id(frame), [])]
        modules = self.reference.manifest.modules
        layers = any(modules[call.path].is_layer for call in inside)
        inexact = any(call.kernels for call in (*frames, *inside))
        return 3 if layers else 2 if inside else 1, inexact

    def _calls_of(self, module: str) -> list[Call]:
        """Return the calls of a module, or of the nearest around that is called."""
        while module not in self.calls and module:
            module = module.rpartition(".")[0]
        return self.calls.get(module, [])
