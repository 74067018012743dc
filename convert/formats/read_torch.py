"""Reads files of torch.save (zip, and before 1.6) and TorchScript archives, without torch."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import UnreadableError
from convert.formats.pickle_globals import Global, Inert, RefusedError, StorageOf, storage_dtype
from convert.formats.pickle_machine import PickleMachine
from convert.formats.stored import DamagedError, Storage, dtype_named
from convert.formats.zip_members import members

LEGACY_PROTOCOL = 1001  # torch/serialization.py, PROTOCOL_VERSION
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_SCRIPT = "__torch__."
_MOST_ATTRIBUTES, _DEEPEST_MODULE = 2_000_000, 200


def read_zip(path: Path, data: memoryview) -> tuple[Any, str]:
    """Return (object, how it was found) of a zip of torch.save or torch.jit.save.

    Raises UnreadableError where it is damaged or asks for code.
    """
    files = members(path, data)
    script = "constants.pkl" in files or any(name.startswith("code/") for name in files)
    storages: dict[str, Storage] = {}

    def storage(key: str, kind: Any, count: int) -> StorageOf:
        name = f"data/{key}"
        if name not in files:
            raise DamagedError(f"it lacks the member {name[:80]}")
        return _storage_of(storages.setdefault(key, files[name]), kind, count)

    with refusals(path):
        if "byteorder" in files and bytes(files["byteorder"].data()) != b"little":
            raise DamagedError("it was written on a big-endian machine, which is not supported")
        pickle = PickleMachine(
            files["data.pkl"].data(), 0, _persistent(storage), (_SCRIPT,) if script else ()
        )
        tree = pickle.load()
        if script:
            return {"": _flattened(tree)}, "TorchScript archive (its code was not run), "
    return tree, "zip file, "


def read_legacy(path: Path, data: memoryview) -> tuple[Any, str]:
    """Return (object, how it was found) of a file from before 1.6.

    It is magic, protocol, system, object and list of storages, a pickle each, then each storage
    as a number of elements and its bytes. Raises UnreadableError as `read_zip`.
    """
    pending: dict[str, StorageOf] = {}

    def storage(key: str, kind: Any, count: int) -> StorageOf:
        if key not in pending:
            # Filled below: where its bytes lie is known only behind the pickles.
            pending[key] = _storage_of(_Later(_nbytes(kind, count)), kind, count)
        return pending[key]

    with refusals(path):
        end = 0
        for expected in (LEGACY_MAGIC, LEGACY_PROTOCOL, None):
            head = PickleMachine(data, end)
            value = head.load()
            if expected is not None and value != expected:
                raise DamagedError("its beginning is not what torch.save writes")
            if isinstance(value, dict) and value.get("little_endian") is False:
                raise DamagedError("it was written on a big-endian machine")
            end = head.end
        body = PickleMachine(data, end, _persistent(storage))
        tree = body.load()
        order = PickleMachine(data, body.end)
        keys = order.load()
        _fill(data, order.end, keys, pending)
    return tree, "pre-1.6 file, which holds no CRC, "


class _Later(Storage):
    """A storage whose size is known before its place."""

    def __init__(self, nbytes: int) -> None:
        super().__init__(memoryview(b""))
        self.nbytes = nbytes

    def put(self, data: memoryview) -> None:
        self._data = data


def _fill(data: memoryview, start: int, keys: Any, pending: Mapping[str, StorageOf]) -> None:
    """Find the bytes of every storage behind the pickles."""
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(pending):
        raise DamagedError("its list of storages is not that of its tensors")
    for key in keys:
        later = pending[str(key)].storage
        size = 1 if (found := pending[str(key)].dtype) is None else found.itemsize
        if start + 8 > len(data):
            raise DamagedError("it is cut off")
        (count,) = struct.unpack("<q", data[start : start + 8])
        end = start + 8 + later.nbytes
        if count * size != later.nbytes or end > len(data):
            raise DamagedError("it is cut off, or a storage has another size than its tensors say")
        assert isinstance(later, _Later)
        later.put(data[start + 8 : end])
        start = end
    if start != len(data):
        raise DamagedError(f"{len(data) - start} bytes follow its last storage")


def _persistent(storage: Callable[[str, Any, int], StorageOf]) -> Callable[[Any], StorageOf]:
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


def _storage_of(storage: Storage, kind: Any, count: int) -> StorageOf:
    name = storage_dtype(kind)
    if name is None:
        raise DamagedError("its pickle refers to a storage of no known class")
    if storage.nbytes != _nbytes(kind, count):
        raise DamagedError(
            f"a storage of {_nbytes(kind, count)} bytes has {storage.nbytes} in the file"
        )
    untyped = isinstance(kind, Global) and kind.name.endswith("UntypedStorage")
    return StorageOf(storage, None if untyped else dtype_named(name))


def _nbytes(kind: Any, count: int) -> int:
    name = storage_dtype(kind)
    if name is None:
        raise DamagedError("its pickle refers to a storage of no known class")
    return count * dtype_named(name).itemsize


def _flattened(tree: Any) -> dict[str, Any]:
    """Return {dotted name: value} of the attributes of a TorchScript module."""
    found: dict[str, Any] = {}
    todo: list[tuple[str, Any]] = [("", tree)]
    for _ in range(_MOST_ATTRIBUTES):
        if not todo:
            return found
        path, value = todo.pop()
        if isinstance(value, Inert) and value.name.startswith(_SCRIPT):
            if path.count(".") > _DEEPEST_MODULE:
                break
            below = [(f"{path}.{name}" if path else name, v) for name, v in value.state.items()]
            todo += reversed(below)
        elif path:
            found[path] = value
    raise DamagedError("a TorchScript module holds itself, or far too many others")


class refusals:
    """Turns what the machine finds into one message to the user."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, RefusedError):
            raise UnreadableError(_refusal(self._path, error.name[:200])) from None
        if isinstance(error, DamagedError):
            raise UnreadableError(
                f"{self._path}: cannot be read: {error}; download or save it again"
            ) from None


def _refusal(path: Path, name: str) -> str:
    """Word which global is asked for, and the two lines that make a file that can be read."""
    head = f"{path}: reading it would run code: it asks for {name}. Nothing was run. "
    load = f"    checkpoint = torch.load({path.name!r}, weights_only=False)  # runs that code\n"
    keep = "    torch.save(checkpoint['state_dict'], 'weights.pth')  # a whole net: .state_dict()"
    if name.startswith(("torch.nn.", "torchvision.models.")):
        head += "It holds a whole net instead of its weights. "
        keep = "    torch.save(checkpoint.state_dict(), 'weights.pth')  # or checkpoint['model']"
    return f"{head}If you trust its source, save the weights alone, in PyTorch:\n{load}{keep}"
