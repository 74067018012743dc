"""Compares what both nets hold at rest: weights, shapes, settings of their layers."""

from typing import Any

import numpy as np

from align.judge.comparison import DIFFERS, Comparison
from align.judge.relations import relation
from align.pairing.attributes import CLASS, differences
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.tensors import Tensor, tensors_of


def compare_weights(reference: Reference, paddle_net: Any, pairing: Pairing) -> list[Comparison]:
    """Return every comparison of the rung: attributes first, then tensors."""
    attributes = _compare_attributes(reference, paddle_net, pairing)
    return attributes + _compare_tensors(reference, paddle_net, pairing)


def compare_layers(
    reference: Reference, paddle_net: Any, pairing: Pairing, layers: set[str]
) -> list[Comparison]:
    """Return the comparisons of some layers of the port alone, what only one side has left out."""
    part = pairing.only(layers)
    attributes = _compare_attributes(reference, paddle_net, part)
    return attributes + _compare_matched(reference, paddle_net, part)[0]


def other_classes(
    reference: Reference, paddle_net: Any, pairing: Pairing, layers: set[str]
) -> list[Comparison]:
    """Return a difference for each of these layers of the port that is of another known class."""
    compared = _compare_attributes(reference, paddle_net, pairing.only(layers))
    return [c for c in compared if c.where == f"attribute:{CLASS}" and c.verdict == DIFFERS]


def _compare_tensors(reference: Reference, paddle_net: Any, pairing: Pairing) -> list[Comparison]:
    from align.nets.unregistered_paddle import unregistered
    from convert.names.spec import COUNTER

    found, taken = _compare_matched(reference, paddle_net, pairing)
    hint = unregistered(paddle_net)
    for tensor in tensors_of(paddle_net, pairing):
        if tensor.reference not in taken and tensor.key not in pairing.absent:
            found.append(_lost(tensor.layer, _where(tensor), f"{tensor.key} is in the port only"))
    same = reference.identities()
    known = {same[key] for key in taken - _in_part(paddle_net, pairing)}
    for spec in reference.specs():
        if spec.role == COUNTER or same[spec.key] in known or spec.key in pairing.dropped:
            continue
        known.add(same[spec.key])
        words = f"{spec.key} of the reference is registered nowhere in the port{hint}"
        found.append(_lost(_port_above(spec.layer, pairing), f"weight:{spec.role}", words))
    return found


def _compare_matched(
    reference: Reference, paddle_net: Any, pairing: Pairing
) -> tuple[list[Comparison], set[str]]:
    """Return the comparisons of tensors that both sides have, and their names in the reference."""
    from align.arrays import arrays_paddle

    theirs, ours = reference.arrays(), paddle_net.state_dict()
    found, taken, expected = [], set(), {}
    wrong: list[tuple[Comparison, Tensor]] = []
    for tensor in tensors_of(paddle_net, pairing):
        if tensor.reference is None or tensor.reference not in theirs:
            continue
        taken.add(tensor.reference)
        array = tensor.of(theirs)
        into = Comparison(tensor.layer, "", _where(tensor), "weight")
        expected[tensor.reference] = array
        found.append(_compare_tensor(array, arrays_paddle.to_array(ours[tensor.key]), into))
        if into.verdict == DIFFERS and into.relative_error != float("inf"):
            wrong.append((into, tensor))
    for into, tensor in wrong:
        port = arrays_paddle.to_array(ours[tensor.key])
        names = (key for key, array in expected.items() if _equal(array, port))
        name = next(names, None)
        into.cause = f"{into.cause}; it is the reference's {name}" if name else into.cause
    return found, taken


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two tensors that say something (more than one value) are equal."""
    return one.shape == other.shape and one.size > 1 and bool(np.ptp(one) and (one == other).all())


def _in_part(paddle_net: Any, pairing: Pairing) -> set[str]:
    """Return the reference's tensors of which the port has some pieces and not all."""
    pieces: dict[str, set[int]] = {}
    counts: dict[str, int] = {}
    for tensor in tensors_of(paddle_net, pairing):
        if tensor.piece is not None and tensor.reference is not None:
            pieces.setdefault(tensor.reference, set()).add(tensor.piece.index)
            counts[tensor.reference] = tensor.piece.count
    return {key for key, found in pieces.items() if len(found) < counts[key]}


def _where(tensor: Tensor) -> str:
    return f"{'buffer' if tensor.buffer else 'weight'}:{tensor.name}"


def _compare_tensor(reference: np.ndarray, port: np.ndarray, into: Comparison) -> Comparison:
    """Compare exactly; float32 against float64 by value."""
    into.shape = tuple(reference.shape)
    if reference.shape != port.shape:
        into.cause = f"shape {list(port.shape)}, the reference has {list(reference.shape)}"
        into.verdict, into.relative_error = DIFFERS, float("inf")
        return into
    left, right = reference.astype(np.float64), port.astype(np.float64)
    wrong = ~((left == right) | (np.isnan(left) & np.isnan(right)))
    if not wrong.any():
        return into
    distance = np.abs(left - right)
    worst = int(np.where(wrong, np.nan_to_num(distance, nan=np.inf), -1.0).argmax())
    into.worst_index = tuple(int(i) for i in np.unravel_index(worst, reference.shape))
    scale = float(np.abs(left).max()) or 1.0
    into.verdict, into.relative_error = DIFFERS, float(distance.flat[worst]) / scale
    into.reference_value, into.port_value = float(left.flat[worst]), float(right.flat[worst])
    into.cause = f"{int(wrong.sum())} of {wrong.size} values differ"
    words = relation(left, right)
    into.cause += f"; {words}" if words else ""
    return into


def _compare_attributes(
    reference: Reference, paddle_net: Any, pairing: Pairing
) -> list[Comparison]:
    from align.nets.layers_paddle import layers_by_path
    from align.pairing import attributes_paddle

    found = []
    layers = layers_by_path(paddle_net)
    for port, path in pairing.partners.items():
        layer = layers[port]
        theirs, ours = reference.attributes(path), attributes_paddle.attributes(layer)
        if port:  # a layer that is frozen in its own mode
            theirs["training"] = reference.is_in_mode(path)
            ours["training"] = layer.training == paddle_net.training
        wrong = {name: (left, right) for name, left, right in differences(theirs, ours)}
        for name in sorted(set(theirs) & set(ours)):
            into = Comparison(port, "", f"attribute:{name}", "attribute")
            if name in wrong:
                into.verdict, into.relative_error = DIFFERS, float("inf")
                into.cause = f"{name} is {wrong[name][1]}, the reference has {wrong[name][0]}"
            found.append(into)
    return found


def _port_above(path: str, pairing: Pairing) -> str:
    """Return the port's layer that stands for `path` of the reference or the nearest above."""
    ports = {reference: port for port, reference in pairing.partners.items()}
    while path not in ports and path:
        path = path.rpartition(".")[0]
    return ports.get(path, "")


def _lost(layer: str, where: str, cause: str) -> Comparison:
    return Comparison(
        layer, "", where, "weight", verdict=DIFFERS, relative_error=float("inf"), cause=cause
    )
