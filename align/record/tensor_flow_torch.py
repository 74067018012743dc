"""How tensors go from call to call while the reference runs, and what is still to come back."""

import weakref
from collections.abc import Iterable, MutableSequence
from typing import Any

import torch

from align.record.trace import Call, Cotangent

Boundary = tuple[Call, str, int]  # a boundary: (call, "input" or "output", index)


class Flow:
    """Which boundaries a tensor passes one after the other, untouched by the code between."""

    def __init__(self) -> None:
        self.handed: dict[int, tuple[weakref.ref, int, Boundary | None]] = {}
        self.following: dict[tuple[int, str, int], Boundary] = {}

    def hand_on(self, arrived: torch.Tensor, own: torch.Tensor) -> None:
        """Note that `own` is what code gets for the tensor that `arrived` at a boundary."""
        reference, version, node = self.handed.get(id(arrived), (None, 0, None))
        same = reference is not None and reference() is arrived and version == arrived._version
        self.handed[id(own)] = weakref.ref(own), own._version, node if same else None

    def name(self, own: torch.Tensor, node: Boundary) -> None:
        """Say at which boundary `own` was handed on."""
        reference, version, before = self.handed[id(own)]
        if before is not None:
            self.following[_key(before)] = node
        self.handed[id(own)] = reference, version, node

    def after(self, call: Call, index: int) -> list[tuple[MutableSequence[Cotangent], int]]:
        """Return where the cotangents stand that an output of `call` has further on.

        Nothing, unless it passes from boundary to boundary into a layer that was judged alone.
        """
        slots: list[tuple[MutableSequence[Cotangent], int]] = []
        key = (id(call), "output", index)
        while key in self.following:
            node = self.following[key]
            other, where, at = node
            slots.append((other.grad_inputs if where == "input" else other.grad_outputs, at))
            if other.alone:
                return slots
            key = _key(node)
        return []


def _key(node: Boundary) -> tuple[int, str, int]:
    return id(node[0]), node[1], node[2]


class Awaited:
    """Which calls stand inside which, and how many gradients at their boundaries are to come."""

    def __init__(self) -> None:
        self.inside: dict[int, list[Call]] = {}
        self.count: dict[int, int] = {}
        # Nodes of the graph by number: held, they would keep what nothing flows back from alive.
        self.nodes: list[tuple[Call, int]] = []

    def begins(self, call: Call) -> None:
        """Note a call whose `parent` is known."""
        if call.parent is not None:
            self.inside.setdefault(id(call.parent), []).append(call)

    def wait(self, call: Call, tensor: torch.Tensor) -> None:
        """Note that the gradient of a tensor at the boundary of `call` is to come."""
        self.count[id(call)] = self.count.get(id(call), 0) + 1
        node: Any = tensor.grad_fn
        self.nodes.append((call, node._sequence_nr()))

    def came(self, call: Call) -> None:
        """Note that one came."""
        self.count[id(call)] -= 1

    def starts(self, ends: Iterable[torch.Tensor]) -> None:
        """Wait no more for what the backward pass from `ends` does not reach."""
        waiting: list[Any] = [end.grad_fn for end in ends]
        reached = set(waiting)
        while waiting:
            after = {node for node, _ in waiting.pop().next_functions if node is not None}
            waiting += after - reached
            reached |= after
        numbers = {node._sequence_nr() for node in reached}
        for call, number in self.nodes:
            if number not in numbers:
                self.came(call)
        self.nodes = []

    def within(self, call: Call) -> list[Call]:
        """Return the calls inside `call`, in order, but none inside one that was judged."""
        found: list[Call] = []
        for inner in self.inside.get(id(call), ()):
            found += [inner] if inner.alone else [inner, *self.within(inner)]
        return found

    def all_came(self, calls: Iterable[Call]) -> bool:
        """Tell whether no gradient of `calls` is to come."""
        return not any(self.count.get(id(call)) for call in calls)
