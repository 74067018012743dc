"""A corpus of damaged and hostile checkpoints, made from small good ones: {name: bytes}."""

import builtins
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np

from convert.formats.pdparams import write_pdparams
from convert.formats.safetensors import write_safetensors
from tests.hostile.damage import drawing


def state_of():
    rng = np.random.default_rng(0)
    return {
        "fc.weight": rng.normal(size=(8, 6)).astype("f4"),
        "fc.bias": rng.normal(size=8).astype("f4"),
        "bn.weight": rng.normal(size=4).astype("f4"),
        "bn.bias": rng.normal(size=4).astype("f4"),
        "bn.running_mean": rng.normal(size=4).astype("f4"),
        "bn.running_var": rng.uniform(1, 2, 4).astype("f4"),
        "bn.num_batches_tracked": np.array(7),
        "conv.weight": rng.normal(size=(4, 3, 3, 3)).astype("f4"),
    }


def good_files(folder):
    """Return {name with its ending: bytes} of one state dict in every format."""
    import torch

    state = {key: torch.from_numpy(array) for key, array in state_of().items()}
    files = {}
    torch.save(state, folder / "a")
    files["zip.pth"] = (folder / "a").read_bytes()
    torch.save(state, folder / "a", _use_new_zipfile_serialization=False)
    files["legacy.pth"] = (folder / "a").read_bytes()
    write_safetensors(state_of(), folder / "a", metadata={"format": "pt"})
    files["plain.safetensors"] = (folder / "a").read_bytes()
    write_pdparams(state_of(), folder / "a")
    files["plain.pkl"] = (folder / "a").read_bytes()  # .pkl: torch's names and layouts
    return files


def corpus(folder, mark, every=1):
    """Return {name: bytes}; `mark` is a path that appears if code of a file runs.

    Of the good files cut short and of those with a flipped bit, one of `every`.
    """
    good = good_files(folder)
    made = {}
    for name, data in good.items():
        made |= truncated(name, data, every)
        made |= flipped(name, data, (60 if name == "zip.pth" else 25) // every)
    for at in range(len(good["zip.pth"]) - 22, len(good["zip.pth"]), every):
        made[f"end record {at} zip.pth"] = flip(good["zip.pth"], at, 0xFF)
    made |= zips(good["zip.pth"])
    made |= safetensors()
    for name, data in pickles(mark).items():
        made[f"{name} bare.pth"] = data
        made[f"{name} zip.pth"] = zip_of([("archive/data.pkl", data), ("archive/version", b"3")])
        made[f"{name} legacy.pth"] = legacy_of(data)
        made[f"{name}.pdparams"] = data
    return made


def truncated(name, data, every):
    ends = sorted({0, *drawing(every).integers(1, len(data), 100 // every).tolist()})
    return {f"cut at {end} {name}": data[:end] for end in ends}


def flipped(name, data, count):
    rng = drawing(len(data))
    places = rng.choice(len(data), count, replace=False)
    return {f"flip at {at} {name}": flip(data, at, 1 << int(rng.integers(8))) for at in places}


def flip(data, at, mask):
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def zip_of(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def replaced(members, end, data):
    return [(n, data if n.endswith(end) else d) for n, d in members]


def zips(good):
    members = members_of(good)
    folder = members[0][0].partition("/")[0]
    pickled = next(data for name, data in members if name.endswith("data.pkl"))
    other = [m for m in members if not m[0].endswith("data.pkl")]
    central = good.rindex(b"PK\x01\x02")
    made = {
        "wrong magic": b"PX" + good[2:],
        "packed": zip_of(members, zipfile.ZIP_DEFLATED),
        "bomb": zip_of([(f"{folder}/data.pkl", b"\0" * 10**7)], zipfile.ZIP_DEFLATED),
        "bomb beside": zip_of([*members, (f"{folder}/data/99", b"\0" * 10**7)]),
        "no pickle": zip_of(other),
        "no storages": zip_of([m for m in members if "/data/" not in m[0]]),
        "short storage": zip_of(replaced(members, "data/0", b"\0" * 4)),
        "long storage": zip_of(replaced(members, "data/0", b"\0" * 400)),
        "big-endian": zip_of(replaced(members, "byteorder", b"big")),
        "traversal": zip_of([*members, (f"{folder}/../../etc/passwd", b"x")]),
        "absolute": zip_of([*members, ("/etc/passwd", b"x")]),
        "twice": zip_of([*members, members[0]]),
        "two pickles": zip_of([*members, ("other/data.pkl", pickled)]),
        "empty": zip_of([]),
        "many members": zip_of([*members, *((f"{folder}/x/{i}", b"") for i in range(3000))]),
        "offset 2**32 - 2": good[: central + 42] + b"\xfe\xff\xff\xff" + good[central + 46 :],
        "over another": good[: central + 42] + b"\0\0\0\0" + good[central + 46 :],
        "size 2**32 - 2": good[: central + 20] + b"\xfe\xff\xff\xff" * 2 + good[central + 28 :],
        "data before": b"junk" * 10 + good,
        "data behind": good + b"junk" * 10,
    }
    return {f"{name} zip.pth": data for name, data in made.items()}


def header_file(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(shape=(2,), dtype="F32", offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def safetensors():
    body = b"\0" * 8
    made = {
        "length 0": header_file({}, length=0),
        "length beyond": header_file({"a": entry()}, body, 10**6),
        "length 2**63": header_file({"a": entry()}, body, 2**63),
        "length short": header_file({"a": entry()}, body, 5),
        "no table": header_file([1]),
        "no json": header_file(b"{" + b"x" * 20),
        "deep": header_file(b'{"a":' + b"[" * 100_000),
        "twice": header_file(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), body),
        "overlap": header_file({"a": entry(), "b": entry()}, body),
        "hole": header_file({"a": entry(offsets=(8, 16))}, body * 2),
        "behind": header_file({"a": entry()}, body * 2),
        "outside": header_file({"a": entry(offsets=(0, 80))}, body),
        "backwards": header_file({"a": entry(offsets=(8, 0))}, body),
        "negative": header_file({"a": entry(shape=(-2,))}, body),
        "absurd shape": header_file({"a": entry(shape=(2**40, 2**40))}, body),
        "absurd dimensions": header_file({"a": entry(shape=(1,) * 500 + (2,))}, body),
        "wrong dtype": header_file({"a": entry(dtype="F31")}, body),
        "dtype that is no text": header_file({"a": entry(dtype=["F32"])}, body),
        "fraction": header_file({"a": entry(shape=(2.0,))}, body),
        "flag for a number": header_file({"a": entry(shape=(True, 2))}, body),
        "more fields": header_file({"a": entry() | {"code": "x"}}, body),
        "fewer fields": header_file({"a": {"dtype": "F32"}}, body),
        "metadata": header_file({"a": entry(), "__metadata__": 3}, body),
    }
    return {f"{name} odd.safetensors": data for name, data in made.items()}


class Calls:
    """An object whose pickle asks to call `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def glob(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


TENSOR = glob("torch._utils", "_rebuild_tensor_v2")


def storage(key=b"'0'", kind="FloatStorage", count=b"I2\n"):
    return b"(S'storage'\n" + glob("torch", kind) + b"S" + key + b"\nS'cpu'\n" + count + b"tQ"


def tensor(size, stride, offset=b"I0\n", of=None):
    arguments = (of or storage()) + offset + size + stride + b"I00\n" + b"}"
    return b"\x80\x02}(X\x01\0\0\0a" + TENSOR + b"(" + arguments + b"tRu."


def pickles(mark):
    command = f"touch {mark}"
    run = f"__import__('os').system({command!r})"
    nested = pickle.dumps(Calls(os.system, command))
    absurd = b"(\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40t"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
    f4 = b"cnumpy\ndtype\n(S'f4'\nI00\nI01\ntR"
    return {
        "os.system": pickle.dumps({"a": Calls(os.system, command)}),
        "os.system, protocol 0": pickle.dumps(Calls(os.system, command), 0),
        "eval": pickle.dumps({"a": Calls(eval, run)}),
        "exec": pickle.dumps({"a": Calls(exec, run)}),
        "__import__": pickle.dumps({"a": Calls(__import__, "os")}),
        "getattr": pickle.dumps({"a": Calls(getattr, Calls(__import__, "os"), "system")}),
        "getattr of builtins": b"\x80\x02" + glob("builtins", "getattr") + b".",
        "pickle.loads": pickle.dumps({"a": Calls(pickle.loads, nested)}),
        "torch.load": b"\x80\x02" + glob("torch", "load") + b"(X\x01\0\0\0atR.",
        "load from bytes": b"\x80\x02"
        + glob("torch.storage", "_load_from_bytes")
        + b"(C"
        + bytes([len(nested)])
        + nested
        + b"tR.",
        "open": pickle.dumps(Calls(builtins.open, str(mark), "w")),
        "INST": b"\x80\x02(S'" + command.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01a\x85R.",
        "dotted": b"\x80\x04\x8c\x06pickle\x8c\x0aUnpickler.load"[:20] + b"\x93.",
        "numpy's loader": b"\x80\x02cnumpy\nload\n(X\x01\0\0\0atR.",
        "numpy's memmap": b"\x80\x02cnumpy\nmemmap\n(X\x01\0\0\0atR.",
        "code": b"\x80\x02ctypes\nCodeType\n.",
        "BUILD on a class": b"\x80\x02ccollections\nOrderedDict\n(N}X\x01\0\0\0aI1\nstb.",
        "BUILD on a function": b"\x80\x02" + TENSOR + b"}X\x01\0\0\0aI1\nsb.",
        "extension": b"\x80\x02\x82\x01.",
        "next buffer": b"\x80\x05\x97.",
        "protocol 9": b"\x80\x09}.",
        "deep list": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        "deep tuple": b"\x80\x02N" + b"\x85" * 200_000 + b".",
        "deep dict": b"\x80\x02" + b"}X\x01\0\0\0a" * 20_000 + b"}" + b"s" * 20_000 + b".",
        "deep key": b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns.",
        "list in itself": b"\x80\x02]q\0h\0a.",
        "dict in itself": b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
        "laughs": b"\x80\x02]q\0" + b"(h\0h\0h\0h\0e" * 1000 + b".",
        "doubled dicts": b"\x80\x02}q\0"
        + b"".join(b"}(X\1\0\0\0ah%cX\1\0\0\0bh%cuq%c" % (i, i, i + 1) for i in range(60))
        + b".",
        "copies of bytes": b"\x80\x04B"
        + struct.pack("<I", 10**5)
        + b"\0" * 10**5
        + b"q\x000("
        + b"cbuiltins\nbytearray\nh\0\x85R" * 2000
        + b"l.",
        "copies of a list": b"\x80\x04]("
        + b"N" * 10**5
        + b"eq\x000("
        + b"cbuiltins\ntuple\nh\0\x85R" * 2000
        + b"l.",
        "bytes beyond": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "text beyond": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
        "long beyond": b"\x80\x02\x8b" + struct.pack("<I", 2**31) + b"x.",
        "no stop": b"\x80\x02}",
        "stack underflow": b"\x80\x02u.",
        "unknown opcode": b"\x80\x02\xff.",
        "memo": b"\x80\x02h\x07.",
        "absurd size": tensor(absurd, absurd),
        "negative size": tensor(b"(I-1\nt", b"(I1\nt"),
        "negative offset": tensor(b"(I2\nt", b"(I1\nt", b"I-2\n"),
        "offset beyond": tensor(b"(I2\nt", b"(I1\nt", b"I1\n"),
        "stride beyond": tensor(b"(I2\nt", b"(I9\nt"),
        "expanded": tensor(b"(I100000\nI100000\nt", b"(I0\nI0\nt"),
        "size of text": tensor(b"(S'a'\nt", b"(I1\nt"),
        "strides missing": tensor(b"(I2\nt", b")"),
        "storage of text": tensor(b"(I2\nt", b"(I1\nt", of=b"S'a'\n"),
        "storage elsewhere": tensor(b"(I2\nt", b"(I1\nt", of=storage(b"'../../x'")),
        "storage of 2**62": tensor(b"(I2\nt", b"(I1\nt", of=storage(count=b"I%d\n" % (2**62))),
        "storage unknown": tensor(b"(I2\nt", b"(I1\nt", of=storage(kind="EvilStorage")),
        "array too short": b"\x80\x02}(X\1\0\0\0a"
        + array
        + b"(I1\n(I9\nt"
        + f4
        + b"I00\nC\x04aaaatbu.",
        "array absurd": b"\x80\x02}(X\1\0\0\0a"
        + array
        + b"(I1\n(I1000000000000\nt"
        + f4
        + b"I00\nC\x04aaaatbu.",
        "array of objects": b"\x80\x02}(X\1\0\0\0a"
        + array
        + b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI00\nI01\ntRI00\n]tbu.",
        "dtype of fields": b"\x80\x02cnumpy\ndtype\n(S'f4,f4'\ntR.",
    }


def legacy_of(data):
    """Put a pickle where a file from before 1.6 holds its object."""
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    system = pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
    storages = struct.pack("<q", 2) + b"\0" * 8
    return head + system + data + pickle.dumps(["0"], 2) + storages
