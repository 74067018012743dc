"""Weights that start at zero hide what they multiply: a pair runs once more with others there."""

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from align.judge.comparison import DIFFERS, UNCHECKED, Comparison
from align.judge.words import Cause, Words
from align.trial.findings import Findings
from align.trial.unshown.evidence import in_doubt
from common.nets import members

if TYPE_CHECKING:
    from align.pairing.reference import Reference
    from align.pairing.reference_torch import LiveReference
    from align.pairing.sides import Sides
    from convert.names.spec import TensorSpec

Zeros = dict[str, list[Any]]  # a parameter of the reference: the port's tensors that stand for it


def run_past_zero_weights(sides: "Sides[LiveReference]", run: Callable[[], Findings]) -> Findings:
    """Return what `run` finds; nets whose weights are zero run again with the same other ones.

    A residual branch whose last scale starts at zero shows nothing of its code, nor do gradients
    in front of it. So zero parameters of both sides get the same values, once; of that run those
    layers are taken that gave nothing to compare, and what differs where nothing else does. Both
    nets are `prepared`, and have their own values again afterwards.
    """
    from align.nets.prepare_paddle import remembered

    zeros = _zeros(sides)
    undo = remembered(sides.port) if zeros else None
    found = run()
    if undo is None:
        return found
    hidden = in_doubt(found)
    if not (hidden or any(not _is_bias(name) for name in zeros)):
        return found
    undo()
    try:
        with _filled(sides, zeros):
            again = run()
    except Exception:  # code that takes no such weights
        found.unreached += behind_zero_weights(sides, found)
        return found
    _take(found, again, set(hidden) - set(in_doubt(again)))
    name = min(zeros, key=_is_bias)
    found.notes.append(Words("zero_weights", count=len(zeros), name=name))
    return found


def behind_zero_weights(sides: "Sides[Reference]", found: Findings) -> list[Comparison]:
    """Return what `hidden_by` says of the layers that ran: for where no other weights are had."""
    called = {call.path for call in found.trace.calls}
    ran = {port for port, path in found.judged.partners.items() if path in called}
    return hidden_by(sides.port, sides.specs, ran)


def hidden_by(port: Any, specs: "Iterable[TensorSpec]", ran: Container[str]) -> list[Comparison]:
    """Return that it could not be checked what the weights of `port` hide that are zero all over.

    One row for each in the layers that `ran`; a bias that is zero hides nothing but itself, and
    running statistics multiply nothing. `specs` are of the port's state dict.
    """
    parameters = dict(members.named_parameters(port))
    return [
        Comparison(
            layer=spec.layer,
            call=spec.layer,
            where=f"weight:{spec.key.rpartition('.')[2]}",
            kind="layer",
            verdict=UNCHECKED,
            cause=Cause("behind_zero_weight", name=spec.key),
        )
        for spec in specs
        if spec.layer in ran and not (spec.role.startswith("running_") or _is_bias(spec.key))
        if spec.key in parameters and _is_zero(parameters[spec.key])
    ]


def _zeros(sides: "Sides[LiveReference]") -> Zeros:
    """Return the parameters that are zero on both sides, under one of their names each."""
    ours = sides.port.state_dict()
    theirs = dict(members.named_parameters(sides.reference.net, remove_duplicate=False))
    zero = {key for key, parameter in theirs.items() if _is_zero(parameter)}
    found: dict[int, tuple[str, list[Any]]] = {}
    for tensor in sides.tensors if zero else ():
        if tensor.reference in zero:
            key = id(theirs[tensor.reference])
            found.setdefault(key, (tensor.reference, []))[1].append(tensor)
    return {
        name: tensors
        for name, tensors in found.values()
        if all(_is_zero(ours[tensor.key]) for tensor in tensors)
    }


def _is_zero(tensor: Any) -> bool:
    """Tell whether a floating tensor of either framework is zero all over."""
    if "float" not in str(tensor.dtype) or 0 in tuple(tensor.shape):
        return False
    tensor = tensor.detach().reshape([-1])
    return not float(tensor[0]) and not bool((tensor != 0).any())


def _is_bias(name: str) -> bool:
    return "bias" in name.rpartition(".")[2]


@contextmanager
def _filled(sides: "Sides[LiveReference]", zeros: Zeros) -> Iterator[None]:
    """Give each of `zeros` seeded values that are not zero, on both sides the same."""
    from align.arrays.arrays_torch import to_tensor
    from align.nets import prepare_paddle, prepare_torch

    net, ours = sides.reference.net, sides.port.state_dict()
    theirs = dict(members.named_parameters(net, remove_duplicate=False))
    rng = np.random.default_rng(0)
    with prepare_torch.state_kept(net), prepare_paddle.state_kept(sides.port):
        for name, tensors in zeros.items():
            parameter = theirs[name]
            values = _values(rng, name, tuple(parameter.shape))
            parameter.data.copy_(to_tensor(values))
            for tensor in tensors:
                port = np.ascontiguousarray(tensor.in_layout(values))
                dtype = str(ours[tensor.key].dtype).rpartition(".")[2]
                ours[tensor.key].set_value(port.astype(dtype))
        yield


def _values(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return what float32 holds: scales around 1, small biases, matrices that keep the size."""
    if _is_bias(name):
        values = rng.normal(0.0, 0.1, shape)
    elif len(shape) < 2:
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5
    return np.asarray(values, np.float32)


def _take(found: Findings, again: Findings, shown: set[str]) -> None:
    """Put what `again` shows of the layers `shown` into `found`, and what differs there alone."""
    wrong = {call.layer for call in found.comparisons if call.verdict == DIFFERS}
    found.comparisons = [call for call in found.comparisons if call.layer not in shown]
    found.comparisons += [
        call
        for call in again.comparisons
        if call.layer in shown or (call.verdict == DIFFERS and call.layer not in wrong)
    ]
