"""The members of a zip file of torch.save, mapped where they lie.

torch reads such files with its own reader (caffe2/serialize), which ignores the CRCs and takes what
the directory says on trust. Here a member counts only where the directory and the member's own
header agree, and its bytes are compared with their CRC when they are used.
"""

import struct
import zipfile
from pathlib import Path

from common.errors import UnreadableError
from convert.formats.stored import DamagedError, Storage

_HEADER = struct.Struct("<4s5H3I2H")  # PKWARE's APPNOTE.TXT, section 4.3.7
_SAVE_AGAIN = "download or save it again"


def members(path: Path, data: memoryview) -> dict[str, Storage]:
    """Return {name without the folder around all: bytes} of the zip `path`, mapped as `data`.

    Raises UnreadableError where the zip is damaged or not one that torch.save writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        found = _members(data, entries)
    except DamagedError as error:
        raise UnreadableError(f"{path}: a damaged zip file: {error}; {_SAVE_AGAIN}") from None
    except Exception:  # a damaged directory can raise anything
        raise UnreadableError(
            f"{path}: a zip file that is damaged or cut off ({len(data)} bytes); {_SAVE_AGAIN}"
        ) from None
    if "data.pkl" not in found:
        shown = ", ".join(sorted(entry.filename for entry in entries)[:3])
        raise UnreadableError(
            f"{path}: a zip file, but not of torch.save; it holds: {shown[:200] or 'nothing'}"
        )
    return found


def _members(data: memoryview, entries: list[zipfile.ZipInfo]) -> dict[str, Storage]:
    found: dict[str, Storage] = {}
    folders = {entry.filename.partition("/")[0] for entry in entries if "/" in entry.filename}
    taken = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.filename if len(folders) != 1 else entry.filename.partition("/")[2]
        if not name or entry.is_dir():
            continue
        parts = name.split("/")
        if ".." in parts or "\\" in name or name.startswith("/") or "\0" in name:
            raise DamagedError(f"a member is called {name[:80]!r}")
        if name in found:
            raise DamagedError(f"two members are called {name[:80]!r}")
        start = _start(data, entry)
        if entry.header_offset < taken:
            raise DamagedError(f"{name[:80]} lies over another member")
        taken = start + entry.compress_size
        if taken > len(data):
            raise DamagedError(f"{name[:80]} reaches beyond the file")
        packed = entry.compress_type != zipfile.ZIP_STORED
        kind = _Packed if packed or entry.file_size != entry.compress_size else Storage
        found[name] = kind(data[start:taken], entry.CRC, name[:80])
    return found


class _Packed(Storage):
    """A compressed member, which only code of TorchScript is; it is refused when it is used."""

    def data(self) -> memoryview:
        raise DamagedError(f"{self.name} is compressed, which torch.save does not do")


def _start(data: memoryview, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member start; its header must say what the directory says."""
    name = entry.filename[:80]
    if entry.flag_bits & 0x1:
        raise DamagedError(f"{name} is encrypted")
    header = bytes(data[entry.header_offset : entry.header_offset + _HEADER.size])
    magic, _, flags, method, _, _, _, _, _, name_length, extra = _HEADER.unpack(header)
    start = entry.header_offset + _HEADER.size
    held = bytes(data[start : start + name_length])
    expected = entry.orig_filename.encode("utf-8" if flags & 0x800 else "cp437", "replace")
    if magic != b"PK\x03\x04" or method != entry.compress_type or held != expected:
        raise DamagedError(f"the directory and the header of {name} differ")
    return start + name_length + int(extra)
