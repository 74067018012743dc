"""The two nets of one report, and what is asked of them once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from align.nets.casts.given_tables import GivenTable
from align.pairing.boundaries import Boundaries
from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.pairing.static import AtRest
from align.pairing.tensors import Tensor, tensors_of

if TYPE_CHECKING:
    from convert.names.spec import TensorSpec

AnyReference = TypeVar("AnyReference", bound=Reference, covariant=True)


class Sides(Generic[AnyReference]):
    """The reference, the port and their pairing: made once a report.

    Paths, layers, and which tensor stands for which, stay what they are while nets are cast, run
    and trained: they are asked for once. What both hold `at_rest` is compared as their user gave
    it, which is before they are `changed` or after, when every value is back to the bit.

    Args:
        reference: a live net or a recording of one.
        port: the `paddle.nn.Layer`.
        pairing: which layer of the port stands for which module.
        specs: the port's tensors, in the order of its state dict.
        boundaries: shapes that differ between layers, by the rules.
    """

    def __init__(
        self,
        reference: AnyReference,
        port: Any,
        pairing: Pairing,
        specs: "Sequence[TensorSpec]",
        boundaries: Boundaries,
    ) -> None:
        self.reference, self.port, self.pairing, self.specs = reference, port, pairing, specs
        self.boundaries = boundaries
        self.given_tables: list[GivenTable] = []  # what one side holds and the other computes
        self.is_changed = False

    @cached_property
    def layers(self) -> dict[str, Any]:
        """Return {first path: layer} of the port's distinct layers, root "" first."""
        from align.nets.layers_paddle import layers_by_path

        return layers_by_path(self.port)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Return every tensor of the port with its partner, in the order of its state dict."""
        return tensors_of(self.specs, self.pairing)

    def tensors_in(self, pairing: Pairing) -> list[Tensor]:
        """Return the same with the partners of another pairing of these nets."""
        return tensors_of(self.specs, pairing)

    @contextmanager
    def changed(self) -> Iterator[None]:
        """Mark both nets as cast or in another mode: what they hold is not compared meanwhile."""
        self.is_changed = True
        try:
            yield
        finally:
            self.is_changed = False

    @property
    def at_rest(self) -> AtRest:
        """Return the comparison of what both hold as their user gave it."""
        assert not self.is_changed, "nets at rest are compared before or after they are cast"
        return self._at_rest

    @cached_property
    def _at_rest(self) -> AtRest:
        return AtRest(self.reference, self.port, self.pairing, self.layers, self.specs)
