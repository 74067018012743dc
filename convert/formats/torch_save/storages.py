"""The storages that a pickle of torch.save refers to."""

from collections.abc import Callable
from typing import Any

from convert.formats.pickles.globals import Global, StorageOf, storage_dtype
from convert.formats.stored import DamagedError, Storage, dtype_named


def persistent(storage: Callable[[str, Any, int], StorageOf]) -> Callable[[Any], StorageOf]:
    """Return what a pickle's reference to a storage stands for.

    It is ("storage", class, key, place, number of elements), before 1.6 with a view, which is
    (key, offset, number) or None.
    """

    def find(identity: Any) -> StorageOf:
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise DamagedError("its pickle refers to something that is no storage")
        _, kind, key, _, count, *view = identity
        if type(count) is not int or not 0 <= count < 2**60 or not isinstance(key, (str, int)):
            raise DamagedError("its pickle refers to a storage in an unknown way")
        if view and view[0] is not None:
            raise DamagedError("it holds storages inside of storages, as torch 0.3 wrote")
        return storage(str(key), kind, count)

    return find


def storage_of(storage: Storage, kind: Any, count: int) -> StorageOf:
    """Return `storage` as one of `count` elements of the class `kind`.

    Raises DamagedError where it has another size.
    """
    name = storage_dtype(kind)
    if name is None:
        raise DamagedError("its pickle refers to a storage of no known class")
    if storage.nbytes != nbytes_of(kind, count):
        raise DamagedError(
            f"a storage of {nbytes_of(kind, count)} bytes has {storage.nbytes} in the file"
        )
    untyped = isinstance(kind, Global) and kind.name.endswith("UntypedStorage")
    return StorageOf(storage, None if untyped else dtype_named(name))


def nbytes_of(kind: Any, count: int) -> int:
    """Return the bytes of a storage of `count` elements; DamagedError for an unknown class."""
    name = storage_dtype(kind)
    if name is None:
        raise DamagedError("its pickle refers to a storage of no known class")
    return count * dtype_named(name).itemsize
