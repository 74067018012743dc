"""What calls do not show: layers that are lost, buffers, gradients of parameters, no calls."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from align.distances import magnitude
from align.forcing import NotAlone
from align.found import Forced
from align.judge import (
    DIFFERS,
    EQUAL,
    NOISE,
    UNCHECKED,
    Allowance,
    Comparison,
    compare,
    compare_gradients,
)
from align.pairing import Pairing
from align.running_variance import biased, in_words
from align.tensors import join, tensors_of
from align.trace import Trace

if TYPE_CHECKING:
    from align.reference import Reference


ZERO = 1e-9  # of the standard deviation: a running mean below it holds nothing else


def not_reached(call: Comparison, called: set[str]) -> bool:
    """Tell whether a layer's tensor differs because the code around raised before calling it."""
    own = call.where.startswith(("grad:", "buffer:"))
    return own and call.verdict == DIFFERS and call.layer not in called


def in_place(path: str) -> Comparison:
    """Return what cannot be checked: recording works out of place, and that changes the result."""
    into = Comparison(path, f"{path}#0", "output:0", "layer", verdict=UNCHECKED)
    into.cause = f"{path} writes into its input, and other code of the reference reads it after"
    return into


def compare_buffers(
    torch_net: Any, found: Forced, after: Mapping[str, np.ndarray]
) -> list[Comparison]:
    """Compare what a train-mode pass left in the buffers of matched layers."""
    from align.reference import reference_of

    net = reference_of(torch_net)
    names = names_by_layer(found.trace.buffers)
    comparisons = []
    factors: dict[str, float] = {}
    for pair in found.judged.partners.items():
        for into, factor in buffers_of(net, found, pair, names.get(pair[1], ()), after):
            comparisons.append(into)
            if factor is not None:
                factors[pair[0].removeprefix("net.")] = factor
    found.notes += in_words(factors)
    return comparisons


def buffers_of(
    net: "Reference",
    found: Forced,
    pair: tuple[str, str],
    names: Iterable[str],
    after: Mapping[str, np.ndarray],
) -> Iterator[tuple[Comparison, float | None]]:
    """Compare the buffers `names` of one layer, whose paths are `pair`: (port, reference).

    Yields with each the factor by which the port's variance is a biased one, if it is.
    """
    port, reference = pair
    for name in names:
        full = join(reference, name)
        own = join(port, name) in after
        local = name if own else BUFFER_NAMES.get(name, name)
        before = found.trace.buffers_before[full]
        if join(port, local) not in after and np.array_equal(before, found.trace.buffers[full]):
            continue  # a constant, which the port may hold as a number
        into = Comparison(port, f"{reference}#last", f"buffer:{local}", "layer")
        ours = after.get(join(port, local))
        factor = None
        if ours is None:
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = f"the reference updates {full}, the port has no such buffer"
        else:
            allowance = found.moves.allow(("", 0, f"buffer:{full}"))
            compare(found.trace.buffers[full], ours, allowance, into)
            if into.verdict == DIFFERS and name == "running_var":
                calls = [call for call in found.trace.calls if call.path == reference]
                factor = biased(net.momentum(reference), calls, before, ours)
                if factor is not None:
                    into.verdict, into.floor = EQUAL, into.relative_error
                    into.cause = "averages the biased variance"
            if into.verdict == UNCHECKED and name == "running_mean" and _is_zero(found, reference):
                into.verdict, into.cause = NOISE, None
        yield into, factor


def _is_zero(found: Forced, path: str) -> bool:
    """Tell whether a running mean is 0 but for rounding, beside the running variance.

    That of what a convolution makes of normalised values, as in an inverted residual.
    """
    mean, variance = (
        found.trace.buffers.get(join(path, name)) for name in ("running_mean", "running_var")
    )
    if mean is None or variance is None or not variance.size:
        return False
    return magnitude(mean) <= ZERO * magnitude(variance) ** 0.5


# A layer's buffers by their name in torch; what is not listed has the same name on both sides.
BUFFER_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


def names_by_layer(names: Iterable[str]) -> dict[str, list[str]]:
    """Return {path: names of what it holds} of "path.name"."""
    found: dict[str, list[str]] = {}
    for full in names:
        path, _, name = full.rpartition(".")
        found.setdefault(path, []).append(name)
    return found


def compare_parameter_gradients(
    torch_net: Any,
    paddle_net: Any,
    found: Forced,
    gradients: Mapping[int, Any],
    random: Mapping[int, str],
    users: Mapping[int, set[str]],
) -> list[Comparison]:
    """Compare the gradient of every parameter, summed over all calls of its layer.

    `users` are the paths in the reference of the calls that each parameter's gradient came from.
    """
    from align.arrays_paddle import to_array
    from align.reference import reference_of

    frozen = reference_of(torch_net).frozen()
    parameters = paddle_net.state_dict()
    comparisons = []
    for tensor in tensors_of(paddle_net, _with_gradients(found)):
        if tensor.buffer or tensor.reference is None or tensor.reference not in frozen:
            continue
        parameter = parameters[tensor.key]
        into = Comparison(tensor.layer, "", f"grad:{tensor.name}", "layer")
        if parameter.stop_gradient != frozen[tensor.reference]:
            words = ("frozen", "trained") if parameter.stop_gradient else ("trained", "frozen")
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = f"{words[0]} in the port, {words[1]} in the reference"
            comparisons.append(into)
            continue
        ours = gradients.get(id(parameter))
        if tensor.key in found.complete:
            if ours is not None:  # then code of the port uses it without its layer
                raise NotAlone
            comparisons.append(found.complete[tensor.key])
            continue
        expected = tensor.of(found.trace.gradients)
        if expected is None and ours is None:
            continue  # neither side's loss reaches it
        allowance = found.moves.allow(("", 0, f"grad:{tensor.reference}"))
        if id(parameter) in random:
            allowance = Allowance(random=random[id(parameter)])
        array = None if ours is None else to_array(ours)
        compare_gradients(expected, array, allowance, into)
        if into.verdict == DIFFERS:
            user = _user(tensor.layer, found, users.get(id(parameter), set()))
            holders = {key.rpartition(".")[0] for key, p in parameters.items() if p is parameter}
            if user is not None and user not in holders:
                into.where = f"grad:{tensor.key.removeprefix(f'{user}.' if user else '')}"
                into.layer, into.kind = user, "glue"
        comparisons.append(into)
    return comparisons


def _user(holder: str, found: Forced, users: set[str]) -> str | None:
    """Return the layer whose code uses a parameter of `holder`, where `holder` is not to blame.

    That is where the reference never calls `holder`, or where all else of it is right and all is
    not in that code. Of a layer without a partner (a projection of stock attention) the code
    around it is to blame where that gives other values, too. Otherwise None.
    """
    partners, called = found.judged.partners, {call.path for call in found.trace.calls}
    using = [port for port, path in partners.items() if path in users and port != holder]
    above = _nearest(holder, {port for port, path in partners.items() if path in called})
    if holder not in found.pairing.partners:
        return above if above in _wrong(found.values) else None
    if partners.get(holder) in called:
        wrong = _wrong(found.comparisons)
        using = [port for port in using if port in wrong and holder not in wrong]
        return using[0] if len(using) == 1 else None
    return using[0] if len(using) == 1 else above


def _wrong(comparisons: list[Comparison]) -> set[str]:
    return {call.layer for call in comparisons if call.verdict == DIFFERS}


def _with_gradients(found: Forced) -> Pairing:
    """Return the judged pairing and the layers whose parameters the reference uses uncalled."""
    groups = found.pairing.reference_group
    called = {groups[call.path] for call in found.trace.calls if call.path in groups}
    uneven = set(groups.values()) - set(found.judged.reference_group.values())
    return found.pairing.without(uneven & called)


def unseen(found: Forced, is_seen: Callable[[str], bool | None]) -> list[Comparison]:
    """Return a difference for each layer that the port lost and that nothing else would miss.

    A layer of the reference that is called and not judged (no partner, or another number of
    calls) is judged as a part of the layer around it, where its result reaches anything there.
    Where it does not (an auxiliary head that is not returned), equal outputs prove nothing.
    """
    trace, judged = found.trace, set(found.judged.reference_group)
    called = {call.path for call in trace.calls}
    comparisons = []
    for path in trace.paths:
        above = _nearest(path, judged)
        lost = path in called and path not in judged and _holds_parameters(trace, path)
        if not lost or _nearest(path, called - judged) or above is None:
            continue
        seen = is_seen(path)
        if seen:
            continue
        partners = found.judged.partners.items()
        layer = next((port for port, reference in partners if reference == above), "")
        into = Comparison(layer, f"{path}#0", "calls", "glue", verdict=DIFFERS)
        into.relative_error = float("inf")
        into.cause = f"the reference calls {path} here, the port does not"
        if seen is None:
            into.verdict, into.relative_error = UNCHECKED, 0.0
            into.cause += "; the recording does not say whether its result is used"
        comparisons.append(into)
    return comparisons


def _nearest(path: str, among: set[str]) -> str | None:
    """Return the closest path above `path` that is in `among`."""
    while path:
        path = path.rpartition(".")[0]
        if path in among:
            return path
    return None


def _holds_parameters(trace: Trace, path: str) -> bool:
    return any(name.startswith(f"{path}.") for name in trace.parameters)


def unless_compared(comparisons: Sequence[Comparison], words: str) -> list[Comparison]:
    """Return one comparison that could not be made where there is none; else nothing."""
    if comparisons:
        return []
    nothing = Comparison("", "", "output", "glue", verdict=UNCHECKED)
    nothing.cause = words
    return [nothing]
