"""Reads a stranger's checkpoint without running any code from it."""

import codecs
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UnreadableError

# torch.save before 1.6 begins with this pickled number (torch/serialization.py, MAGIC_NUMBER).
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_HEAD_BYTES = 1 << 20  # of an unknown file, enough to say what it looks like
_HARMLESS = ("numpy", "ml_dtypes", "collections.OrderedDict", "_codecs.encode")


class Checkpoint(Mapping[str, np.ndarray]):
    """The tensors of one state dict, read-only; an array is made when it is asked for.

    Where the file can be mapped, arrays are views of it and no copy is made. bfloat16 and float8
    come in ml_dtypes' types.

    Attributes:
        path: the file.
        aliases: second name -> first name of tensors that share storage.
        found_as: how the tensors were found in the file, in words.
    """

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, Any],
        to_array: Callable[[Any], np.ndarray],
        aliases: Mapping[str, str],
        found_as: str,
    ) -> None:
        self.path = path
        self.aliases = dict(aliases)
        self.found_as = found_as
        self._tensors = tensors
        self._to_array = to_array

    def __getitem__(self, key: str) -> np.ndarray:
        array = self._to_array(self._tensors[key])
        array.setflags(write=False)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def read_checkpoint(path: str | PathLike[str], key: str | None = None) -> Checkpoint:
    """Read the state dict of a file of `torch.save` (zip or pre-1.6), whatever its name.

    Wrappers ("state_dict", "model", ...) and the prefixes `module.` and `_orig_mod.` are removed;
    `found_as` says so. `key` chooses among several state dicts, by the names that the error lists.

    Raises:
        UnreadableError: the file is absent, damaged, of another format, holds no tensors, or could
            be read only by running code that it names.
        UserError: it holds several state dicts and `key` names none of them.
    """
    path = Path(path)
    legacy = _look(path)
    from convert.checkpoint_torch import read_torch

    return read_torch(path, key, legacy)


def _look(path: Path) -> bool:
    """Return whether `path` is of the pre-1.6 format, False if it is a zip of torch.save.

    Raises UnreadableError for anything else, saying what it looks like.
    """
    try:
        if path.is_dir():
            raise UnreadableError(f"{path}: a folder, not a checkpoint file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such file") from None
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    if not head:
        raise UnreadableError(f"{path}: the file is empty; download or save it again")
    if head.startswith(b"PK"):
        _look_into_zip(path)
        return False
    if _LEGACY_MAGIC in head[:64]:
        return True
    raise UnreadableError(f"{path}: not a file of torch.save: {_likeness(path, head)}")


def _look_into_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UnreadableError(
            f"{path}: a zip file that is damaged or cut off ({path.stat().st_size} bytes); "
            "download or save it again"
        ) from None
    inside = {name.partition("/")[2] for name in names}
    if any(name == "constants.pkl" or name.startswith("code/") for name in inside):
        raise UnreadableError(
            f"{path}: a TorchScript archive; save its weights alone, in PyTorch: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pth')"
        )
    if "data.pkl" not in inside:
        shown = ", ".join(sorted(names)[:3])
        raise UnreadableError(
            f"{path}: a zip file, but not of torch.save; it holds: {shown or 'nothing'}"
        )


def _likeness(path: Path, head: bytes) -> str:
    """Say what the first bytes of a file look like."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= path.stat().st_size:
        return "it looks like safetensors, which is not read yet"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _likeness_of_pickle(head)
    if head.startswith(b"\x1f\x8b"):
        return "it is packed with gzip; unpack it first"
    if head[257:262] == b"ustar":
        return "it is a tar archive; unpack it first"
    if head.startswith(b"\x89HDF"):
        return "it looks like HDF5"
    with suppress(UnicodeDecodeError):  # incremental: the last character may be cut
        start = codecs.getincrementaldecoder("utf-8")().decode(head[:1024])
        if all(char.isprintable() or char.isspace() for char in start):
            line = start.strip().partition("\n")[0][:60]
            return f"it is a text file, beginning {line!r}; was a web page or a pointer downloaded?"
    return f"it begins with {head[:8].hex(' ')}, which no known format does"


def _likeness_of_pickle(head: bytes) -> str:
    wanted = [name for name in _globals_of(head) if not name.startswith(_HARMLESS)]
    if wanted:
        return (
            f"it is a pickle that asks to call {', '.join(dict.fromkeys(wanted))}, so reading it "
            "would run code; nothing was run. Ask its author for a file of torch.save(state_dict)"
        )
    return "it is a plain pickle; Paddle's .pdparams look like this, and are not read yet"


def _globals_of(pickle: bytes) -> list[str]:
    """List what a pickle would import, without running it; a cut-off pickle as far as it goes."""
    found: list[str] = []
    strings: list[str] = []
    memo: dict[int, str | None] = {}
    last: str | None = None
    with suppress(Exception):  # a hostile or cut-off pickle; what was seen so far counts
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name in {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"}:
                memo[len(memo) if argument is None else int(argument)] = last
                continue
            last = argument if isinstance(argument, str) else None
            if opcode.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                found.append(".".join(strings[-2:]))
            elif opcode.name in {"GET", "BINGET", "LONG_BINGET"}:
                last = memo.get(int(argument or 0))
            if last is not None:
                strings.append(last)
    return found
