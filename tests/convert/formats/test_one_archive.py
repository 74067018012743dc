"""Two archives in one file: what torch reads, or a refusal; never the values of the other one."""

import io
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest

from common.errors import UnreadableError
from convert import read_checkpoint

torch = pytest.importorskip("torch")

LEGACY = {"_use_new_zipfile_serialization": False}


def saved(value, **options):
    file = io.BytesIO()
    state = {"w": torch.full((4,), float(value)), "b": torch.full((2,), float(value))}
    torch.save(state, file, **options)
    return file.getvalue()


ONE, TWO = saved(1), saved(2)
LEGACY_ONE, LEGACY_TWO = saved(1, **LEGACY), saved(2, **LEGACY)
END = ONE.rindex(b"PK\5\6")
START = struct.unpack("<I", ONE[END + 16 : END + 20])[0]
END64 = ONE.rindex(b"PK\6\6")


def with_comment(data, comment):
    end = data.rindex(b"PK\5\6")
    return data[: end + 20] + struct.pack("<H", len(comment)) + comment


def moved(data, by):
    """Return the archive for a place `by` bytes later: every offset counts from there."""
    data, end64, end = bytearray(data), data.rindex(b"PK\6\6"), data.rindex(b"PK\5\6")
    (start,) = struct.unpack("<I", data[end + 16 : end + 20])
    place = start
    while data[place : place + 4] == b"PK\1\2":
        (held,) = struct.unpack("<I", data[place + 42 : place + 46])
        data[place + 42 : place + 46] = struct.pack("<I", held + by)
        place += 46 + sum(struct.unpack("<3H", data[place + 28 : place + 34]))
    data[end + 16 : end + 20] = struct.pack("<I", start + by)
    data[end64 + 48 : end64 + 56] = struct.pack("<Q", start + by)
    data[end64 + 56 + 8 : end64 + 56 + 16] = struct.pack("<Q", end64 + by)
    return bytes(data)


def hidden_behind_the_directory():
    """Two directories: the one that the end record names, and another before it."""
    grown = ONE[:START] + TWO[START : TWO.rindex(b"PK\6\6")]
    shift = len(grown) - START
    end = bytearray(ONE[END64:])
    end[48:56] = struct.pack("<Q", START + shift)
    end[64:72] = struct.pack("<Q", END64 + shift)
    end[END - END64 + 16 : END - END64 + 20] = struct.pack("<I", START + shift)
    return grown + ONE[START:END64] + bytes(end)


def end_records_that_differ():
    data = bytearray(ONE + TWO)
    end = bytes(data).rindex(b"PK\5\6")
    data[end + 16 : end + 20] = struct.pack("<I", len(ONE) + START)
    return bytes(data)


def zip_of(members):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def members(data, folder="archive"):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(f"{folder}/{n.partition('/')[2]}", archive.read(n)) for n in archive.namelist()]


def a_tar_that_begins_like_a_pickle():
    """torch tries its oldest format, tar, before the pickles."""
    import tarfile

    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    info = tarfile.TarInfo("x" * 99)
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    text = b"\x80\x02}(X\x0d\0\0\0little_endian\x88X\x01\0\0\0aX\xd0\2\0\0"
    block[: len(head + text)] = head + text
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    rest = block[len(head + text) :]
    filler = bytes(0x2D0 - len(rest))
    system = bytes(block) + filler + b"u."
    return system + LEGACY_ONE[LEGACY_ONE.index(b"u.") + 2 :]


CASES = {
    "two saves appended": ONE + TWO,
    "appended at its place": ONE + moved(TWO, len(ONE)),
    "three": ONE + TWO + saved(3),
    "a zip in a comment": with_comment(ONE, TWO),
    "a zip at its place in a comment": with_comment(ONE, moved(TWO, len(ONE))),
    "a comment": with_comment(ONE, b"made by hand"),
    "bytes before, offsets kept": b"PK\3\4" + b"x" * 60 + ONE,
    "bytes before, offsets moved": b"PK\3\4" + b"x" * 60 + moved(ONE, 64),
    "junk before": b"junk" * 16 + moved(ONE, 64),
    "bytes behind": ONE + b"x",
    "two directories": hidden_behind_the_directory(),
    "two end records": end_records_that_differ(),
    "a hole": ONE[:START] + b"x" * 8 + moved(ONE, 8)[START:],
    "names that differ in case": zip_of(
        [*members(ONE), ("archive/DATA.PKL", dict(members(TWO))["archive/data.pkl"])]
    ),
    "two folders": zip_of([*members(ONE, "a"), *members(TWO, "b")]),
    "beside the folder": zip_of([*members(ONE), *((n[8:], d) for n, d in members(TWO))]),
    "twice": zip_of([*members(ONE), *members(TWO)]),
    "two legacy files": LEGACY_ONE + LEGACY_TWO,
    "zip behind legacy": LEGACY_ONE + TWO,
    "legacy behind zip": ONE + LEGACY_TWO,
    "tar and pickle": a_tar_that_begins_like_a_pickle(),
}


def read_by_torch(path):
    try:
        return torch.load(path, weights_only=True)["w"].numpy()
    except Exception:
        return None


def read_here(path):
    """Return the array, or None where the file is refused."""
    try:
        return read_checkpoint(path)["w"]
    except UnreadableError:
        return None


@pytest.mark.parametrize("case", CASES)
def test_one_archive_at_its_place_or_a_refusal(tmp_path, case):
    path = tmp_path / "m.pth"
    path.write_bytes(CASES[case])
    expected, got = read_by_torch(path), read_here(path)
    assert got is None or (expected is not None and np.array_equal(got, expected))
    with pytest.raises(UnreadableError, match=str(path)) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("case", ["two saves appended", "a zip in a comment", "two directories"])
def test_the_refusal_says_how_to_get_what_torch_reads(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.pth").write_bytes(CASES[case])
    with pytest.raises(UnreadableError, match="not one archive at its place") as caught:
        read_checkpoint("m.pth")
    expected = read_by_torch("m.pth")
    exec(str(caught.value).splitlines()[-1].strip(), {"torch": torch})
    assert np.array_equal(read_checkpoint("again.pth")["w"], expected)


def test_whole_archives_of_every_writer_are_read(tmp_path):
    path = tmp_path / "m.pth"
    unseekable = io.BytesIO()
    unseekable.seekable = lambda: False
    with zipfile.ZipFile(unseekable, "w") as archive:  # CRC and sizes stand behind each member
        for name, data in members(ONE):
            archive.writestr(name, data)
    for data in (ONE, LEGACY_ONE, zip_of(members(ONE)), unseekable.getvalue()):
        path.write_bytes(data)
        assert np.array_equal(read_checkpoint(path)["w"], np.ones(4))
        assert np.array_equal(read_by_torch(path), np.ones(4))


def test_a_tensor_that_is_changed_after_it_was_made_is_refused(tmp_path):
    """torch's BUILD calls `set_` of a tensor, which gives it other values."""
    pickled = dict(members(ONE))["archive/data.pkl"]
    at = pickled.index(b"Rq", pickled.index(b"FloatStorage")) + 1
    at = pickled.index(b"Rq", at) + 3  # behind the tensor and its number in the memo
    path = tmp_path / "m.pth"
    changed = pickled[:at] + b")b" + pickled[at:]
    path.write_bytes(zip_of([("archive/data.pkl", changed), *members(ONE)[1:]]))
    expected = read_by_torch(path)
    assert expected is not None
    assert expected.shape == (0,)
    with pytest.raises(UnreadableError, match="changes something that is no object"):
        read_checkpoint(path)
