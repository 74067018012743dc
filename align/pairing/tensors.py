"""Which tensor of the reference each tensor of the port stands for."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from align.pairing.by_path import Pairing

if TYPE_CHECKING:
    from convert.names.spec import Piece, TensorSpec


@dataclass(frozen=True)
class Tensor:
    """One tensor of the port's state dict and its partner.

    `reference` is its name in the reference, None where the layer has no partner; `name` its own
    name in its layer; `buffer` tells running statistics from weights; `piece` is the part of the
    reference's tensor that it is, `shapes` (torch's, the port's) where dimensions are flattened.
    """

    key: str
    layer: str
    name: str
    reference: str | None
    transposed: bool
    buffer: bool
    piece: "Piece | None" = None
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def of(self, arrays: Mapping[str, Any]) -> Any:
        """Return the reference's array in the port's layout; None where `arrays` holds None."""
        assert self.reference is not None
        array = arrays[self.reference]
        return self.in_layout(array) if isinstance(array, np.ndarray) else array

    def in_layout(self, array: np.ndarray) -> np.ndarray:
        """Return what `array`, of the reference's tensor or of one of its slots, is in the port."""
        if self.piece is not None and self.piece.shape_of(array.shape) is not None:
            array = self.piece.of(array)
        if self.transposed:
            array = array.T
        if self.shapes is not None and array.shape == self.shapes[0]:
            array = array.reshape(self.shapes[1])
        return array


def tensors_of(specs: "Iterable[TensorSpec]", pairing: Pairing) -> list[Tensor]:
    """Return every tensor of `specs`, which describe the port, with its partner."""

    found, partners = [], pairing.partners
    for spec in specs:
        partner, move = partners.get(spec.layer), pairing.moves.get(spec.key)
        reference = None if partner is None else join(partner, spec.role)
        torch_shape = spec.torch_shape if move is None else move.target.torch_shape
        found.append(
            Tensor(
                key=spec.key,
                layer=spec.layer,
                name=spec.key.rpartition(".")[2],
                reference=reference if move is None else move.source,
                transposed=pairing.layouts.get(spec.key, spec.transposed),
                buffer=spec.role.startswith("running_"),
                piece=None if move is None else move.piece,
                shapes=None if torch_shape is None else (torch_shape, spec.shape),
            )
        )
    return found


def join(path: str, name: str) -> str:
    """Return "path.name", or "name" at the root."""
    return f"{path}.{name}" if path else name


def nearest_above(path: str, among: Container[str]) -> str | None:
    """Return the closest path above `path` that is in `among`."""
    while path:
        path = path.rpartition(".")[0]
        if path in among:
            return path
    return None


def ancestors(path: str) -> list[str]:
    """Return the paths of the root, of every layer on the way, and `path` itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:count]) for count in range(len(parts) + 1)]
