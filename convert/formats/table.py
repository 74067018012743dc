"""The formats of checkpoints: THE TABLE. A new one is a file beside this and a row."""

import codecs
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UnreadableError
from convert.formats import pdparams, safetensors, sharded_index
from convert.formats.onnx import read as onnx
from convert.formats.stored import Contents, FileHead
from convert.formats.stream import Writing, Written
from convert.formats.torch_save import read_legacy, read_zip, write_zip
from convert.names.spec import PADDLE, TORCH

Writer = Callable[[Mapping[str, np.ndarray], Path, Writing], Written]


@dataclass(frozen=True)
class Format:
    """One row.

    Attributes:
        name: what it is called in the guide and in errors.
        suffixes: what its files end with, lower case, the usual one first.
        looks_like: tells it by content; the first row that says yes reads the file, whatever the
            file is called.
        read: finds what a mapped file holds; raises UnreadableError in its own words.
        write: writes a state dict; None where such files are only read.
        native: the framework whose own format it is; None: of either.
        holds: dtypes that are written and come back as they were.
    """

    name: str
    suffixes: tuple[str, ...]
    looks_like: Callable[[FileHead], bool]
    read: Callable[[Path, memoryview], Contents]
    write: Writer | None = None
    native: str | None = None
    holds: frozenset[str] = frozenset()


_OF_TORCH = (".pth", ".pt", ".tar", ".ckpt", ".bin")

PDPARAMS = Format(
    "pickle of NumPy arrays, as `paddle.save` writes it",
    (".pdparams",),
    pdparams.looks_like_pickle,
    pdparams.read,
    pdparams.write_pdparams,
    PADDLE,
    pdparams.HOLDS,
)
SAFETENSORS = Format(
    "safetensors",
    (".safetensors",),
    safetensors.looks_like_safetensors,
    safetensors.read,
    safetensors.write_safetensors,
    holds=safetensors.HOLDS,
)

FORMATS = (
    Format(
        "zip file of `torch.save`, TorchScript archive",
        _OF_TORCH,
        read_zip.looks_like_zip,
        read_zip.read,
        write_zip.write_torch,
        TORCH,
        write_zip.HOLDS,
    ),
    Format(
        "`torch.save` before 1.6",
        _OF_TORCH,
        read_legacy.looks_like_legacy,
        read_legacy.read,
        native=TORCH,
    ),
    SAFETENSORS,
    Format(
        "index of a sharded checkpoint",
        (".index.json",),
        sharded_index.looks_like_index,
        sharded_index.read,
    ),
    PDPARAMS,
    Format("initializers of an ONNX graph", (".onnx",), onnx.looks_like_onnx, onnx.read),
)
SUFFIXES = tuple(dict.fromkeys(suffix for row in FORMATS for suffix in row.suffixes))


def format_of(path: Path, head: FileHead) -> Format:
    """Return the format of the file `path` that begins with `head`.

    Raises UnreadableError that says what it looks like instead.
    """
    for row in FORMATS:
        if row.looks_like(head):
            return row
    raise UnreadableError(f"{path}: no checkpoint that can be read: {_likeness(head.data)}")


def written_for(framework: str) -> list[Format]:
    """Return the formats in which a state dict of `framework` can be written."""
    return [row for row in FORMATS if row.write and row.native in (None, framework)]


def output_format(output: Path, framework: str) -> Format:
    """Return the format in which a state dict of `framework` is written to `output`.

    The suffix decides among those that can; any other suffix is the framework's own format.
    """
    able = written_for(framework)
    for row in able:
        if output.suffix.lower() in row.suffixes:
            return row
    return next(row for row in able if row.native == framework)


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
