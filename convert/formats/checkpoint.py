"""Reads a stranger's checkpoint without running any code from it, and without either framework."""

import codecs
import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from common.errors import UnreadableError, UserError
from convert.formats.pickle_globals import NumpyArray, Odd
from convert.formats.pickle_machine import PickleMachine
from convert.formats.read_safetensors import looks_like_safetensors, read_index, read_safetensors
from convert.formats.read_torch import read_legacy, read_zip, refusals
from convert.formats.stored import DamagedError, Stored, second_names
from convert.formats.unwrap import find_state_dict
from convert.names.spec import TensorSpec

# torch.save before 1.6 begins with this pickled number (torch/serialization.py, MAGIC_NUMBER).
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# Paddle's name for the table of its parameters' other names, beside the weights.
_PADDLE_NAMES = "StructuredToParameterName@@"
_PADDLE_BIG = "UnpackBigParamInfor@@"
TORCH, PADDLE = "torch", "paddle"


class Checkpoint(Mapping[str, np.ndarray]):
    """The tensors of one state dict, read-only; an array is made when it is asked for.

    Arrays are views of the mapped file; where the file holds them unaligned, `[key]` copies.
    bfloat16 and float8 come in ml_dtypes' types. An array whose bytes differ from the file's CRC
    is an UnreadableError.

    Attributes:
        path: the file.
        aliases: second name -> first name of tensors that share storage.
        found_as: how the tensors were found in the file, in words.
        framework: "torch" or "paddle": whose names and layouts these are.
        prefix: what was removed from every name.
    """

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, Stored],
        found_as: str,
        framework: str = TORCH,
        prefix: str = "",
    ) -> None:
        self.path = path
        self.found_as = found_as
        self.framework = framework
        self.prefix = prefix
        self.aliases = second_names(tensors)
        self._tensors = dict(tensors)

    def __getitem__(self, key: str) -> np.ndarray:
        view = self.view(key)
        if not view.flags.aligned:
            view = view.copy()
        view.setflags(write=False)
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def view(self, key: str) -> np.ndarray:
        """Return the array without any copy; it may be unaligned.

        Raises UnreadableError for damaged bytes.
        """
        try:
            return self._tensors[key].view()
        except DamagedError as error:
            raise UnreadableError(
                f"{self.path}: {key}: {error}; download or save it again"
            ) from None

    def describe(self) -> list[TensorSpec]:
        """List names, shapes and dtypes; no values are read."""
        return [TensorSpec(k, t.shape, t.dtype.name) for k, t in self._tensors.items()]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return {name: shape}; no values are read."""
        return {key: tensor.shape for key, tensor in self._tensors.items()}

    def with_prefix(self, prefix: str) -> "Checkpoint":
        """Return it with `prefix`, the end of what was removed, before every name again."""
        tensors = {prefix + key: tensor for key, tensor in self._tensors.items()}
        words = self.found_as + f", prefix {prefix!r} kept, as the net has it"
        return Checkpoint(
            self.path, tensors, words, self.framework, self.prefix.removesuffix(prefix)
        )


def read_checkpoint(path: str | PathLike[str], key: str | None = None) -> Checkpoint:
    """Read the state dict of a checkpoint, whatever the name of the file.

    Formats: torch.save (zip, or before 1.6), TorchScript archives, .safetensors, the index of a
    sharded checkpoint (`*.index.json`), .pdparams and other pickles of NumPy arrays. Wrappers
    ("state_dict", "model", ...) and prefixes that all names have (`module.`, `_orig_mod.`,
    `backbone.`; `model.` and `net.` of Lightning) are removed; `found_as` says so. `key` chooses
    among several state dicts, by the names that the error lists.

    Raises:
        UnreadableError: the file is absent, damaged, of another format, holds no tensors, or could
            be read only by running code that it names.
        UserError: it holds several state dicts and `key` names none of them.
    """
    path = Path(path)
    data = _mapped(path)
    head = bytes(data[:1024])
    if head.startswith(b"PK"):
        return _of_tree(path, key, TORCH, *read_zip(path, data))
    if _LEGACY_MAGIC in head[:64]:
        return _of_tree(path, key, TORCH, *read_legacy(path, data))
    if looks_like_safetensors(head, len(data)):
        return _of_safetensors(path, key, data)
    if head.lstrip()[:1] == b"{" and path.suffix == ".json":
        return _of_shards(path, key, read_index(path, bytes(data)))
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _of_pickle(path, key, data)
    raise UnreadableError(f"{path}: no checkpoint that can be read: {_likeness(head)}")


def _mapped(path: Path) -> memoryview:
    """Return the bytes of a file, mapped: they are read when they are used."""
    try:
        if path.is_dir():
            raise UnreadableError(f"{path}: a folder, not a checkpoint file")
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise UnreadableError(f"{path}: the file is empty; download or save it again")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(f"{path}: cannot be read: {reason}") from None


def _of_tree(path: Path, key: str | None, framework: str, tree: Any, words: str) -> Checkpoint:
    """Choose the state dict inside what a pickle holds."""
    found = find_state_dict(tree, _is_tensor, key, path)
    tensors = {name: _plain(path, name, value) for name, value in found.tensors.items()}
    words += found.describe(len(second_names(tensors)))
    return Checkpoint(path, tensors, words, framework, found.prefix)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (Stored, Odd))


def _plain(path: Path, name: str, value: Any) -> Stored:
    if isinstance(value, Stored):
        return value
    raise UnreadableError(f"{path}: {name} is not a plain dense tensor, but {value.what}")


def _of_safetensors(path: Path, key: str | None, data: memoryview) -> Checkpoint:
    tensors, metadata = read_safetensors(path, data)
    framework = PADDLE if metadata.get("format") in ("pd", "paddle") else TORCH
    return _of_tree(path, key, framework, tensors, "safetensors, which holds no CRC, ")


def _of_shards(path: Path, key: str | None, places: Mapping[str, str]) -> Checkpoint:
    """Join the files that an index names; each must hold what the index says and nothing else."""
    files: dict[str, Any] = {}
    for name in dict.fromkeys(places.values()):
        part = read_checkpoint(path.with_name(name))
        files[name] = {part.prefix + k: part._tensors[k] for k in part}
    for name, tensors in files.items():
        if unlisted := [k for k in tensors if places.get(k) != name]:
            raise UnreadableError(f"{path}: {name} holds {unlisted[0]}, which the index does not")
    if absent := [k for k, name in places.items() if k not in files[name]]:
        raise UnreadableError(f"{path}: {absent[0]} is not in {places[absent[0]]}, as it says")
    tree = {k: files[name][k] for k, name in places.items()}
    return _of_tree(path, key, TORCH, tree, f"index of {len(files)} files, ")


def _of_pickle(path: Path, key: str | None, data: memoryview) -> Checkpoint:
    """Read a plain pickle of NumPy arrays, which is what .pdparams files are.

    uint16 is how Paddle's files hold bfloat16; Paddle has no uint16.
    """
    with refusals(path):
        machine = PickleMachine(data)
        tree = machine.load()
        if machine.end != len(data):
            raise DamagedError(f"{len(data) - machine.end} bytes follow its end")
    if isinstance(tree, dict):
        if _PADDLE_BIG in tree:
            raise UnreadableError(
                f"{path}: holds tensors cut in pieces, as Paddle writes with protocol 2 or 3; "
                "save it again with paddle.save(..., protocol=4)"
            )
        tree = {name: value for name, value in tree.items() if name != _PADDLE_NAMES}
    paddle = path.suffix.lower() not in (".pkl", ".pickle", ".pth", ".pt")
    words = "pickle of NumPy arrays (.pdparams), which holds no CRC, "
    return _of_tree(path, key, PADDLE if paddle else TORCH, _paddle_tree(tree), words)


def _paddle_tree(value: Any, depth: int = 0) -> Any:
    """Return the tree with arrays as tensors; (name, array) is how Paddle saves one inside."""
    if isinstance(value, NumpyArray):
        return _bits_as_bfloat16(value.stored)
    pair = isinstance(value, tuple) and len(value) == 2
    if pair and isinstance(value[0], str) and isinstance(value[1], NumpyArray):
        return _bits_as_bfloat16(value[1].stored)
    if isinstance(value, dict) and depth < 8:
        return {name: _paddle_tree(below, depth + 1) for name, below in value.items()}
    return value


def _bits_as_bfloat16(stored: Any) -> Any:
    if isinstance(stored, Stored) and stored.dtype == np.uint16:
        return replace(stored, dtype=np.dtype(ml_dtypes.bfloat16))
    return stored


_LIKENESSES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: head.startswith(b"\x1f\x8b"), "it is packed with gzip; unpack it first"),
    (lambda head: head[257:262] == b"ustar", "it is a tar archive; unpack it first"),
    (lambda head: head.startswith(b"\x89HDF"), "it looks like HDF5"),
)


def _likeness(head: bytes) -> str:
    """Say what the first bytes of a file look like."""
    for looks, words in _LIKENESSES:
        if looks(head):
            return words
    with suppress(UnicodeDecodeError):  # incremental: the last character may be cut
        start = codecs.getincrementaldecoder("utf-8")().decode(head)
        if all(char.isprintable() or char.isspace() for char in start):
            line = start.strip().partition("\n")[0][:60]
            return f"it is a text file, beginning {line!r}; was a web page or a pointer downloaded?"
    return f"it begins with {head[:8].hex(' ')}, which no known format does"


def require_framework(checkpoint: Checkpoint, framework: str, what: str) -> None:
    """Raise UserError where a file is of the other framework than `what` needs."""
    if checkpoint.framework != framework:
        raise UserError(
            f"{checkpoint.path}: {what} needs a file of {framework}, this is one of "
            f"{checkpoint.framework} ({checkpoint.found_as})"
        )
