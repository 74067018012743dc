"""Pickles written opcode by opcode: the pieces that both kinds of files are made of."""

import pickle
import struct
from typing import Any


def global_of(module: str, name: str) -> bytes:
    """Return the opcodes that push what `module` calls `name`."""
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def tuple_of(items: bytes) -> bytes:
    """Return the opcodes that push a tuple of what `items` push."""
    return pickle.MARK + items + pickle.TUPLE


def plain(value: Any) -> bytes:
    """Return the opcodes that push None, an int64, bytes (255 at most), text or a tuple."""
    if value is None:
        return pickle.NONE
    if isinstance(value, bool):
        return pickle.NEWTRUE if value else pickle.NEWFALSE
    if isinstance(value, int):
        small = -(2**31) <= value < 2**31
        return (
            pickle.BININT + struct.pack("<i", value)
            if small
            else pickle.LONG1 + b"\x08" + struct.pack("<q", value)
        )
    if isinstance(value, bytes):
        return pickle.SHORT_BINBYTES + bytes([len(value)]) + value
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    assert isinstance(value, tuple), value
    return tuple_of(b"".join(map(plain, value)))
