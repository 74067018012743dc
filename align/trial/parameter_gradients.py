"""Compares the gradients of parameters, summed over all calls of their layer."""

from collections.abc import Mapping, Sequence
from typing import Any

from align.force.frame import NeedsWholeRun
from align.judge.compare import Allowance, compare_gradients
from align.judge.comparison import DIFFERS, Comparison
from align.judge.where import Where
from align.judge.words import Cause
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.tensors import Tensor, nearest_above
from align.trial.findings import Findings


def compare_parameter_gradients(
    sides: Sides[Reference],
    found: Findings,
    gradients: Mapping[int, Any],
    random: Mapping[int, str],
    users: Mapping[int, set[str]],
) -> list[Comparison]:
    """Compare the gradient of every parameter, summed over all calls of its layer.

    `users` are the paths in the reference of the calls that each parameter's gradient came from.
    """
    from align.arrays.arrays_paddle import to_array

    frozen = sides.reference.frozen()
    parameters = sides.port.state_dict()
    comparisons = []
    tensors = sides.tensors_in(_with_gradients(found))
    identities = sides.reference.identities()
    compared: set[tuple[int, int | None]] = set()
    settled = _settled(sides, found, tensors)
    for tensor in tensors:
        if tensor.buffer or tensor.reference is None or tensor.reference not in frozen:
            continue
        parameter = parameters[tensor.key]
        into = Comparison(tensor.layer, "", f"grad:{tensor.name}", "layer")
        if parameter.stop_gradient != frozen[tensor.reference]:
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = Cause("frozen" if parameter.stop_gradient else "trained")
            comparisons.append(into)
            continue
        ours = gradients.get(id(parameter))
        pair = id(parameter), identities.get(tensor.reference)
        if tensor.layer not in sides.layers and pair in compared:
            continue  # another path of a layer, whose first one was judged
        compared.add(pair)
        if tensor.key in found.complete:
            if ours is not None:  # then code of the port uses it without its layer
                raise NeedsWholeRun
            comparisons.append(found.complete[tensor.key])
            continue
        if id(parameter) in settled:  # the same parameter under another name
            if ours is not None or settled[id(parameter)] != identities.get(tensor.reference):
                raise NeedsWholeRun
            continue
        expected = tensor.of(found.trace.gradients)
        if expected is None and ours is None:
            continue  # neither side's loss reaches it
        allowance = found.allow_gradient(str(tensor.reference))
        if id(parameter) in random:
            allowance = Allowance(random=random[id(parameter)])
        array = None if ours is None else to_array(ours)
        compare_gradients(expected, array, allowance, into)
        if into.verdict == DIFFERS:
            user = _user(tensor.layer, found, users.get(id(parameter), set()))
            holders = {key.rpartition(".")[0] for key, p in parameters.items() if p is parameter}
            if user is not None and user not in holders:
                into.where = str(Where("grad", tensor.key.removeprefix(f"{user}." if user else "")))
                into.layer, into.kind = user, "glue"
        comparisons.append(into)
    return comparisons


def _settled(
    sides: Sides[Reference], found: Findings, tensors: Sequence[Tensor]
) -> dict[int, int | None]:
    """Return {identity in the port: in the reference} of the parameters that are judged already."""
    parameters, identities = sides.port.state_dict(), sides.reference.identities()
    return {
        id(parameters[tensor.key]): identities.get(str(tensor.reference))
        for tensor in tensors
        if tensor.key in found.complete
    }


def _user(holder: str, found: Findings, users: set[str]) -> str | None:
    """Return the layer whose code uses a parameter of `holder`, where `holder` is not to blame.

    That is where the reference never calls `holder`, or where all else of it is right and all is
    not in that code. Of a layer without a partner (a projection of stock attention) the code
    around it is to blame where that gives other values, too. Otherwise None.
    """
    partners, called = found.judged.partners, {call.path for call in found.trace.calls}
    using = [port for port, path in partners.items() if path in users and port != holder]
    above = nearest_above(holder, {port for port, path in partners.items() if path in called})
    if holder not in found.pairing.partners:
        return above if above in _wrong(found.values) else None
    if partners.get(holder) in called:
        wrong = _wrong(found.comparisons)
        using = [port for port in using if port in wrong and holder not in wrong]
        return using[0] if len(using) == 1 else None
    return using[0] if len(using) == 1 else above


def _wrong(comparisons: list[Comparison]) -> set[str]:
    return {call.layer for call in comparisons if call.verdict == DIFFERS}


def _with_gradients(found: Findings) -> Pairing:
    """Return the judged pairing and the layers whose parameters the reference uses uncalled."""
    groups = found.pairing.reference_group
    called = {groups[call.path] for call in found.trace.calls if call.path in groups}
    uneven = set(groups.values()) - set(found.judged.reference_group.values())
    return found.pairing.without(uneven & called)
