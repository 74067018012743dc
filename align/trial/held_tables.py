"""Tables that code computes in float32 when a net is built: positions, sines, anchors.

They are no weights: each side has computed its own, and the last bits are its own kernels'. Both
nets are judged with the reference's, and what that hides is said. So it is where one side holds a
table and the other's code computes it while it runs.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from align.judge.words import Words, first_of
from align.nets.casts.given_tables import GivenTable, given_table, is_float32, rounding_apart
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.tensors import join

MOST_NAMES = 3


def hold_tables(sides: Sides[Reference]) -> list[Words]:
    """Give the port's tables the reference's values, where float32's rounding tells them apart.

    Both nets are `prepared`, which puts them back. Returns a note, if there is one.
    """
    from align.arrays.arrays_paddle import to_tensor

    names, worst = [], 0.0
    tables = sides.reference.tables()
    for port, path in sides.pairing.partners.items():
        for name, theirs in tables.get(path, {}).items():
            for own, tensor, ours in _alike(sides.layers[port], name, theirs):
                error = _rounding_apart(theirs, ours)
                if error:
                    tensor.set_value(to_tensor(np.ascontiguousarray(theirs, ours.dtype)))
                    names.append(join(port, own))
                    worst = max(worst, error)
                    break
    if not names:
        return []
    said = {"names": first_of(names, MOST_NAMES), "error": worst}
    return [Words("tables_held", count=len(names), **said)]


def given_notes(tables: Sequence[GivenTable]) -> list[Words]:
    """Say which tables were given to code that computes them."""
    used = [table for table in tables if table.error]
    if not used:
        return []
    names = first_of([table.name for table in used], MOST_NAMES)
    error = max(table.error for table in used)
    return [Words("tables_given", count=len(used), names=names, error=error)]


def one_sided_tables(sides: Sides[Reference]) -> tuple[list[GivenTable], list[GivenTable]]:
    """Return the tables in float32 that the reference alone holds, and those of the port alone."""
    from align.arrays.arrays_paddle import to_array
    from align.nets.layers_paddle import tables_of

    theirs, partners = sides.reference.tables(), sides.pairing.partners
    known = set(sides.reference.identities())
    stands = {tensor.key for tensor in sides.tensors if tensor.reference in known}
    port: list[GivenTable] = []
    taken: set[tuple[str, str]] = set()
    for path, name, tensor in tables_of(sides.layers, saved=True):
        if join(path, name) in stands:
            continue
        values, held = to_array(tensor), theirs.get(partners.get(path, ""), {})
        alike = {(partners[path], n) for n, array in held.items() if array.shape == values.shape}
        taken |= alike
        port += [] if alike else _table(join(path, name), values)
    left = [
        (join(path, name), values)
        for path, held in theirs.items()
        for name, values in held.items()
        if (path, name) not in taken
    ]
    arrays = sides.reference.arrays() if sides.pairing.dropped else {}
    left += [(key, arrays[key]) for key in sides.pairing.dropped if key in arrays]
    return [table for key, values in left for table in _table(key, values)], port


def only_while_held(tables: Sequence[GivenTable], net: Any) -> None:
    """Let the reference's tables stand as long as its run leaves them what they are.

    What `forward` assigns is of an earlier run: activations, in whatever precision that one had.
    """
    from align.nets.layers_torch import tables_of
    from align.nets.prepare_torch import is_assigned

    held = {join(path, name): (net.get_submodule(path), name) for path, name, _ in tables_of(net)}
    for table in tables:
        if table.name in held:
            table.is_held = partial(_is_held, is_assigned, *held[table.name])


def _is_held(is_assigned: Callable[[Any, str], bool], module: Any, name: str) -> bool:
    return not is_assigned(module, name)


def _table(name: str, values: np.ndarray) -> list[GivenTable]:
    """Return a table, if it is one that float32 holds, of several numbers."""
    table = given_table(name, np.array(values, np.float64)) if values.dtype.kind == "f" else None
    return [] if table is None else [table]


def _alike(layer: Any, name: str, theirs: np.ndarray) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Yield (name, tensor, its values) of the buffers that may stand for a table.

    That is the one of its name, or any of its shape where there is none of that name.
    """
    from align.arrays.arrays_paddle import to_array

    own = {key: tensor for key, tensor in layer._buffers.items() if tensor is not None}
    for key, tensor in own.items():
        if key == name or name not in own:
            values = to_array(tensor)
            if values.shape == theirs.shape and values.dtype.kind == "f":
                yield key, tensor, values


def _rounding_apart(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Return how far two tables are apart, 0 where they are equal or no rounding explains it."""
    both = is_float32(theirs) and is_float32(ours)
    return rounding_apart(theirs, ours) if both else 0.0
