"""Nothing fetches and nothing reports while a command runs: each works where there is no network.

In a network namespace of its own, in which not even this machine answers. What Python code tries
all the same is noted: a library may give up in silence.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from convert.formats.safetensors import write_safetensors
from tests.paths import ROOT, TOOLS

ALONE = ["unshare", "--user", "--map-root-user", "--net"]
NOTES = """
import os, sys
def note(event, given):
    away = event == "socket.connect" and isinstance(given[1], tuple)
    if away or event in ("socket.getaddrinfo", "urllib.Request"):
        with open({notes!r}, "a") as file:
            file.write(f"{{event}} {{given[1:]}}\\n")
sys.addaudithook(note)
"""


def has_namespaces():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not has_namespaces(), reason="no network namespaces here")
NET = "model.options.width=0.125 data.scale=1.0 data.crop_hw=[32,64] data.batch_size=2"
CONFIG = "configs/unet_toy.yml"
PORT = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return torch.relu(self.conv(x))
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the commands read and write."""
    folder = tmp_path_factory.mktemp("alone")
    notes = folder / "notes"
    (folder / "sitecustomize.py").write_text(NOTES.format(notes=str(notes)))
    (folder / "stranger.py").write_text(PORT)
    weight = {"conv.weight": np.ones((3, 2, 3, 3), "f4")}
    write_safetensors(weight, folder / "a.safetensors", metadata={"format": "pt"})
    return {"folder": folder, "toy": folder / "toy", "notes": notes}


def alone(tool, words, places):
    """Run a command without a network; it ends well, and tried nothing."""
    folder = places["folder"]
    words = [word.format(**places) for word in f"{tool}.py {words}".split()]
    done = subprocess.run(
        [*ALONE, sys.executable, str(TOOLS / words[0]), *words[1:]],
        env=os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not places["notes"].exists(), places["notes"].read_text()
    return done.stdout


def test_a_conversion(places):
    out = alone("convert_weights", "{folder}/a.safetensors --generic --no-verify --json", places)
    assert json.loads(out)["output"]["path"] == str(places["folder"] / "a.pdparams")


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_every_other_way(places):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from common.data.toy import write_toy_cityscapes

    write_toy_cityscapes(places["toy"], train=4, val=2, size_hw=(64, 128))
    run = f"{CONFIG} {NET} data.root={{toy}} output={{folder}}/run"
    training = "train.iterations=1 train.eval_interval=1 data.workers=0 --threads 1 --json"
    weights = json.loads(alone("train_paddle", f"{run} {training}", places))["weights"]
    alone("align_forward", f"{CONFIG} {NET} data.root={{toy}}", places)
    alone("evaluate", f"{run} --weights {weights} --json", places)
    size = "--size 32 64 --format paddle"
    alone("export", f"{run} --weights {weights} -o {{folder}}/exported {size} --json", places)
    photos = "{folder}/toy/leftImg8bit/val --model {folder}/exported --output {folder}/seen --json"
    alone("predict", photos, places)
    alone("port", "stranger:Net -o {folder}/made --input-shape 1 3 16 16", places)
