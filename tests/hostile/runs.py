"""What runs leave behind, hostile: traces, inputs, checkpoints of trainings, saved steps."""

import hashlib
import io
import json
import zipfile

import numpy as np
from safetensors.numpy import save as packed

from tests import nursery
from tests.hostile.case import ANY, BAD, REFUSED, SPECIAL, Case
from tests.hostile.damage import ESCAPES, cut, damaged_json, flipped
from tests.hostile.data import config, swollen_volumes, zipped

TORCH_NET = """
import torch
from torch import nn
def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.LazyConv2d(2, 1))
def meta():
    with torch.device("meta"):
        return build()
def half_meta():
    net = build()
    net[2] = nn.Conv2d(4, 2, 1, device="meta")
    return net
def half_lazy():
    net = build()
    net[2] = nn.LazyConv2d(2, 1)
    return net
"""
PADDLE_NET = """
from paddle import nn
def build():
    return nn.Sequential(nn.Conv2D(3, 4, 3), nn.ReLU(), nn.Conv2D(4, 2, 1))
"""
PAIR = ("--torch", "reference:build", "--paddle", "port:build")
SHAPE = ("--input-shape", "1", "3", "6", "6")


def ran(folder, *command, code=0):
    """Run a command that makes good files."""
    done = nursery.run(*command, cwd=folder)
    assert done.returncode == code, done.stderr


def nets(folder):
    """Make the two nets of this file in `folder`."""
    folder.mkdir()
    (folder / "reference.py").write_text(TORCH_NET)
    (folder / "port.py").write_text(PADDLE_NET)
    return folder


def odd_nets(folder):
    """Yield nets whose parameters are not there yet, or never."""
    base = nets(folder / "odd_nets")
    import torch

    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1))
    torch.save(state.state_dict(), base / "x.pth")
    for name in ("lazy", "meta", "half_meta", "half_lazy"):
        pair = ("--torch", f"reference:{name}", "--paddle", "port:build", *SHAPE)
        weights = ("--weights", "x.pth")
        for words, command in {
            "forward": ("align_forward", *pair),
            "forward with weights": ("align_forward", *pair, *weights),
            "backward": ("align_backward", *pair),
            "weights": ("align_stage", "weights", *pair[:4]),
            "init": ("align_stage", "init", *pair[:4]),
            "propose": ("align_forward", *pair, "--propose", "rules.yml"),
            "record": ("align_forward", *pair[:2], *SHAPE, "--record", "trace"),
            "port": ("port", f"reference:{name}", *SHAPE, "-o", "made"),
        }.items():
            ends = ANY if "lazy" in name else BAD
            yield Case(f"net {name}: {words}", command, {}, ends, base, ("rules.yml", "made"))


def inputs(folder):
    """Yield arrays for nets in files that lie."""
    base = nets(folder / "inputs")
    good = io.BytesIO()
    np.savez(good, np.ones((1, 3, 6, 6), "f4"))
    command = ("align_forward", *PAIR, "--inputs", "x.npz")
    for words, data in {**cut(good.getvalue()), **flipped(good.getvalue(), 8)}.items():
        yield Case(f"inputs: {words}", command, {"x.npz": data}, ANY, base)
    for kind, made in SPECIAL.items():
        yield Case(f"inputs: {kind}", command, {"x.npz": made}, base=base)
    arrays = swollen_volumes("npy")
    for words, data in arrays.items():
        yield Case(f"inputs: {words}", command, {"x.npz": zipped({"arr_0.npy": data})}, base=base)
        one = (*command[:-1], "x.npy")
        yield Case(f"inputs, one array: {words}", one, {"x.npy": data}, base=base)
    plain = io.BytesIO()
    np.save(plain, np.ones((1, 3, 6, 6), "f4"))
    odd = {
        "many arrays": zipped({f"arr_{n}.npy": plain.getvalue() for n in range(300)}),
        "deep names": zipped({f"a{'.0' * 3000}.npy": plain.getvalue()}),
        "deep label": zipped(
            {"arr_0.npy": plain.getvalue(), f"label{'.0' * 3000}.npy": plain.getvalue()}
        ),
        "escapes": zipped({f"{ESCAPES[:5]}.npy": plain.getvalue()}),
        "far number": zipped({f"arr_{'9' * 5000}.npy": plain.getvalue()}),
        "other digits": zipped({"arr_\u00b2.npy": plain.getvalue()}),
        "packed zeros": zipped({"arr_0.npy": arrays["4 GB"] + b"\0" * 10**8}, zipfile.ZIP_DEFLATED),
        "no arrays": zipped({"a.txt": b"x"}),
        "pickle": b"\x80\x04cos\nsystem\nX\x02\0\0\0id\x85R.",
        "encrypted": zipped({"arr_0.npy": plain.getvalue()}).replace(
            b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"
        ),
        "unknown packing": zipped({"arr_0.npy": plain.getvalue()}).replace(
            b"PK\x01\x02\x14\x03\x14\0\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0"
        ),
    }
    for words, data in odd.items():
        yield Case(f"inputs: {words}", command, {"x.npz": data}, BAD, base)


def traces(folder):
    """Yield recorded traces that lie, for the port to be forced on."""
    base = nets(folder / "traces")
    ran(base, "align_forward", *PAIR[:2], *SHAPE, "--record", "trace")
    manifest = next(p for p in (base / "trace").iterdir() if p.suffix == ".json")
    name = f"trace/{manifest.name}"
    command = ("align_forward", "--force", "trace", "--paddle", "port:build")
    document = json.loads(manifest.read_text())
    for words, data in damaged_json(document, 90).items():
        yield Case(f"trace: {words}", command, {name: data}, ANY, base)
    for kind, made in SPECIAL.items():
        yield Case(f"trace: {kind}", command, {name: made}, base=base)
    shard = next(p for p in (base / "trace").iterdir() if p != manifest)
    good = shard.read_bytes()
    for words, data in {**cut(good), **flipped(good, 4)}.items():
        yield Case(f"trace's arrays: {words}", command, {f"trace/{shard.name}": data}, base=base)
    for kind, made in SPECIAL.items():
        yield Case(f"trace's arrays: {kind}", command, {f"trace/{shard.name}": made}, base=base)


def training(base):
    """Make a config and its data in the folder `base`."""
    from common.data.toy import write_toy_cityscapes

    write_toy_cityscapes(base / "toy", train=2, val=1, size_hw=(64, 128))
    held = {"root": "toy", "crop_hw": [32, 64], "batch_size": 2, "workers": 0, "scale": 1.0}
    text = json.loads(config("unet", dataset="cityscapes", labels=None, **held))
    text["model"] = {"options": {"width": 0.125}}
    text["train"] = {"iterations": 2, "eval_interval": 0, "checkpoint_interval": 1, "keep": 2}
    text |= {"output": "run", "log": {"tensorboard": False}}
    text["schedule"] = {"name": "constant", "base_lr": 0.01}
    (base / "x.yml").write_text(json.dumps(text))
    return base


def steps(folder):
    """Yield saved steps that were not finite, which lie."""
    base = training(folder / "steps")
    ran(base, "train_torch", "x.yml", "schedule.base_lr=1e30", "--quiet", code=1)
    step = next((base / "run" / "nan").iterdir())
    where = step.relative_to(base)
    command = ("replay_batch", str(where), "--quiet")
    about = json.loads((step / "step.json").read_text())
    for words, data in damaged_json(about, 40).items():
        yield Case(f"step: {words}", command, {f"{where}/step.json": data}, ANY, base)
    for kind, made in SPECIAL.items():
        for name in ("step.json", "batches.safetensors", "state.safetensors"):
            yield Case(f"step, {name}: {kind}", command, {f"{where}/{name}": made}, base=base)
    odd = odd_states(step / "state.safetensors")
    for words, arrays in odd.items():
        for name in ("batches.safetensors", "state.safetensors"):
            told = {**about, "sha256": {**about["sha256"], name: sha256(arrays)}}
            files = {f"{where}/step.json": json.dumps(told).encode(), f"{where}/{name}": arrays}
            fewer = name == "state.safetensors" and words.endswith((" gone", " more"))
            yield Case(f"step, {name}: {words}", command, files, REFUSED if fewer else ANY, base)


def trainings(folder):
    """Yield checkpoints of trainings, sealed anew, and logs that lie, to a run that goes on."""
    base = training(folder / "trainings")
    ran(base, "train_torch", "x.yml", "train.keep=2", "--quiet")
    newest = sorted((base / "run" / "checkpoints").iterdir())[-1]
    where = newest.relative_to(base)
    about = json.loads((newest / "checkpoint.json").read_text())
    command = ("train_torch", "x.yml", "train.iterations=3", "--resume", "auto", "--quiet")
    writes = ("run",)
    seal = about.pop("sha256")
    for words, data in damaged_json({**about, "sha256": seal}, 12).items():
        files = {f"{where}/checkpoint.json": data}
        yield Case(f"training: {words}", command, files, ANY, base, writes)
    for words, data in damaged_json(about, 60, seed=3).items():
        if (sealed := resealed(data)) is not None:
            files = {f"{where}/checkpoint.json": sealed}
            yield Case(f"training, sealed: {words}", command, files, ANY, base, writes)
    for kind, made in SPECIAL.items():
        for name in ("checkpoint.json", "state.safetensors"):
            files = {f"{where}/{name}": made}
            yield Case(f"training, {name}: {kind}", command, files, ANY, base, writes)
        files = {"run/log.jsonl": made}
        yield Case(f"training's log: {kind}", command, files, ANY, base, writes)
    for words, arrays in odd_states(newest / "state.safetensors").items():
        seals = {"bytes": len(arrays), "sha256": sha256(arrays)}
        told = {**about, "arrays": {**about["arrays"], **seals}}
        files = {
            f"{where}/checkpoint.json": resealed(json.dumps(told).encode()),
            f"{where}/state.safetensors": arrays,
        }
        yield Case(f"training's arrays: {words}", command, files, ANY, base, writes)
    row = json.loads((base / "run/log.jsonl").read_text().splitlines()[0])
    for words, data in damaged_json(row, 15).items():
        log = {"run/log.jsonl": data + b"\n" + json.dumps(row).encode() + b"\n"}
        yield Case(f"training's log: {words}", command, log, ANY, base, writes)


def sha256(data):
    """Return a check sum in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def resealed(data):
    """Return a manifest with the seal that belongs to it, None where it is no object."""
    from common.training import resume

    try:
        about = json.loads(data)
        return json.dumps({**about, "sha256": resume.seal_of(about)}).encode()
    except (ValueError, TypeError, RecursionError):
        return None


def odd_states(path):
    """Return {words: bytes} of a checkpoint's arrays, changed."""
    from safetensors.numpy import load

    arrays = load(path.read_bytes())
    first = next(name for name in arrays if arrays[name].ndim > 1)
    number = next(name for name in arrays if arrays[name].size)
    slot = next(name for name in arrays if not name.startswith(("net.", "criterion.")))
    return {
        "slot gone": packed({k: v for k, v in arrays.items() if k != slot}),
        "one gone": packed({k: v for k, v in arrays.items() if k != first}),
        "one more": packed({**arrays, ESCAPES: np.ones(3)}),
        "another shape": packed({**arrays, first: np.ones((1, 2))}),
        "another type": packed({**arrays, first: arrays[first].astype(np.int8)}),
        "none": packed({}),
        "not finite": packed({**arrays, first: arrays[first] * np.nan}),
        "first not a number": packed({**arrays, number: arrays[number].astype(bool)}),
        "zero bytes": b"\0" * 1000,
    }
