"""Tensors where they lie in a file: described at once, made into arrays when asked for."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

# Shapes of hostile files: NumPy 1.26 holds 32 dimensions; an expanded tensor (stride 0) may be
# larger than its storage, but not absurdly so.
_MOST_DIMENSIONS = 32
_EXPANDED_BYTES = 64 << 20
_EXPANDED_TIMES = 16

# What torch and safetensors hold and NumPy does not: names of ml_dtypes.
EXTENDED = {
    *("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    "float8_e8m0fnu",
}


@dataclass(frozen=True)
class FileHead:
    """What a format is told by: the first bytes of a file, its size, the end of its name."""

    data: bytes
    size: int
    suffix: str  # lower case, with its dot


@dataclass(frozen=True)
class Contents:
    """What the reader of a format found in a file.

    Attributes:
        tree: the object that the file holds; its tensors are `Stored`.
        framework: whose names and layouts they have.
        words: how it was found, a clause that goes on.
        parts: of an index: name of a tensor -> file beside it that holds the tensor.
        beside: other files in which tensors of the tree lie, with their stamps (`mapped.stamp_of`)
            of before they were opened.
    """

    tree: Any
    framework: str
    words: str
    parts: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[Path, tuple[int, ...]] = field(default_factory=dict)


class DamagedError(Exception):
    """What a file says about itself contradicts itself; the message is a clause."""


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the little-endian dtype called `name` ("float32", "bfloat16").

    Raises DamagedError where neither NumPy nor ml_dtypes has it.
    """
    if name in EXTENDED and hasattr(ml_dtypes, name):
        return np.dtype(getattr(ml_dtypes, name))
    try:
        return np.dtype(name).newbyteorder("<")
    except TypeError:
        raise DamagedError(f"dtype {name} is not one that can be read") from None


class Storage:
    """A stretch of bytes of a file; where the file holds their CRC-32, it is checked once."""

    def __init__(self, data: memoryview, crc: int | None = None, name: str = "") -> None:
        self._data = data
        self._crc = crc
        self.name = name
        self.nbytes = data.nbytes

    def data(self) -> memoryview:
        """Return the bytes; raises DamagedError where they differ from their CRC."""
        if self._crc is not None:
            if zlib.crc32(self._data) != self._crc:
                raise DamagedError(f"the bytes of {self.name} differ from their CRC")
            self._crc = None
        return self._data


@dataclass(eq=False)
class Stored:
    """One tensor in a storage; strides and offset count elements.

    Raises DamagedError where it reaches outside its storage or its shape is absurd.
    """

    storage: Storage
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if not all(map(_is_length, numbers)):
            raise DamagedError("a tensor's shape, strides or offset are not numbers that can be")
        if len(self.shape) != len(self.strides) or len(self.shape) > _MOST_DIMENSIONS:
            raise DamagedError(
                f"a tensor of {len(self.shape)} dimensions has {len(self.strides)} strides"
            )
        if self.size:
            reach = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
            held = self.storage.nbytes // self.dtype.itemsize
            if self.offset + reach >= held:
                raise DamagedError(
                    f"a tensor of shape {self.shape} reaches to element {self.offset + reach} of "
                    f"a storage of {held}"
                )
        if self.nbytes > max(_EXPANDED_BYTES, _EXPANDED_TIMES * self.storage.nbytes):
            raise DamagedError(f"a tensor of shape {self.shape} in {self.storage.nbytes} bytes")

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor itself."""
        return self.size * self.dtype.itemsize

    @property
    def place(self) -> tuple[Any, ...]:
        """What two names of one tensor have in common."""
        return (id(self.storage), self.offset, self.dtype, self.shape, self.strides)

    def view(self) -> np.ndarray:
        """Return the array as a read-only view of the file; it may be unaligned.

        Raises DamagedError where the bytes differ from their CRC.
        """
        flat = np.frombuffer(self.storage.data(), np.uint8)
        if not self.size:
            return np.zeros(self.shape, self.dtype)
        start = self.offset * self.dtype.itemsize
        if self.strides == contiguous(self.shape):
            return flat[start : start + self.nbytes].view(self.dtype).reshape(self.shape)
        whole = flat[: flat.size - flat.size % self.dtype.itemsize].view(self.dtype)
        return np.lib.stride_tricks.as_strided(
            whole[self.offset :],
            self.shape,
            tuple(s * self.dtype.itemsize for s in self.strides),
            writeable=False,
        )


def _is_length(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**62


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of an array of `shape` in C order.

    Raises DamagedError for a shape that no array has: its product could take minutes.
    """
    if len(shape) > _MOST_DIMENSIONS or not all(map(_is_length, shape)):
        raise DamagedError("a tensor's shape is not one that can be")
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def second_names(tensors: Mapping[str, Stored]) -> dict[str, str]:
    """Return {second name: first name} of tensors that are the same piece of the file."""
    first: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in tensors.items():
        if not tensor.size:
            continue
        if tensor.place in first:
            aliases[name] = first[tensor.place]
        first.setdefault(tensor.place, name)
    return aliases
