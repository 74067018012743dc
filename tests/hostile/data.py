"""Photos, labels, annotation files and volumes: damaged, swollen, or none at all."""

import io
import json
import os
import struct
import zlib

import numpy as np
from PIL import Image

from common.data.toy import write_toy_cityscapes
from tests.hostile.case import ANY, BAD, REFUSED, SPECIAL, Case
from tests.hostile.damage import ESCAPES, cut, damaged_json, flipped
from tests.paths import CONFIGS

PHOTOS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}
LABELS = {"PNG": "png", "BMP": "bmp", "GIF": "gif", "TIFF": "tif"}


def check(*more):
    """Return the command that reads the data of `x.yml`."""
    return ("look_at_data", "x.yml", *more)


def config(row, **data):
    """Return a config of a toy whose data lie beside it."""
    held = {"_base_": str(CONFIGS / f"{row}_toy.yml"), "name": "x", "data": data}
    return json.dumps(held).encode()


def encoded(array, kind, **options):
    """Return an image file of an array."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind, **options)
    return file.getvalue()


def chunk(name, data):
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth=8, color=2, body=None, more=b""):
    """Return a PNG whose header says what it likes."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    row = 1 + width * {0: 1, 2: 3, 3: 1}.get(color, 1) * depth // 8
    if body is None:
        packer = zlib.compressobj(9)
        body = b"".join(packer.compress(b"\0" * row) for _ in range(height)) + packer.flush()
    parts = chunk(b"IHDR", head) + more + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def swollen_photos():
    """Return {words: (suffix, bytes)} of images that promise or hold much more than they are."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 10**8, 9))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 10**8, 9))
    inter = chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"\0" * 10**8, 9))
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000)
    ring = b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)
    small = np.zeros((16, 24, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    bad_exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 500) + b"\xff" * 300
    return {
        "12,000 x 12,000 pixels": ("png", png(12_000, 12_000)),
        "13,300 x 13,300 pixels": ("png", png(13_300, 13_300)),
        "20,000 x 20,000 promised": ("png", png(20_000, 20_000, body=b"")),
        "2**31 x 2**31 promised": ("png", png(2**31 - 1, 2**31 - 1, body=b"")),
        "no pixels": ("png", png(0, 0, body=b"")),
        "2**30 x 1 promised": ("png", png(2**30, 1, body=zlib.compress(b"\0"))),
        "16 bits": ("png", png(9_000, 9_000, 16)),
        "text": ("png", png(24, 16, more=text)),
        "profile": ("png", png(24, 16, more=profile)),
        "text of another kind": ("png", png(24, 16, more=inter)),
        "many chunks": ("png", png(24, 16, more=chunk(b"tEXt", b"a\0b") * 50_000)),
        "no palette": ("png", png(24, 16, color=3)),
        "depth 3": ("png", png(24, 16, depth=3, body=b"")),
        "tiff of many tags": ("tif", tiff),
        "tiff that leads to itself": ("tif", ring),
        "tiff far away": ("tif", b"II*\0\xff\xff\xff\x7f"),
        "big tiff": ("tif", b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**62)),
        "bmp of 2**31": (
            "bmp",
            b"BM"
            + struct.pack(
                "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0
            ),
        ),
        "webp of zeros": ("webp", b"RIFF\x20\0\0\0WEBPVP8L" + b"\0" * 20),
        "gif of 65535": ("png", b"GIF89a\xff\xff\xff\xff\0\0\0"),
        "exif that is none": ("jpg", encoded(small, "JPEG", exif=bad_exif)),
        "turned by exif": ("jpg", encoded(small, "JPEG", exif=exif)),
        "svg": ("png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "postscript": ("png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) run\n"),
        "escapes": ("png", ESCAPES.encode() * 20),
    }


def list_of(folder, suffix, label="png"):
    """Make a list data set of two photos and labels in `folder`."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(2):
        photo = rng.integers(0, 256, (64, 96, 3), np.uint8)
        kind = next(kind for kind, end in PHOTOS.items() if end == suffix)
        (folder / f"p{number}.{suffix}").write_bytes(encoded(photo, kind))
        kind = next(kind for kind, end in LABELS.items() if end == label)
        (folder / f"l{number}.{label}").write_bytes(
            encoded(rng.integers(0, 2, (64, 96), np.uint8), kind)
        )
        lines.append(f"p{number}.{suffix} l{number}.{label}\n")
    for name in ("train.txt", "val.txt"):
        (folder / name).write_text("".join(lines))
    (folder / "labels.txt").write_text("a\nb\n")
    (folder / "x.yml").write_bytes(
        config(
            "stdc1",
            dataset="list",
            root=".",
            labels=None,
            class_file="labels.txt",
            train_path="train.txt",
            val_path="val.txt",
            crop_hw=[32, 64],
        )
    )
    return folder


def pictures(folder):
    """Yield photos and labels, and lists of them."""
    bases = {end: list_of(folder / f"list_{end}", end) for end in PHOTOS.values()}
    for end, base in bases.items():
        good = (base / f"p0.{end}").read_bytes()
        for words, data in {**cut(good), **flipped(good, 4), **flipped(good, 4, 1, 60)}.items():
            yield Case(f"photo {end}: {words}", check(), {f"p0.{end}": data}, ANY, base)
    for words, (end, data) in swollen_photos().items():
        base = bases[end]
        yield Case(f"photo: {words}", check(), {f"p0.{end}": data}, ANY, base)
    base = bases["png"]
    for kind, made in SPECIAL.items():
        for name, ends in (("p0.png", BAD), ("l0.png", BAD), ("train.txt", ANY)):
            yield Case(f"{name}: {kind}", check(), {name: made}, ends, base)
        yield Case(f"labels.txt: {kind}", check(), {"labels.txt": made}, REFUSED, base)
    for end in LABELS.values():
        base = list_of(folder / f"label_{end}", "png", end)
        good = (base / f"l0.{end}").read_bytes()
        for words, data in {**cut(good), **flipped(good, 3), **flipped(good, 3, 1, 60)}.items():
            yield Case(f"label {end}: {words}", check(), {f"l0.{end}": data}, ANY, base)
    yield from lists(bases["png"])


def lists(base):
    """Yield lists of photos and names of classes that are none."""
    odd = {
        "escapes": ESCAPES.replace("\r", "").encode() + b" l0.png\n",
        "not utf-8": b"p0.png l0.png\n\xff\xfe l1.png\n",
        "zero byte": b"p0\0.png l0.png\n",
        "elsewhere": b"../../../../etc/passwd l0.png\n",
        "device": b"/dev/zero /dev/zero\n",
        "long name": b"a" * 5000 + b" l0.png\n",
        "many": b"q.png r.png\n" * 20_000,
        "one word": b"x" * 200_000,
        "direction": "p0\u202e.png l0.png\n".encode(),
        "zero bytes": b"\0" * 1000,
        "the same": b"p0.png p0.png\n",
    }
    for words, data in odd.items():
        yield Case(f"list: {words}", check(), {"train.txt": data}, ANY, base)
        yield Case(f"class names: {words}", check(), {"labels.txt": data}, ANY, base)
    name = os.fsdecode(b"p\xff\x1b[31m.png")
    files = {name: (base / "p0.png").read_bytes(), "train.txt": os.fsencode(name) + b" l0.png\n"}
    yield Case("list: a file that is no text", check(), files, ANY, base)


def annotations(folder):
    """Yield COCO's annotation files, of instances and of segments, that lie."""
    ways = {
        "instances": ("solo_r50_fpn", "coco_instances", "instances_train2017.json", {}),
        "panoptic": (
            "panoptic_deeplab_r50",
            "coco_panoptic",
            "panoptic_train2017.json",
            {"dataset": "coco_panoptic"},
        ),
    }
    for kind, (row, layout, file, data) in ways.items():
        base = folder / kind
        write_toy_cityscapes(base / "toy", layout=layout, train=2, val=1, size_hw=(64, 96))
        held = config(row, root="toy", **data)
        (base / "x.yml").write_bytes(held)
        name = f"toy/annotations/{file}"
        document = json.loads((base / name).read_text())
        for words, data in damaged_json(document, 45, seed=len(kind)).items():
            yield Case(f"annotations {kind}: {words}", check(), {name: data}, ANY, base)
        for words, made in SPECIAL.items():
            yield Case(f"annotations {kind}: {words}", check(), {name: made}, BAD, base)
    base = folder / "instances"
    rows = swollen_regions()
    document = json.loads((base / "toy/annotations/instances_train2017.json").read_text())
    for words, region in rows.items():
        row = {**document["annotations"][0], "segmentation": region}
        lie = {**document, "annotations": [row, *document["annotations"][1:]]}
        name = "toy/annotations/instances_train2017.json"
        yield Case(f"region: {words}", check(), {name: json.dumps(lie).encode()}, ANY, base)
    for words, size in {"2**40": 2**40, "200,000": 200_000, "2**70": 2**70}.items():
        images = [{**row, "height": size, "width": size} for row in document["images"]]
        lie = json.dumps({**document, "images": images}).encode()
        yield Case(f"images of {words}", check(), {name: lie}, ANY, base)


def swollen_regions():
    """Return {words: segmentation} of regions that swell or are none."""
    return {
        "run of 2**70": {"size": [64, 96], "counts": [0, 2**70]},
        "negative run": {"size": [64, 96], "counts": [-5, 10, 6139]},
        "many runs": {"size": [64, 96], "counts": [1, 1] * 10**6},
        "other size": {"size": [10**6, 10**6], "counts": [0, 10**12]},
        "text": {"size": [64, 96], "counts": "\x1b[31m" * 100},
        "long text": {"size": [64, 96], "counts": "1" * 10**6},
        "huge numbers in text": {"size": [64, 96], "counts": "oooooooooooooooooooooo0" * 50},
        "far polygon": [[0, 0, 1e300, 0, 1e300, 1e300]],
        "wide polygon": [[0, 0, 2**31, 0, 2**31, 2**31]],
        "polygon of text": [["a"] * 6],
        "odd polygon": [[1, 2, 3, 4, 5]],
        "empty polygon": [[]],
        "many points": [[1, 1, 5, 1, 5, 5] * 100_000],
        "many polygons": [[1, 1, 5, 1, 5, 5]] * 20_000,
        "nested": [[[[1, 2, 3, 4, 5, 6]]]],
    }


def volumes(folder):
    """Yield volumes in HDF5, NIfTI and NumPy's files that lie."""
    from common.data.toy.volumes import write_toy_volumes

    for kind in ("h5", "npz", "nii.gz", "nii", "npy"):
        base = folder / f"volumes_{kind}"
        try:
            write_toy_volumes(base / "toy", format=kind, train=1, val=1, shape=(16, 16, 16))
        except Exception:  # a kind that the toy is not written in
            continue
        (base / "x.yml").write_bytes(
            config("unet3d", root="toy", patch_shape=[8, 16, 16], stride_shape=None)
        )
        file = next(p for p in sorted((base / "toy").rglob(f"*.{kind}")) if "train" in str(p))
        name, good = str(file.relative_to(base)), file.read_bytes()
        damaged = {**cut(good), **flipped(good, 8), **flipped(good, 8, 1, 400)}
        for words, data in damaged.items():
            yield Case(f"volume {kind}: {words}", check(), {name: data}, ANY, base)
        for words, made in SPECIAL.items():
            yield Case(f"volume {kind}: {words}", check(), {name: made}, BAD, base)
        for words, made in swollen_volumes(kind).items():
            yield Case(f"volume {kind}: {words}", check(), {name: made}, BAD, base)


def swollen_volumes(kind):
    """Return {words: what makes it} of volumes that promise more than they hold."""

    def header(shape, descr="'<f4'", data=b""):
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data

    arrays = {
        "shape of 2**40": header("(1048576, 1048576, 1048576)"),
        "4 GB": header("(1024, 1024, 1024)"),
        "40,000 dimensions": header("(" + "1, " * 9000 + ")"),
        "objects": header("(3,)", "'|O'", b"cos\nsystem\n(S'id'\ntR."),
        "fields": header("(3,)", "[('a', '<f4'), ('b', '|O')]"),
        "code": header("__import__('os').system('id')"),
        "negative": header("(-1, 4, 4)"),
        "digits": header("(" + "9" * 5000 + ",)"),
        "nested": header("(" * 2000 + ")" * 2000),
        "version 9": b"\x93NUMPY\x09\0" + b"\0" * 20,
    }
    if kind == "npy":
        return arrays
    if kind == "npz":
        return {words: zipped({"raw.npy": a, "label.npy": a}) for words, a in arrays.items()} | {
            "zeros packed": zipped(
                {"raw.npy": header("(1024, 1024, 1024)", data=b"\0" * 10**8)}, 8
            ),
            "zeros packed, small promise": zipped(
                {"raw.npy": header("(4, 4, 4)", "'<f4'", b"\0" * 3 * 10**8)}, 8
            ),
            "no arrays": zipped({}),
            "many members": zipped({f"a{i}.npy": b"" for i in range(3000)}),
        }
    return swollen_hdf5() if kind == "h5" else {}


def zipped(members, method=0):
    """Return a zip of members."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def swollen_hdf5():
    """Return {words: what makes it} of HDF5 files that lead elsewhere or promise much."""

    def made(function):
        def make(path):
            import h5py

            with h5py.File(path, "w") as file:
                function(h5py, file)

        return make

    def external(h5py, file):
        file["raw"] = h5py.ExternalLink("/etc/passwd", "/x")

    def loop(h5py, file):
        group = file.create_group("raw")
        group["raw"] = group
        file["label"] = h5py.SoftLink("/label")

    def sparse(h5py, file):
        for name in ("raw", "label"):
            file.create_dataset(name, (700, 1000, 1000), "f4", chunks=(64, 64, 64))

    def absurd(h5py, file):
        for name in ("raw", "label"):
            file.create_dataset(name, (2**30, 2**30, 2**30), "f4", chunks=(64, 64, 64))

    def text(h5py, file):
        file["raw"] = file["label"] = ["a", "b"]

    def deep(h5py, file):
        file.create_dataset("/".join("a" * 500) + "/raw", data=np.zeros((4, 4, 4)))

    def elsewhere(h5py, file):
        file.create_dataset("raw", (4, 4, 4), "f4", external=[("/etc/passwd", 0, 256)])

    def attributes(h5py, file):
        file.create_dataset("raw", data=np.zeros((16, 16, 16), "f4")).attrs[ESCAPES[:5]] = (
            "x" * 60_000
        )

    def many(h5py, file):
        for number in range(3000):
            file.create_dataset(f"{ESCAPES[:5]}{number}", data=1)

    every = (external, loop, sparse, absurd, text, deep, elsewhere, attributes, many)
    return {function.__name__: made(function) for function in every}
