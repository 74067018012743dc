"""Reads a stranger's checkpoint without running any code from it, and without either framework."""

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UnreadableError, UserError
from common.words.controls import in_one_line, is_name
from convert.formats.mapped import changed, mapped, stamp_of
from convert.formats.pickles.globals import Odd
from convert.formats.recipes import for_tensor
from convert.formats.stored import DamagedError, FileHead, Stored, second_names
from convert.formats.table import format_of
from convert.formats.unwrap import find_state_dict
from convert.names.spec import TORCH, TensorSpec

NO_CRC = "holds no CRC"  # of formats of which a changed value cannot be seen
_PACKED = "_packed_params ("  # of torch's quantised layers: (weight, bias) instead of a tensor


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
        files: all that was read: the file, and those that it names.
        size: bytes of the file.
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
        self.files: tuple[Path, ...] = (path,)
        self.size = 0
        self._stamps: dict[Path, tuple[int, ...]] = {}
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

    def require_unchanged(self) -> None:
        """Raise UnreadableError where a file is another than when it was opened."""
        for path, stamp in self._stamps.items():
            if stamp_of(path) != stamp:
                raise changed(path)

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
        removed = self.prefix.removesuffix(prefix)
        made = Checkpoint(self.path, tensors, words, self.framework, removed)
        made.files, made.size, made._stamps = self.files, self.size, self._stamps
        return made


def read_checkpoint(path: str | PathLike[str], key: str | None = None) -> Checkpoint:
    """Read the state dict of a checkpoint, whatever the name of the file.

    Formats (`convert.formats.table`): torch.save (zip, or before 1.6), TorchScript archives,
    .safetensors, the index of a sharded checkpoint (`*.index.json`), .onnx (its initializers),
    .pdparams and other pickles of NumPy arrays. Wrappers ("state_dict", "model", ...) and prefixes
    that all names have (`module.`, `_orig_mod.`, `backbone.`; `model.` and `net.` of Lightning) are
    removed; `found_as` says so.
    `key` chooses among several state dicts, by the names that the error lists.

    Raises:
        UnreadableError: the file is absent, damaged, of another format, holds no tensors, or could
            be read only by running code that it names.
        UserError: it holds several state dicts and `key` names none of them.
    """
    return _read(Path(path), key)


def _read(path: Path, key: str | None, is_part: bool = False) -> Checkpoint:
    """Read a checkpoint, or the part of one that an index names: not by an index again."""
    stamp = stamp_of(path)
    data = mapped(path)
    head = FileHead(bytes(data[:1024]), len(data), path.suffix.lower())
    contents = format_of(path, head).read(path, data)
    if contents.parts and is_part:
        raise UnreadableError(f"{path}: an index, which another index names as a file of tensors")
    no_parts: dict[Path, tuple[int, ...]] = {}
    tree, stamps, more = contents.tree, no_parts, ""
    if contents.parts:
        tree, stamps, more = _joined(path, contents.parts)
    found = _of_tree(path, key, contents.framework, tree, contents.words + more)
    found.size = len(data)
    found._stamps |= {path: stamp} | stamps | dict(contents.beside)
    found.files = tuple(found._stamps)
    return found


def _of_tree(path: Path, key: str | None, framework: str, tree: Any, words: str) -> Checkpoint:
    """Choose the state dict inside what a pickle holds."""
    found = find_state_dict(tree, _is_tensor, key, path)
    if wrong := next((name for name in found.tensors if not is_name(name)), None):
        raise UnreadableError(
            f"{path}: the name of a tensor is none: {in_one_line(wrong[:80])}; rename it in PyTorch"
        )
    if packed := next((name for name in found.beside if _PACKED in name), None):
        what = "the packed weight of a quantised layer"
        raise _not_plain(path, packed.rpartition(" (")[0], what, "quantised", found.place)
    tensors = {name: _plain(path, name, v, found.place) for name, v in found.tensors.items()}
    words += found.describe(len(second_names(tensors)))
    return Checkpoint(path, tensors, words, framework, found.prefix)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (Stored, Odd))


def _plain(path: Path, name: str, value: Any, place: str) -> Stored:
    if isinstance(value, Stored):
        return value
    raise _not_plain(path, name, value.what, value.what, place)


def _not_plain(path: Path, name: str, what: str, kind: str, place: str) -> UnreadableError:
    recipe = for_tensor(path, kind, place)
    return UnreadableError(f"{path}: {name} is not a plain dense tensor, but {what}{recipe}")


def _joined(
    path: Path, places: Mapping[str, str]
) -> tuple[dict[str, Stored], dict[Path, tuple[int, ...]], str]:
    """Join the files that an index names; return their tensors, {file: stamp}, and words.

    Each must hold what the index says and nothing else. Words where some hold no checksum.
    """
    words = ""
    files: dict[str, dict[str, Stored]] = {}
    stamps: dict[Path, tuple[int, ...]] = {}
    for name in dict.fromkeys(places.values()):
        part = _read(path.with_name(name), None, is_part=True)
        stamps |= part._stamps
        words = words or ("which hold no CRC, " if NO_CRC in part.found_as else "")
        files[name] = {part.prefix + k: part._tensors[k] for k in part}
    for name, tensors in files.items():
        if unlisted := [k for k in tensors if places.get(k) != name]:
            raise UnreadableError(f"{path}: {name} holds {unlisted[0]}, which the index does not")
    if absent := [k for k, name in places.items() if k not in files[name]]:
        raise UnreadableError(f"{path}: {absent[0]} is not in {places[absent[0]]}, as it says")
    return {k: files[name][k] for k, name in places.items()}, stamps, words


def require_framework(checkpoint: Checkpoint, framework: str, what: str) -> None:
    """Raise UserError where a file is of the other framework than `what` needs."""
    if checkpoint.framework != framework:
        raise UserError(
            f"{checkpoint.path}: {what} needs a file of {framework}, this is one of "
            f"{checkpoint.framework} ({checkpoint.found_as})"
        )
