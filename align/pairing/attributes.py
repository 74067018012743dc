"""Static attributes of layers in one vocabulary, so that the two frameworks' can be compared.

`READERS` of `attributes_torch.py` and `attributes_paddle.py` turn a layer into {name: value} in
torch's words and meaning (momentum is the weight of the new value).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Reader = Callable[[Any], dict[str, Any]]

# What says which places of its input a convolution or a pooling reads.
GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_PLAIN = (bool, int, float, str, type(None))
# What a class may inherit of a framework and be its author's own.
_CONTAINERS = (
    "Module",
    "ModuleList",
    "ModuleDict",
    "Layer",
    "LayerList",
    "LayerDict",
    "Sequential",
)
# The name under which `read` gives the class of a layer without a forward of its own.
CLASS = "class"


def read(layer: Any, readers: Mapping[type, Reader], classes: Mapping[type, str]) -> dict[str, Any]:
    """Return the attributes of `layer` that any reader of its classes knows; values are plain.

    `classes` are those of the framework that compute something of their own, by torch's names
    without the dimension.
    """
    found: dict[str, Any] = {}
    for kind, reader in readers.items():
        if isinstance(layer, kind):
            found.update(reader(layer))
    name = _class_name(layer, classes)
    if name is not None:
        name = _what_it_computes(name, found)
    if name is not None:
        found[CLASS] = name
    return {name: _plain(value) for name, value in found.items()}


def _class_name(layer: Any, classes: Mapping[type, str]) -> str | None:
    """Return the name of the framework's class whose forward `layer` runs, None for all others."""
    if "forward" in vars(layer):
        return None
    for kind in type(layer).__mro__:
        if kind in classes:
            return classes[kind]
        if "forward" in vars(kind):
            return None  # it computes what its author likes, whatever it inherits
    return None


def _what_it_computes(name: str, found: Mapping[str, Any]) -> str | None:
    """Return the name that layers of equal results share; None where it hangs on the shapes."""
    if name == "LeakyReLU" and found["slope"] == 0:
        return "ReLU"
    if name == "Hardtanh" and found["range"] == (0, 6):
        return "ReLU6"
    if name == "CELU" and found["alpha"] == 1:
        return "ELU"
    if name.endswith("Dropout") and found.get("rate") == 0:
        return "Identity"
    if name.endswith("Pool") and set(spread(found.get("kernel_size"), 1) or ()) == {1}:
        return None  # takes every value, or every n-th, as it is
    if name == "GroupNorm" and found["groups"] in (1, found["channels"]):
        return None  # normalises like LayerNorm or InstanceNorm
    return name


def spread(value: Any, count: int) -> Any:
    """Return `value` once per dimension where it is one number, a tuple where it is several.

    A row of one number counts for every dimension, as torch takes it. None and text ("same") stay
    what they are.
    """
    if value is None or isinstance(value, str):
        return value
    row = (value,) if isinstance(value, (int, float)) else tuple(value)
    return row * count if len(row) == 1 else row


def counts_padding(padding: Any) -> bool:
    """Tell whether the mean of a window may take in padding.

    Where there is none, both frameworks leave out what `ceil_mode` reads beyond the input.
    """
    return isinstance(padding, str) or any(np.ravel(padding))


def differences(
    reference: Mapping[str, Any], port: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return (name, reference's value, port's value) of what both sides have and differs.

    Layers of other classes differ in nothing else: their settings mean other things. A dilation
    along an axis on which the kernel is 1, and ceil_mode of stride 1, mean nothing.
    """
    found = [
        (name, value, port[name])
        for name, value in reference.items()
        if name in port and not _same(value, port[name]) and _matters(name, value, reference, port)
    ]
    return [difference for difference in found if difference[0] == CLASS] or found


def is_plain(value: Any, row: bool = True) -> bool:
    """Tell whether an attribute is a flag, a number, text or None, or a `row` of such."""
    if row and type(value) in (tuple, list):
        return all(is_plain(entry, False) for entry in value)
    return type(value) in _PLAIN


def is_own(kind: type, framework: str) -> bool:
    """Tell whether a class is the user's: of the framework it inherits no more than containers."""
    return not kind.__module__.startswith(f"{framework}.") and all(
        base.__name__ in _CONTAINERS
        for base in kind.__mro__
        if base.__module__.startswith(f"{framework}.")
    )


def other_settings(
    reference: Mapping[str, Any], port: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return (name, reference's value, port's value) of plain attributes of one name that differ.

    What begins with an underscore is the author's affair, and the mode is the run's.
    """
    both = [
        (name, _plain(value), _plain(port[name]))
        for name, value in reference.items()
        if name in port
        and not name.startswith("_")
        and name not in ("training", "inplace")
        and is_plain(port[name])
    ]
    return [(name, theirs, ours) for name, theirs, ours in both if theirs != ours]


def other_numbers(
    reference: Mapping[str, Any], port: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return those of `other_settings` that are numbers or flags and mean another thing.

    A share of the new is 1 minus that of the old; an axis may be counted from either end; one
    number stands for a row of them.
    """
    return [
        (name, theirs, ours)
        for name, theirs, ours in other_settings(reference, port)
        if _are_numbers(theirs) and _are_numbers(ours) and not _mean_one(name, theirs, ours)
    ]


def _are_numbers(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return False
    return bool(np.size(value)) and all(isinstance(x, (bool, int, float)) for x in spread(value, 1))


def _mean_one(name: str, theirs: Any, ours: Any) -> bool:
    rows = [spread(value, 1) for value in (theirs, ours)]
    count = max(map(len, rows))
    one, other = (row * count if len(row) == 1 else row for row in rows)
    if len(one) != len(other):
        return False
    if name.lower() in ("dim", "axis", "dims", "axes") and np.sign(one[0]) != np.sign(other[0]):
        return True
    shares = "momentum" in name or "decay" in name
    return all(
        _same(float(x), float(y)) or (shares and _same(1.0 - x, float(y)))
        for x, y in zip(one, other, strict=True)
    )


def other_places(
    reference: Mapping[str, Any], port: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return those of `differences` by which a window reads other places of some input.

    Padding in words ("same") hangs on the size: what it means is left to the values.
    """
    return [
        (name, theirs, ours)
        for name, theirs, ours in differences(reference, port)
        if name in GEOMETRY and not any(isinstance(value, str) for value in (theirs, ours))
    ]


def _matters(name: str, theirs: Any, reference: Mapping[str, Any], port: Mapping[str, Any]) -> bool:
    if name == "ceil_mode":
        return max(*spread(reference["stride"], 1), *spread(port["stride"], 1)) > 1
    kernel = port.get("kernel_size", ())
    if name == "dilation" and reference["kernel_size"] == kernel and len(kernel) == len(theirs):
        axes = zip(theirs, port[name], kernel, strict=True)
        return any(one != other and size > 1 for one, other, size in axes)
    return True


def _same(reference: Any, port: Any) -> bool:
    if isinstance(reference, float) or isinstance(port, float):
        if not all(isinstance(value, (int, float)) for value in (reference, port)):
            return bool(reference == port)
        near = math.isclose(reference, port, rel_tol=1e-6)  # 1 - 0.9 is not 0.1
        return near or (math.isnan(reference) and math.isnan(port))
    return bool(reference == port)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(entry) for entry in value)
    return value
