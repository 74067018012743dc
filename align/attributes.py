"""Static attributes of layers in one vocabulary, so that the two frameworks' can be compared.

`READERS` of `attributes_torch.py` and `attributes_paddle.py` turn a layer into {name: value} in
torch's words and meaning (momentum is the weight of the new value).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

Reader = Callable[[Any], dict[str, Any]]


def read(layer: Any, readers: Mapping[type, Reader]) -> dict[str, Any]:
    """Return the attributes of `layer` that any reader of its classes knows; values are plain."""
    found: dict[str, Any] = {}
    for kind, reader in readers.items():
        if isinstance(layer, kind):
            found.update(reader(layer))
    return {name: _plain(value) for name, value in found.items()}


def spread(value: Any, count: int) -> Any:
    """Return `value` once per dimension where it is one number, a tuple where it is several.

    None and text ("same") stay what they are.
    """
    if value is None or isinstance(value, str):
        return value
    return (value,) * count if isinstance(value, (int, float)) else tuple(value)


def differences(
    reference: Mapping[str, Any], port: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return (name, reference's value, port's value) of what both sides have and differs."""
    return [
        (name, value, port[name])
        for name, value in reference.items()
        if name in port and not _same(value, port[name])
    ]


def _same(reference: Any, port: Any) -> bool:
    if isinstance(reference, float) or isinstance(port, float):
        if not all(isinstance(value, (int, float)) for value in (reference, port)):
            return bool(reference == port)
        return math.isclose(reference, port, rel_tol=1e-6)  # 1 - 0.9 is not 0.1
    return bool(reference == port)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(entry) for entry in value)
    return value
