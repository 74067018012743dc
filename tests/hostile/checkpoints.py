"""Checkpoints of every format, their accounts and the rules for their names, all hostile."""

import json
import pickle
import struct

import numpy as np

from convert import convert_checkpoint
from convert.formats.safetensors import write_safetensors
from convert.formats.torch_save.write_zip import write_torch
from tests.convert.formats import hostile as formats
from tests.hostile.case import ANY, BAD, REFUSED, SPECIAL, Case
from tests.hostile.damage import ESCAPES, cut, damaged_json, flipped, no_json, no_yaml

OUTPUTS = ("out.pdparams", "back.pth")
# Files of which no check can see that a value was changed.
NO_CHECKSUM = ("safetensors", "pdparams", ".pkl", "legacy")


def convert(name, *more):
    """Return the command that converts a file as it is."""
    return ("convert_weights", name, "--generic", "-o", "out.pdparams", *more)


def checkpoints(folder, mark):
    """Yield files of every format: those of tests/convert/formats/hostile.py, and more."""
    for name, data in formats.corpus(folder, mark, every=12).items():
        file = name.rpartition(" ")[2]
        file = "odd" + file if file.startswith(".") else file
        crafted = not name.startswith(("cut at", "flip at", "end record"))
        whole = crafted or name.startswith("flip")
        yield Case(f"checkpoint: {name}", convert(file), {file: data}, ANY if whole else REFUSED)
    for name, (file, data) in more_checkpoints(mark).items():
        yield Case(f"checkpoint: {name}", convert(file), {file: data}, REFUSED)
    for kind, made in SPECIAL.items():
        for file in ("x.pth", "x.safetensors", "x.index.json"):
            yield Case(f"checkpoint: {kind} as {file}", convert(file), {file: made})
    for name, made in names_that_speak().items():
        yield Case(f"checkpoint: a tensor called {name!r:.40}", convert("x.pth"), made, ANY)


def state():
    """Return a small state dict."""
    return {"fc.weight": np.ones((3, 2), "f4"), "fc.bias": np.ones(3, "f4")}


def names_that_speak():
    """Return {name: files} of checkpoints of which a tensor's name is more than one."""
    names = [ESCAPES, "a\nverdict: aligned", "\u202eabc", "a\x9b31m", "", ".", "..", "a" * 5000]
    names += ["<script>alert(1)</script>", "\ud800x", "\x00", "]]>", "{0}", "%s%n", "a.weight\x85b"]
    return {
        name: {"x.pth": lambda path, name=name: write_torch({**state(), name: np.ones(2)}, path)}
        for name in names
    }


def more_checkpoints(mark):
    """Return {words: (file, bytes)} of what other programs write, changed."""
    run = pickle.dumps({"model": formats.Calls(exec, f"open({str(mark)!r}, 'w')")})
    script = [("archive/constants.pkl", b"\x80\x02)."), ("archive/version", b"3")]
    deep = b"\x80\x02" + b"c__torch__.a\nM\n)\x81}X\x01\0\0\0a" * 3000
    loop = b"\x80\x02c__torch__.a\nM\n)\x81q\0}X\x01\0\0\0ah\0sb."
    wide = b"\x80\x02c__torch__.a\nM\n)\x81q\0}(" + b"".join(
        b"X\x02\0\0\0" + bytes([97 + i // 26, 97 + i % 26]) + b"h\0" for i in range(600)
    )
    doubled = b"\x80\x02c__torch__.a\nM\n)\x81q\0" + b"".join(
        b"c__torch__.a\nM\n)\x81}(X\1\0\0\0ah%cX\1\0\0\0bh%cubq%c" % (i, i, i + 1)
        for i in range(60)
    )
    shape = b"(" + b"I1\n" * 40_000 + b"t"
    array = (
        b"\x80\x02}X\1\0\0\0acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
    )
    f4 = b"cnumpy\ndtype\n(S'f4'\nI00\nI01\ntR"
    return {
        "detectron2 that runs code": ("d.pkl", run),
        "TorchScript that holds itself": (
            "s.pt",
            formats.zip_of([("archive/data.pkl", loop), *script]),
        ),
        "TorchScript, deep": (
            "s.pt",
            formats.zip_of([("archive/data.pkl", deep + b"N" + b"sb" * 3000 + b"."), *script]),
        ),
        "TorchScript, wide": (
            "s.pt",
            formats.zip_of([("archive/data.pkl", wide + b"ub."), *script]),
        ),
        "TorchScript, doubled": (
            "s.pt",
            formats.zip_of([("archive/data.pkl", doubled + b"."), *script]),
        ),
        "TorchScript that runs code": (
            "s.pt",
            formats.zip_of([("archive/data.pkl", run), *script]),
        ),
        "40,000 dimensions": (
            "a.pth",
            formats.zip_of([("a/data.pkl", formats.tensor(shape, shape)), ("a/data/0", b"\0" * 8)]),
        ),
        "40,000 dimensions of an array": (
            "a.pdparams",
            array + b"(I1\n" + shape + f4 + b"I00\nC\x04aaaatbs.",
        ),
        "40,000 dimensions of safetensors": (
            "a.safetensors",
            formats.header_file({"a": formats.entry(shape=(1,) * 40_000 + (2,))}, b"\0" * 8),
        ),
        "a product of big numbers": (
            "a.safetensors",
            formats.header_file({"a": formats.entry(shape=(2**61,) * 30_000)}, b"\0" * 8),
        ),
        "digits": ("a.safetensors", formats.header_file(b'{"a": ' + b"9" * 10**6 + b"}")),
        "a header of blanks": ("a.safetensors", formats.header_file(b"{" + b" " * 3 * 10**7)),
        "a header of lists": ("a.safetensors", formats.header_file(b"{" + b'"a":[' * 10**6)),
        "a million memos": (
            "a.pdparams",
            b"\x80\x02}" + b"".join(b"r" + struct.pack("<I", i) for i in range(10**6)) + b".",
        ),
        "a far memo": ("a.pdparams", b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xff."),
        "a long number": ("a.pdparams", b"\x80\x02\x8b" + struct.pack("<I", 10**6) + b"9" * 10**6),
        "a number of digits": ("a.pdparams", b"\x80\x02I" + b"9" * 60_000 + b"\n."),
        "copies of bytes": (
            "a.pdparams",
            b"\x80\x04B" + struct.pack("<I", 10**6) + b"\0" * 10**6 + b"q\0"
            b"0(" + b"c__builtin__\nbytearray\nh\0\x85R" * 3000 + b"l.",
        ),
        "copies of lists": (
            "a.pdparams",
            b"\x80\x04]("
            + b"N" * 10**5
            + b"eq\0"
            + b"0("
            + b"cbuiltins\nlist\nh\0\x85R" * 3000
            + b"l.",
        ),
        "copies of tuples": (
            "a.pdparams",
            b"\x80\x04]("
            + b"N" * 10**5
            + b"eq\0"
            + b"0("
            + b"cbuiltins\ntuple\nh\0\x85R" * 3000
            + b"l.",
        ),
        "copies of dicts": (
            "a.pdparams",
            b"\x80\x04}("
            + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(10**5))
            + b"uq\0"
            + b"0("
            + b"cbuiltins\ndict\nh\0\x85R" * 1000
            + b"l.",
        ),
        "copies of text": (
            "a.pdparams",
            b"\x80\x04X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\0"
            b"0(" + b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86R" * 3000 + b"l.",
        ),
        "an array of a part": (
            "a.pdparams",
            array + b"(I1\n(I4\nt" + f4 + b"I00\nC\x04aaaatbs.",
        ),
        "npz": ("a.npz", formats.zip_of([("a.npy", b"\x93NUMPY"), ("b.npy", b"")])),
        "gzip": ("a.pth", b"\x1f\x8b" + b"\0" * 100),
        "tar": ("a.pth.tar", b"a" * 257 + b"ustar" + b"\0" * 600),
        "a web page": ("a.pth", b"<!doctype html><html>Not found</html>"),
        "hdf5": ("a.pth", b"\x89HDF\r\n\x1a\n" + b"\0" * 100),
        "escapes for a format": ("a.pth", ESCAPES.encode() + b" text"),
        "not utf-8": ("a.pth", b"\xff\xfe" * 50),
        "central directory of 2**16 entries": (
            "a.pth",
            b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0",
        ),
        "names of other members": (
            "a.pth",
            formats.zip_of([(f"{ESCAPES}/data.pkl", b"\x80\x02}."), ("\u202ea", b"")]),
        ),
    }


def shards(folder):
    """Yield sharded checkpoints whose index lies, or whose parts are damaged."""
    base = folder / "shards"
    base.mkdir()
    one, two = state(), {"bn.weight": np.ones(4, "f4"), "bn.bias": np.ones(4, "f4")}
    write_safetensors(one, base / "m-1.safetensors", metadata={"format": "pt"})
    write_safetensors(two, base / "m-2.safetensors", metadata={"format": "pt"})
    where = {**dict.fromkeys(one, "m-1.safetensors"), **dict.fromkeys(two, "m-2.safetensors")}
    index = {"metadata": {"total_size": 68}, "weight_map": where}
    (base / "m.index.json").write_text(json.dumps(index))
    command = convert("m.index.json")
    for words, data in damaged_json(index, 25).items():
        ends = ANY if "metadata" in words else REFUSED
        yield Case(f"index: {words}", command, {"m.index.json": data}, ends, base)
    part = (base / "m-2.safetensors").read_bytes()
    for words, data in {**cut(part), **flipped(part, 6, first=100)}.items():
        ends = REFUSED if "cut" in words else ANY
        yield Case(f"shard: {words}", command, {"m-2.safetensors": data}, ends, base)
    for kind, made in SPECIAL.items():
        yield Case(f"shard: {kind}", command, {"m-2.safetensors": made}, base=base)
    again = {"weight_map": {"a": "m.index.json"}}
    yield Case("index: of itself", command, {"m.index.json": json.dumps(again).encode()}, base=base)
    many = {"weight_map": {f"a{i}": f"m{i}.safetensors" for i in range(50_000)}}
    yield Case("index: of many", command, {"m.index.json": json.dumps(many).encode()}, base=base)


def accounts(folder):
    """Yield accounts that lie to the way back, and weights that are others than they say."""
    base = folder / "accounts"
    base.mkdir()
    write_safetensors(
        {**state(), "bn.num_batches_tracked": np.array(7)},
        base / "a.safetensors",
        metadata={"format": "pt"},
    )
    convert_checkpoint(base / "a.safetensors", base / "b.pdparams", generic=True)
    (base / "a.safetensors").unlink()
    name = "b.pdparams.account.json"
    document = json.loads((base / name).read_text())
    command = ("convert_weights", "b.pdparams", "--reverse", "-o", "back.pth")
    for words, data in damaged_json(document, 60).items():
        ends = ANY if " " in words else REFUSED
        yield Case(f"account: {words}", command, {name: data}, ends, base)
    for kind, made in SPECIAL.items():
        if kind != "absent":
            yield Case(f"account: {kind}", command, {name: made}, base=base)
    good = (base / "b.pdparams").read_bytes()
    for words, data in {**cut(good), **flipped(good, 5)}.items():
        yield Case(
            f"account: weights {words}",
            command,
            {"b.pdparams": data},
            BAD if "cut" in words else ANY,
            base,
        )


RULES = {
    "growing": 'renames:\n- {match: "(.+)", to: "\\\\1\\\\1\\\\1\\\\1\\\\1\\\\1\\\\1\\\\1"}\n' * 1,
    "nested groups": f"renames:\n- {{match: '{'(' * 2000 + ')' * 2000}', to: b}}\n",
    "nested repeats": "drops:\n- {match: '((((((a*)*)*)*)*)*)*$', reason: x}\n",
    "huge repeat": "drops:\n- {match: '(a{65000}){65000}', reason: x}\n",
    "repeat beyond": "drops:\n- {match: 'a{99999999999999999999}', reason: x}\n",
    "backtracking": "drops:\n- {match: '^(([a-z.])+.)+[A-Z]([a-z])+$', reason: x}\n",
    "backtracking rename": "renames:\n- {match: '(.*)*(.*)*(.*)*(.*)*Q', to: b}\n",
    "backtracking alias": "aliases:\n- {match: '^(\\w+\\.?)+$X', to: b}\n",
    "backtracking split": "splits:\n- {match: '(x|.|.)*!', into: [a, b]}\n",
    "backtracking absent": "absent:\n- {match: '(x|.|.)*!', reason: x}\n",
    "backtracking layouts": "keep:\n- {match: '(x|.|.)*!'}\ntranspose: ['(x|.|.)*!']\n",
    "backtracking kinds": "kinds:\n- {match: '(x|.|.)*!', kind: Linear}\n",
    "backtracking reshapes": "reshapes:\n- {match: '(x|.|.)*!', shape: [2]}\n",
    "backtracking references": "drops:\n- {match: '(.*)(.*)(.*)(.*)\\4\\3\\2\\1!', reason: x}\n",
    "many that are slow": "".join(
        "drops:\n" * (i == 0) + f"- {{match: '(x|.|.)*{i}!', reason: x}}\n" for i in range(50)
    ),
    "unknown group": "renames:\n- {match: a, to: '\\9'}\n",
    "escapes": 'renames:\n- {match: "fc", to: "\\e[31m\\u202e"}\n',
    "lines": 'renames:\n- {match: "fc", to: "a\\nb"}\n',
    "everything one name": "renames:\n- {match: '.+', to: a}\n",
    "no name": "renames:\n- {match: '.+', to: ''}\n",
    "sizes": "splits:\n- {match: fc.weight, into: [a, b], sizes: [1, 99999999999999999999]}\n",
    "axis": "splits:\n- {match: fc.weight, into: [a, b], axis: 99999999999999999999}\n",
    "many pieces": "splits:\n- {match: fc.weight, into: ["
    + ", ".join(f"a{i}" for i in range(20_000))
    + "]}\n",
    "shape": "reshapes:\n- {match: fc, shape: [99999999999999999999999]}\n",
    "dimensions": f"reshapes:\n- {{match: fc, shape: [{', '.join('1' * 4000)}]}}\n",
    "rows": "rows: [a]\nframework: caffe\n",
    "many rules": "drops:\n" + "- {match: zzz, reason: x}\n" * 3000,
}


def rules(folder):
    """Yield rules files that swell, never end or are none."""
    base = folder / "rules"
    base.mkdir()
    long = {f"{'layer.block.' * 20}{i}.weight": np.ones((3, 2), "f4") for i in range(20)}
    write_torch(
        {**state(), **long, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": np.ones(3)}, base / "x.pth"
    )
    command = convert("x.pth", "--map", "rules.yml")
    for words, data in {**no_yaml(), **no_json()}.items():
        ends = ANY if words in ("null", "empty object") else REFUSED
        yield Case(f"rules: {words}", command, {"rules.yml": data}, ends, base)
    for words, text in RULES.items():
        yield Case(f"rules: {words}", command, {"rules.yml": text.encode()}, ANY, base)
    for kind, made in SPECIAL.items():
        ends = ANY if kind == "empty" else REFUSED
        yield Case(f"rules: {kind}", command, {"rules.yml": made}, ends, base)
