"""Floors of a trace whose port is not known yet, measured on the reference."""

from torch import nn

from align.arrays.memory import give_back
from align.record.recording_torch import ReferenceRun
from align.record.trace import CallPlace, Trace
from align.rounding.movements_torch import Movements
from align.rounding.rounding_torch import Rounding, constant_moves, kernel_moves
from align.stored.format import Floor

LEVELS = ("all", "layers", "root")


def is_layer(net: nn.Module, path: str) -> bool:
    """Tell whether a module holds parameters and no other module, or is the root."""
    module = net.get_submodule(path)
    return not path or (
        not module._modules and any(p is not None for p in module._parameters.values())
    )


def floors(net: nn.Module, trace: Trace, run: ReferenceRun) -> list[Floor]:
    """Return how far each tensor moves, for three choices of what the port will match.

    A module that the port lacks is code of the layer around it, and roundings add up through it.
    Every choice cannot be measured. These are: every module is matched; only layers with
    parameters are (conversion needs these anyway, activations and containers often differ); only
    the root is. The port's side takes the first whose matched modules are all matched by the port
    too, within the code that made the tensor: so nothing between two boundaries is left out, and
    more roundings than there are may be allowed, never fewer.
    """
    every = set(trace.paths)
    judged = {
        "all": every,
        "layers": {path for path in every if is_layer(net, path)},
        "root": {""},
    }
    rounding: dict[str, Movements] = {}
    kernels: dict[str, Movements] = {}
    for level in LEVELS:
        watched = every - judged[level]
        measured = Rounding(net, trace, run, judged[level], watched)
        measured.finish()
        rounding[level] = measured.moves
        del measured
        give_back()
        kernels[level] = kernel_moves(net, trace, run, judged[level], watched)
        give_back()
    constants = constant_moves(net, trace, run)
    places = dict.fromkeys(place for level in LEVELS for place in rounding[level])

    def at(level: str, place: CallPlace) -> tuple[float, float] | None:
        if place not in rounding[level]:
            return None
        return rounding[level][place], kernels[level].get(place, 0.0)

    return [
        Floor(
            *place,
            at("all", place),
            at("layers", place),
            at("root", place),
            constants=constants.get(place, 0.0),
        )
        for place in places
    ]
