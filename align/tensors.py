"""Which tensor of the reference each tensor of the port stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from align.pairing import Pairing


@dataclass(frozen=True)
class Tensor:
    """One tensor of the port's state dict and its partner.

    `reference` is its name in the reference, None where the layer has no partner; `name` its own
    name in its layer; `buffer` tells running statistics from weights.
    """

    key: str
    layer: str
    name: str
    reference: str | None
    transposed: bool
    buffer: bool

    def of(self, arrays: Mapping[str, Any]) -> Any:
        """Return the reference's array in the port's layout; None where `arrays` holds None."""
        assert self.reference is not None
        array = arrays[self.reference]
        return array.T if self.transposed and isinstance(array, np.ndarray) else array


def tensors_of(paddle_net: Any, pairing: Pairing) -> list[Tensor]:
    """Return every tensor of `paddle_net` with its partner, in the order of its state dict."""
    from convert import describe_paddle
    from convert.plan import TRANSPOSED

    found = []
    for spec in describe_paddle.describe(paddle_net):
        partner = pairing.partners.get(spec.layer)
        found.append(
            Tensor(
                key=spec.key,
                layer=spec.layer,
                name=spec.key.rpartition(".")[2],
                reference=None if partner is None else join(partner, spec.role),
                transposed=(spec.kind, spec.role) in TRANSPOSED,
                buffer=spec.role.startswith("running_"),
            )
        )
    return found


def join(path: str, name: str) -> str:
    """Return "path.name", or "name" at the root."""
    return f"{path}.{name}" if path else name
