"""Each step runs without the framework that it does not need; memory stays bounded."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.formats.safetensors import write_safetensors
from convert.formats.stream import Writing
from convert.formats.torch_save.write_zip import write_torch
from tests import nursery
from tests.paths import MANIFESTS, ROOT

BLOCKED = """
import sys
for name in sys.argv[1].split(","):
    if name:
        sys.modules[name] = None
sys.path.insert(0, sys.argv[2])
"""


def run(code, *blocked, folder):
    command = [sys.executable, "-c", BLOCKED + code, ",".join(blocked), str(ROOT)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def row_file(tmp_path):
    text = (MANIFESTS / "stdc1_cls_official.json").read_text(encoding="utf-8")
    rng = np.random.default_rng(0)
    state = {
        k: np.asarray(rng.normal(size=s)).astype(t) for k, s, t in json.loads(text)["state_dict"]
    }
    aliases = json.loads(text)["aliases"]
    for second, first in aliases.items():
        state[second] = state[first]
    write_torch(state, tmp_path / "m.pth", Writing(ties=aliases))
    return tmp_path


# In a fork that has both: the rooms are loaded anew, and one framework cannot be imported.
ANEW = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] in {rooms!r}]:
    del sys.modules[name]
sys.modules[sys.argv[1]] = None
sys.path.insert(0, {root!r})
"""
CONVERT = """
from convert import convert_checkpoint
made = convert_checkpoint("m.pth", sys.argv[1] + ".pdparams")
assert made.account.net["row"] == "stdc1_cls", made.account.net
"""


def test_a_row_is_converted_with_either_framework_alone(row_file):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    script = row_file / "convert_it.py"
    script.write_text(ANEW.format(rooms=nursery.ROOMS, root=str(ROOT)) + CONVERT)
    for blocked in ("torch", "paddle"):
        done = nursery.run_script(script, blocked, cwd=row_file)
        assert done.returncode == 0, done.stderr
    one, other = row_file / "torch.pdparams", row_file / "paddle.pdparams"
    assert one.read_bytes() == other.read_bytes()


def test_reading_converting_and_going_back_need_neither(tmp_path):
    state = {"fc.weight": np.eye(3, dtype="f4"), "fc.bias": np.ones(3, "f4")}
    write_torch(state, tmp_path / "a.pth")
    write_safetensors(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    code = """
from convert import convert_checkpoint, read_checkpoint
from convert.reverse import reverse_checkpoint
for name in ("a.pth", "a.safetensors"):
    assert list(read_checkpoint(name)) == ["fc.weight", "fc.bias"]
    convert_checkpoint(name, "a.pdparams", generic=True, force=True)
    reverse_checkpoint("a.pdparams", "b.pth", force=True)
"""
    done = run(code, "torch", "paddle", "torch_ref", "paddle_impl", folder=tmp_path)
    assert done.returncode == 0, done.stderr


MEMORY = """
import threading, time
from convert import convert_checkpoint

def anonymous():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024

before, peak, done = anonymous(), [0.0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
convert_checkpoint(NAME, "out" + NAME[-4:] + ENDING, generic=True)
done.set()
watcher.join()
print(peak[0] - before)
"""


@pytest.mark.parametrize("ending", [".pdparams", ".safetensors"])
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    """128 MB of Linears of 32 MB each, transposed: less than all is held."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    state = {}
    for i in range(4):
        state[f"fc{i}.weight"] = np.zeros((2048, 4096), "f4")
        state[f"fc{i}.bias"] = np.zeros(2048, "f4")
    write_torch(state, tmp_path / "a.pth")
    del state
    code = f"NAME, ENDING = 'a.pth', {ending!r}" + MEMORY
    done = run(code, "torch", "paddle", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100


def test_a_missing_framework_is_named(tmp_path):
    write_torch({"a.weight": np.ones(3, "f4")}, tmp_path / "a.pth")
    code = "from convert import convert_checkpoint\nconvert_checkpoint('a.pth')"
    done = run(code, "torch", "paddle", folder=tmp_path)
    assert "ModuleNotFoundError" in done.stderr
