"""The members of a zip file of torch.save, mapped where they lie.

torch reads such files with its own reader (caffe2/serialize), which ignores the CRCs and takes what
the directory says on trust. Here a member counts only where the directory and the member's own
header agree, and its bytes are compared with their CRC when they are used.

Where a file holds two archives, readers differ in which they take. So a file is read only if it is
one archive from its first byte to its last: the members one after the other, then the directory,
then its end records.
"""

import struct
import zipfile
from pathlib import Path

from common.errors import UnreadableError
from convert.formats.recipes import for_zip
from convert.formats.stored import DamagedError, Storage

# PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.9, 4.3.14, 4.3.15 and 4.3.16.
_HEADER = struct.Struct("<4s5H3I2H")
_DESCRIPTOR, _DESCRIPTORS = b"PK\x07\x08", (struct.Struct("<3I"), struct.Struct("<I2Q"))
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_SAVE_AGAIN = "download or save it again"


def members(path: Path, data: memoryview) -> dict[str, Storage]:
    """Return {name without the folder around all: bytes} of the zip `path`, mapped as `data`.

    Raises UnreadableError where the zip is damaged or not one that torch.save writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        found = _members(data, entries, _start_of_directory(data, len(entries)))
    except _NotOneError as error:
        raise UnreadableError(
            f"{path}: not one archive at its place: {error}. Readers differ in what such a file "
            "holds. Save it again with the reader that you trust:\n"
            f"    torch.save(torch.load({path.name!r}, weights_only=True), 'again.pth')"
        ) from None
    except DamagedError as error:
        raise UnreadableError(f"{path}: a damaged zip file: {error}; {_SAVE_AGAIN}") from None
    except Exception:  # a damaged directory can raise anything
        raise UnreadableError(
            f"{path}: a zip file that is damaged or cut off ({len(data)} bytes); {_SAVE_AGAIN}"
        ) from None
    if "data.pkl" not in found or not _folder(entries):
        shown = ", ".join(sorted(entry.filename for entry in entries)[:3])
        raise UnreadableError(
            f"{path}: a zip file, but not of torch.save; it holds: {shown[:200] or 'nothing'}"
            + for_zip(path, [entry.filename for entry in entries])
        )
    return found


class _NotOneError(DamagedError):
    """The file is not one archive from its first byte to its last."""


def _folder(entries: list[zipfile.ZipInfo]) -> str:
    """Return the folder that all members are in, "" where there is none."""
    folders = {entry.filename.partition("/")[0] for entry in entries if "/" in entry.filename}
    whole = len(folders) == 1 and all("/" in entry.filename for entry in entries)
    return folders.pop() if whole else ""


def _members(
    data: memoryview, entries: list[zipfile.ZipInfo], directory: int
) -> dict[str, Storage]:
    """Return the members, which must lie one after the other and fill what is before `directory`.

    Names are compared as torch's reader does, without regard to case.
    """
    found: dict[str, Storage] = {}
    seen: set[str] = set()
    folder, taken = _folder(entries), 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.filename.partition("/")[2] if folder else entry.filename
        start = _start(data, entry)
        if entry.header_offset < taken:
            raise DamagedError(f"{name[:80]} lies over another member")
        if entry.header_offset > taken:
            raise _NotOneError(
                f"{entry.header_offset - taken} bytes before {name[:80]} belong to no member"
            )
        end = start + entry.compress_size
        if end > len(data):
            raise DamagedError(f"{name[:80]} reaches beyond the file")
        taken = _behind(data, entry, end)
        if not name or entry.is_dir():
            continue
        parts = name.split("/")
        if ".." in parts or "\\" in name or name.startswith("/") or "\0" in name:
            raise DamagedError(f"a member is called {name[:80]!r}")
        if name.lower() in seen:
            raise DamagedError(f"two members are called {name[:80]!r}")
        seen.add(name.lower())
        packed = entry.compress_type != zipfile.ZIP_STORED
        kind = _Packed if packed or entry.file_size != entry.compress_size else Storage
        found[name] = kind(data[start:end], entry.CRC, name[:80])
    if taken != directory:
        raise _NotOneError(f"{directory - taken} bytes before its directory belong to no member")
    return found


def _behind(data: memoryview, entry: zipfile.ZipInfo, end: int) -> int:
    """Return where a member ends; torch.save writes its CRC and sizes once more behind it."""
    if not entry.flag_bits & 0x8:
        return end
    start = end + len(_DESCRIPTOR) * (bytes(data[end : end + 4]) == _DESCRIPTOR)
    expected = (entry.CRC, entry.compress_size, entry.file_size)
    for form in _DESCRIPTORS:
        held = bytes(data[start : start + form.size])
        if len(held) == form.size and form.unpack(held) == expected:
            return start + form.size
    raise DamagedError(f"the CRC and sizes behind {entry.filename[:80]} are not the directory's")


def _start_of_directory(data: memoryview, count: int) -> int:
    """Return where the directory starts, which must be behind the members and before the end.

    `count` is how many members were found in it. Raises _NotOneError.
    """
    place = len(data) - _END.size
    _, *numbers, size, start, comment = _END.unpack(data[place:])
    if bytes(data[place : place + 4]) != b"PK\x05\x06" or comment:
        raise _NotOneError("a comment or other bytes follow its directory")
    disks, held = numbers[:2], numbers[2:]
    locator = bytes(data[max(0, place - _LOCATOR64.size) : place])
    if locator.startswith(b"PK\x06\x07"):
        _, _, place, _ = _LOCATOR64.unpack(locator)
        if place + _END64.size != len(data) - _END.size - _LOCATOR64.size:
            raise _NotOneError("its end records do not lie where they say")
        large = _END64.unpack(data[place : place + _END64.size])
        small = ((*held, size, start), (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF))
        if any(a not in (b, c) for a, b, c in zip(small[0], large[6:], small[1], strict=True)):
            raise _NotOneError("its two end records contradict each other")
        if large[0] != b"PK\x06\x06":
            raise _NotOneError("its end records do not lie where they say")
        disks, held, size, start = list(large[4:6]), list(large[6:8]), large[8], large[9]
    if disks != [0, 0] or held != [count, count] or start + size != place:
        raise _NotOneError("its directory does not lie where its end record says")
    return int(start)


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
