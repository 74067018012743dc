"""Compares what both nets hold at rest: weights, shapes, settings of their layers."""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from align.judge.comparison import DIFFERS, Comparison
from align.judge.relations import relation
from align.judge.where import Where
from align.judge.words import Cause, joined
from align.pairing.attributes import CLASS, differences, is_own, other_numbers, other_places
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.tensors import Tensor, tensors_of

if TYPE_CHECKING:
    from convert.names.spec import TensorSpec


class AtRest:
    """What two nets hold, compared where it is asked for: no tensor twice, no attribute twice.

    The values of both nets may not change between two questions. Every answer is one's own: what
    a report writes into it stays there.

    Args:
        reference: the net of torch, live or recorded.
        port: the `paddle.nn.Layer`.
        pairing: which layer of the port stands for which module.
        layers: the port's layers by path.
        specs: the port's tensors, in the order of its state dict.
    """

    def __init__(
        self,
        reference: Reference,
        port: Any,
        pairing: Pairing,
        layers: Mapping[str, Any],
        specs: "Sequence[TensorSpec]",
    ) -> None:
        self.reference, self.port, self.pairing = reference, port, pairing
        self.layers, self.specs = layers, specs
        self._compared: dict[str, Comparison] = {}  # by the port's key
        self._attributes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def compare_weights(self) -> list[Comparison]:
        """Return every comparison of the rung: attributes first, then tensors."""
        attributes = self._compare_attributes(self.pairing)
        found, taken = self._compare_matched(self.pairing)
        return attributes + found + self._lost(taken)

    def compare_layers(self, layers: set[str]) -> list[Comparison]:
        """Return the comparisons of some layers of the port alone, none of what one side lacks."""
        part = self.pairing.only(layers)
        return self._compare_attributes(part) + self._compare_matched(part)[0]

    def compare_tables(self) -> list[Comparison]:
        """Return what differs in tables of vectors, of which a run reads a few rows."""
        tables = {spec.layer for spec in self.specs if spec.kind == "Embedding"}
        found = self._compare_matched(self.pairing.only(tables))[0] if tables else []
        return [comparison for comparison in found if comparison.verdict == DIFFERS]

    def other_classes(self, layers: set[str]) -> list[Comparison]:
        """Return a difference for each of these layers of the port of another known class."""
        compared = self._compare_attributes(self.pairing.only(layers))
        return [c for c in compared if c.at == Where("attribute", CLASS) and c.verdict == DIFFERS]

    def other_geometry(self, layers: set[str]) -> list[Comparison]:
        """Return a difference for each setting by which one of these layers reads other places."""
        return [
            _lost(port, f"attribute:{name}", _attribute(name, theirs, ours), "attribute")
            for port in self.pairing.only(layers).partners
            for name, theirs, ours in other_places(*self.attributes(port))
        ]

    def other_numbers(self) -> list[tuple[str, str, Any, Any]]:
        """Return (layer, name, reference's, port's) of numbers of one name that differ.

        Of the user's own layers that have a partner: nobody else knows what they are for.
        """
        return [
            (port, *difference)
            for port, path in self.pairing.partners.items()
            if is_own(type(self.layers[port]), "paddle")
            for difference in other_numbers(self.reference.settings(path), vars(self.layers[port]))
        ]

    def attributes(self, port: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (reference's, port's) static attributes of a layer of the port with a partner."""
        from align.pairing import attributes_paddle

        if port not in self._attributes:
            theirs = self.reference.attributes(self._partners[port])
            self._attributes[port] = theirs, attributes_paddle.attributes(self.layers[port])
        return self._attributes[port]

    @cached_property
    def _partners(self) -> dict[str, str]:
        return self.pairing.partners

    def _lost(self, taken: set[str]) -> list[Comparison]:
        """Return the tensors that one side alone holds; `taken` are those of both."""
        from convert.names.spec import COUNTER

        pairing, found = self.pairing, []
        tensors = tensors_of(self.specs, pairing)
        for tensor in tensors:
            if tensor.reference not in taken and tensor.key not in pairing.absent:
                cause = Cause("port_only", name=tensor.key)
                found.append(_lost(tensor.layer, _where(tensor), cause))
        same = self.reference.identities()
        known = {same[key] for key in taken - _in_part(tensors)}
        hidden = joined(hidden_layers(self.port))
        for spec in self.reference.specs():
            if spec.role == COUNTER or same[spec.key] in known or spec.key in pairing.dropped:
                continue
            known.add(same[spec.key])
            cause = Cause("unregistered", name=spec.key).also(hidden)
            found.append(_lost(_port_above(spec.layer, pairing), f"weight:{spec.role}", cause))
        return found

    def _compare_matched(self, pairing: Pairing) -> tuple[list[Comparison], set[str]]:
        """Return the comparisons of tensors that both sides have, and their names there."""
        from align.arrays.arrays_paddle import to_array

        theirs, ours = self.reference.arrays(), self.port.state_dict()
        found: list[Comparison] = []
        expected: dict[str, Tensor] = {}
        wrong: list[tuple[Comparison, Tensor]] = []
        for tensor in tensors_of(self.specs, pairing):
            if tensor.reference is None or tensor.reference not in theirs:
                continue
            expected[tensor.reference] = tensor
            if tensor.key not in self._compared:
                into = Comparison(tensor.layer, "", _where(tensor), "weight")
                array = to_array(ours[tensor.key])
                self._compared[tensor.key] = _compare_tensor(tensor.of(theirs), array, into)
            into = copy(self._compared[tensor.key])
            found.append(into)
            if into.verdict == DIFFERS and into.relative_error != float("inf"):
                wrong.append((into, tensor))
        for into, tensor in wrong:
            port = to_array(ours[tensor.key])
            names = (key for key, other in expected.items() if _equal(other.of(theirs), port))
            name = next(names, None)
            if name and into.cause:
                into.cause = into.cause.also(Cause("another_tensor", name=name))
        return found, set(expected)

    def _compare_attributes(self, pairing: Pairing) -> list[Comparison]:
        found = []
        for port, path in pairing.partners.items():
            theirs, ours = map(dict, self.attributes(port))
            if port:  # a layer that is frozen in its own mode
                theirs["training"] = self.reference.is_in_mode(path)
                ours["training"] = self.layers[port].training == self.port.training
            wrong = {name: (left, right) for name, left, right in differences(theirs, ours)}
            for name in sorted(set(theirs) & set(ours)):
                into = Comparison(port, "", f"attribute:{name}", "attribute")
                if name in wrong:
                    into.verdict, into.relative_error = DIFFERS, float("inf")
                    into.cause = _attribute(name, *wrong[name])
                found.append(into)
        return found


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two tensors that say something (more than one value) are equal."""
    same = one.shape == other.shape and one.size > 1 and bool((one == other).all())
    return same and bool((one != one.flat[0]).any())


def _in_part(tensors: Sequence[Tensor]) -> set[str]:
    """Return the reference's tensors of which the port has some pieces and not all."""
    pieces: dict[str, set[int]] = {}
    counts: dict[str, int] = {}
    for tensor in tensors:
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
        into.cause = Cause("shape", port=list(port.shape), reference=list(reference.shape))
        into.verdict, into.relative_error = DIFFERS, float("inf")
        return into
    exact: Any = np.complex128 if "c" in (reference.dtype.kind, port.dtype.kind) else np.float64
    left, right = reference.astype(exact), port.astype(exact)
    wrong = ~((left == right) | (np.isnan(left) & np.isnan(right)))
    if reference.dtype.kind in "iub" and port.dtype.kind in "iub":
        wrong = reference != port  # float64 holds whole numbers up to 2 ** 53 only
    if not wrong.any():
        return into
    distance = np.abs(left - right)
    worst = int(np.where(wrong, np.nan_to_num(distance, nan=np.inf), -1.0).argmax())
    into.worst_index = tuple(int(i) for i in np.unravel_index(worst, reference.shape))
    scale = float(np.abs(left).max()) or 1.0
    into.verdict, into.relative_error = DIFFERS, float(distance.flat[worst]) / scale
    if exact is np.float64:
        into.reference_value, into.port_value = float(left.flat[worst]), float(right.flat[worst])
    cause = Cause("values_differ", count=int(wrong.sum()), total=wrong.size)
    into.cause = cause.also(relation(left, right))
    return into


def _port_above(path: str, pairing: Pairing) -> str:
    """Return the port's layer that stands for `path` of the reference or the nearest above."""
    ports = {reference: port for port, reference in pairing.partners.items()}
    while path not in ports and path:
        path = path.rpartition(".")[0]
    return ports.get(path, "")


def hidden_layers(paddle_net: Any) -> list[Cause]:
    """Say which attributes of a port hide layers from Paddle."""
    from align.nets.unregistered_paddle import plain_holders

    return [Cause("plain_holder", **vars(holder)) for holder in plain_holders(paddle_net)]


def _attribute(name: str, reference: Any, port: Any) -> Cause:
    if name == CLASS:
        return Cause("class", port=port, reference=reference)
    cause = Cause("attribute", name=name, port=port, reference=reference)
    if name == "count_include_pad":
        return cause.also(Cause("exclusive_as_written", own=not port, needed=not reference))
    if name != "momentum" or not all(isinstance(v, (int, float)) for v in (port, reference)):
        return cause
    # Both are the share of the new value, as torch has it; Paddle's number, which the port's user
    # wrote, is the share of the old one.
    own, needed = 1.0 - port, 1.0 - reference
    shares = {"percent": 100.0 * own, "kept": 100.0 * needed}
    return Cause("momentum_as_written", own=own, reference=reference, needed=needed, **shares)


def _lost(layer: str, where: str, cause: Cause, kind: str = "weight") -> Comparison:
    return Comparison(
        layer, "", where, kind, verdict=DIFFERS, relative_error=float("inf"), cause=cause
    )
