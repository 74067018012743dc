"""Floors of a trace whose port is not known yet, measured on the reference."""

from torch import nn

from align.arrays.memory import give_back
from align.judge.compare import UNSTABLE
from align.nets.asked import ASSIGNMENT
from align.nets.calls import is_net_with_loss
from align.record.recording_torch import ReferenceRun
from align.record.trace import CallPlace, Trace
from align.rounding.movements_torch import Movements
from align.rounding.other_choices_torch import other_choices
from align.rounding.rounding_torch import Rounding, constant_moves, kernel_moves
from align.stored.format import Floor

LEVELS = ("all", "layers", "root")


def is_layer(net: nn.Module, path: str) -> bool:
    """Tell whether a module holds parameters and no other module, or is the root."""
    module = net.get_submodule(path)
    return not path or (
        not module._modules and any(p is not None for p in module._parameters.values())
    )


def choice_moves(net: nn.Module, trace: Trace) -> Movements:
    """Return how many whole numbers of a criterion's `assignment` other choices change at most.

    As `compare` takes what was seen once: a part of it.
    """
    found: Movements = {}
    for call in trace.calls:
        for index, chosen in enumerate(call.outputs if call.path == ASSIGNMENT else ()):
            if chosen.dtype.kind in "iub":
                others = other_choices(net.get_submodule(ASSIGNMENT), call, index)
                changed = [int((o != chosen).sum()) for o in others if o.shape == chosen.shape]
                found[call.place(f"output:{index}")] = max(changed, default=0) / UNSTABLE
    return found


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
    if is_net_with_loss(net):
        rounding["all"] |= choice_moves(net, trace)
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
