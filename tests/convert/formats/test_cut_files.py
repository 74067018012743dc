"""Files that are cut short or changed while they are read: an error, never the end by SIGBUS."""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest

from commands.subjects.own import fill_reference
from common import files
from common.errors import UnreadableError
from convert.formats import mapped
from convert.formats.checkpoint import read_checkpoint
from convert.formats.safetensors import write_safetensors
from tests.convert.formats import onnx_files
from tests.paths import ROOT

W = np.arange(6, dtype="f4").reshape(2, 3)


@pytest.fixture
def source(tmp_path):
    write_safetensors({"weight": W, "bias": W[:, 0]}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


@pytest.fixture
def unmapped(monkeypatch):
    monkeypatch.setattr(files, "_may_map", False)


def test_what_was_read_outlives_its_file(source, unmapped):
    checkpoint = read_checkpoint(source)
    os.truncate(source, 0)
    assert (checkpoint["weight"] == W).all()
    with pytest.raises(UnreadableError, match=r"a\.safetensors: was changed while it was read"):
        checkpoint.require_unchanged()


@pytest.mark.parametrize("size", [8, 4096])
def test_a_file_that_changes_while_it_is_copied(source, unmapped, monkeypatch, size):
    monkeypatch.setattr(mapped, "memory_bytes", lambda: os.truncate(source, size) or 2**40)
    with pytest.raises(UnreadableError, match=r"a\.safetensors: was changed while it was read"):
        read_checkpoint(source)


def test_a_file_larger_than_the_memory(source, unmapped, monkeypatch):
    monkeypatch.setattr(mapped, "memory_bytes", lambda: 8)
    with pytest.raises(UnreadableError, match=r"this machine has 0\.0 GB of memory"):
        read_checkpoint(source)


def test_a_command_that_nobody_watches_maps_nothing(source, tmp_path):
    (tmp_path / "command.py").write_text(
        "import os, sys\n"
        "from commands import entry\n"
        "from convert import read_checkpoint\n"
        "def main():\n"
        "    checkpoint = read_checkpoint(sys.argv[1])\n"
        "    os.truncate(sys.argv[1], 0)\n"
        "    print(checkpoint['weight'].sum())\n"
        "    checkpoint.require_unchanged()\n"
        "entry.run(main)\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "command.py"), str(source)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    said = f"error: {source}: was changed while it was read; run it again\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "15.0\n", said)


def test_a_file_beside_a_graph_is_known_as_it_was_opened(tmp_path, monkeypatch):
    """Not as it was afterwards: it may have changed between."""
    beside = tmp_path / "w.bin"
    beside.write_bytes(W.tobytes())
    tensor = onnx_files.external("w", W, "w.bin", length=W.nbytes)
    (tmp_path / "net.onnx").write_bytes(onnx_files.model([tensor]))
    opened = mapped.mapped

    def changing(path):
        data = opened(path)
        if path == beside:
            os.utime(path, ns=(1, 1))
        return data

    monkeypatch.setattr("convert.formats.onnx.tensor.mapped", changing)
    checkpoint = read_checkpoint(tmp_path / "net.onnx")
    with pytest.raises(UnreadableError, match=r"w\.bin: was changed while it was read"):
        checkpoint.require_unchanged()


def test_a_reference_has_the_weights_of_one_moment(source, monkeypatch):
    torch = pytest.importorskip("torch")
    from align.arrays import arrays_torch

    taken = arrays_torch.to_tensor

    def changing(array):
        os.utime(source, ns=(1, 1))
        return taken(array)

    net = torch.nn.Linear(3, 2)
    fill_reference(net, str(source), "--torch net")
    assert (net.weight.detach().numpy() == W).all()
    monkeypatch.setattr(arrays_torch, "to_tensor", changing)
    with pytest.raises(UnreadableError, match="was changed while it was read"):
        fill_reference(net, str(source), "--torch net")


# What may map: how far a child is and traces, files of this program; checkpoints, by `may_map`.
ROOMS = ("common", "convert", "export", "align", "port", "paddle_impl", "torch_ref", "commands")
MAPS = {"align/nets/progress.py", "align/stored/arrays.py", "convert/formats/mapped.py"}


def test_no_other_file_is_mapped():
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text("utf-8")
            for node in ast.walk(ast.parse(text)) if "mmap" in text or "memmap" in text else ():
                call = node.func if isinstance(node, ast.Call) else None
                maps = getattr(call, "attr", "") in ("memmap", "mmap")
                maps |= isinstance(node, ast.keyword) and node.arg in ("mmap_mode", "mmap")
                if maps and getattr(getattr(node, "value", None), "value", True) is not False:
                    found.add(str(path.relative_to(ROOT)))
    assert found == MAPS
