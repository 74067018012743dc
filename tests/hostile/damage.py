"""Ways to damage a file: its bytes, its JSON, its YAML.

All are seeded: `HOSTILE_SEED=7 make prove-hostile` meets the readers with another corpus.
"""

import copy
import json
import os

import numpy as np

SEED = int(os.environ.get("HOSTILE_SEED", "0"))

LONG = "9" * 5000
ESCAPES = "\x1b[2J\x1b[32maligned\x1b[0m\u202e\r"
ODD = (
    *(None, True, -1, 0, 2**31, 2**63, 2**70, 0.5, 1e308, "", "x", "\ud800", ESCAPES, "../../x"),
    *("/etc/passwd", "nan", [], [[]], [None], {}, {"a": 1}, ["x"] * 3, "a\nb", "\x00"),
)


def drawing(*about):
    """Return a generator of random numbers, of the corpus's seed and what they are drawn for."""
    return np.random.default_rng([SEED, *about])


def cut(data, count=3):
    """Return {words: the data cut short}, at places that are drawn and at both ends."""
    ends = {1, len(data) - 1, *drawing(len(data)).integers(1, len(data), count).tolist()}
    return {f"cut at {end}": data[:end] for end in sorted(ends)}


def flipped(data, count, seed=0, first=None):
    """Return {words: the data with a bit flipped}; of the `first` bytes, where it is given."""
    rng = drawing(seed, len(data))
    made = {}
    for at in rng.choice(min(first or len(data), len(data)), count, replace=False).tolist():
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        made[f"flip at {at}"] = bytes(changed)
    return made


def no_json():
    """Return {words: bytes} that are no JSON, or none that anybody expects."""
    return {
        "empty object": b"{}",
        "list": b"[]",
        "number": b"5",
        "null": b"null",
        "text": b'"x"',
        "no json": b"{",
        "zero bytes": b"\0" * 100,
        "not utf-8": b'{"a": "\xff\xfe"}',
        "utf-16": '{"a": 1}'.encode("utf-16"),
        "deep list": b"[" * 200_000,
        "deep object": b'{"a":' * 200_000,
        "deep and whole": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "digits": b'{"a": ' + LONG.encode() + b"}",
        "no number": b'{"a": NaN, "schema": Infinity}',
        "binary": bytes(range(256)) * 4,
    }


def places(node, at=()):
    """Yield the way to every value of a document, the document's own left out."""
    below = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in below:
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


def lies(document, count, seed=0):
    """Return {words: the document with one value another, or gone}."""
    rng = drawing(seed, count)
    every = sorted(places(document), key=lambda place: (len(place), str(place)))
    made = {}
    while len(made) < count:
        place = every[rng.integers(len(every))]
        value = ODD[rng.integers(len(ODD))]
        gone = rng.random() < 0.2
        changed = copy.deepcopy(document)
        around = changed
        for key in place[:-1]:
            around = around[key]
        if gone:
            del around[place[-1]]
        else:
            around[place[-1]] = value
        words = "gone" if gone else f"{value!r:.30}"
        made[f"{'.'.join(map(str, place))[-60:]} {words}"] = changed
    return made


def json_of(document):
    """Return a document as JSON."""
    return json.dumps(document).encode()


def damaged_json(document, count, seed=0):
    """Return {words: bytes} of a JSON document: cut, no JSON, and lies."""
    data = json_of(document)
    told = {words: json_of(lie) for words, lie in lies(document, count, seed).items()}
    return {**no_json(), **cut(data), **told}


SWELLING_YAML = {
    "laughs": "a0: &a0 [x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)),
    "merged": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 40)),
    "holds itself": "a: &a [*a]\n",
    "merges itself": "a: &a {<<: *a}\n",
    "deep": "a: " + "[" * 3000,
    "deep block": "".join(" " * i + "a:\n" for i in range(1500)),
    "digits": f"a: {LONG}",
    "octal digits": "a: 0" + "7" * 20_000,
    "hex digits": "a: 0x" + "f" * 300_000,
    "binary digits": "a: 0b" + "1" * 500_000,
    "sexagesimal": "a: " + ":".join(["59"] * 3000),
    "sexagesimal fraction": "a: " + ":".join(["59"] * 3000) + ".5",
    "exponent": "a: 1e999999999\n",
    "no date": "a: 2020-13-45\n",
    "no number": 'a: !!int ""\n',
    "base64": "a: !!binary " + "A" * 1001 + "\n",
    "code": "a: !!python/object/apply:os.system [x]\n",
    "code by name": "a: !!python/name:os.system\n",
    "half a letter": 'a: "\\ud800"\n',
    "escapes": 'a: "\\e[2J\\e[32maligned\\u202e"\n"\\e[31m\\u202ekey": 1\n',
    "list": "- 1\n",
    "number": "5\n",
    "control": "a: \x01\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "directive": "%YAML 9.9\n---\na: 1\n",
    "tags": "".join(f"%TAG !{i}! tag:x,2000:{i}\n" for i in range(2000)) + "---\na: 1\n",
    "keys of lists": "? [a, b]\n: 1\n",
    "keys of maps": "? {a: b}\n: 1\n",
    "set": "!!set {a, b}\n",
    "ordered": "!!omap [a: 1]\n",
    "pairs": "a: !!pairs [x: 1]\n",
    "anchors": "".join(f"a{i}: &a{i} 1\n" for i in range(20_000)),
    "same key": "a: 1\na: 2\n",
    "null": "~\n",
    "not utf-8": b"a: \xff\n",
    "utf-16": "a: 1\n".encode("utf-16"),
    "zero bytes": b"\0" * 50,
    "long line": "a: " + "x " * 300_000,
    "open quote": 'a: "' + "x\n" * 5000,
    "tabs": "a:\n\t- 1\n",
}


def no_yaml():
    """Return {words: bytes} of YAML that swells, or is none."""
    return {k: v if isinstance(v, bytes) else v.encode() for k, v in SWELLING_YAML.items()}
