"""What a user's code prints, at any moment and by any way, never stands in the JSON."""

import json
import shutil

import numpy as np
import pytest

from tests.commands.own_recipe import EXAMPLE, replace
from tests.nursery import as_typed, run
from tests.paths import TOOLS

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]

NOISE = """
import atexit, ctypes, os, subprocess, sys

def shout(when):
    print("print", when)
    sys.stdout.write("[1,\\n")
    if sys.__stdout__ is not None:
        sys.__stdout__.write("{\\n")
    os.write(1, b'{"code": 0}\\n')
    ctypes.CDLL(None).puts(b"below Python")

def shout_at_the_end():
    shout("at the end")
    subprocess.run(["echo", "a child"])

shout_at_the_end()
atexit.register(shout_at_the_end)
"""
FAST = "train.iterations=2 train.eval_interval=2 data.workers=0 --threads 1"
WAYS = {
    "convert_weights": "model.pth --model net_paddle:build -o made.pdparams",
    "align_forward": "my_net.yml",
    "align_backward": "my_net.yml",
    "align_training": "my_net.yml --steps 1",
    "align_stage": "data my_net.yml",
    "check_data": "my_net.yml",
    "train_torch": f"my_net.yml output=with_torch {FAST}",
    "train_paddle": f"my_net.yml output=with_paddle {FAST}",
    "evaluate": "my_net.yml --weights made.pdparams --threads 1",
    "predict": "my_net.yml photo.png --weights made.pdparams --output seen --threads 1",
    "export": "my_net.yml --weights made.pdparams -o exported --format paddle --size 32 32",
    "benchmark": "my_net.yml --size 32 32 --ways torch paddle --runs 1 --warm-up 1",
    "port": "net_torch:Net --input-shape 2 3 32 32 -o ported",
    "convert_graph": "net_torch:Net --input-shape 2 3 32 32 -o graph",
    "new_reproduction": ". --name my_net --yes",
    "chain": "my_net.yml --output chained --steps 2 --threads 1",
    "reproduce": "my_net.yml --fast --output all",
    "replay_batch": "broken/nan/iteration_00000001",
}
# These run nothing of a user's (tests/common/test_streams.py).
SILENT = {"compare_runs", "make_toy_cityscapes", "make_toy_volumes", "panoptic_quality", "report"}


def test_every_command_is_known():
    assert {*WAYS, *SILENT} == {path.stem for path in TOOLS.glob("*.py")} - {"_checkout"}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """The example with a shout at every place, weights and a photo, and a step that broke."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from PIL import Image

    folder = tmp_path_factory.mktemp("noisy") / "mine"
    shutil.copytree(EXAMPLE, folder)
    (folder / "noise.py").write_text(NOISE)
    for side in ("torch", "paddle"):
        name, end = f"net_{side}.py", "outputs, label):\n"
        shout = "        noise.shout({!r})\n".format
        start, call = "super().__init__()\n", "def forward(self, image):\n"
        replace(folder, name, start, start + shout("constructor"))
        replace(folder, name, call, call + shout("forward"))
        replace(folder, name, end, f"{end}    noise.shout('loss')\n")
    take = "def __getitem__(self, index):\n"
    replace(folder, "my_data.py", take, take + "        noise.shout('item')\n")
    for name in ("net_torch.py", "net_paddle.py", "my_data.py"):
        (folder / name).write_text(f"import noise\n{(folder / name).read_text()}")
    net = torch.nn.Module()
    net.stem, net.bn = torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8)
    net.head = torch.nn.Conv2d(8, 3, 1)
    torch.save(net.state_dict(), folder / "model.pth")
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(folder / "photo.png")
    done = run("convert_weights", *WAYS["convert_weights"].split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def pure(done, hidden=False):
    """Return the one document that stands on stdout; what was printed is elsewhere, or hidden."""
    found = json.loads(done.stdout)
    if hidden:
        assert "below Python" not in done.stderr
        return found
    assert "at the end" in done.stderr
    assert "below Python" in done.stderr
    return found


@pytest.mark.parametrize("tool", WAYS)
def test_json_is_pure(tool, noisy):
    words = WAYS[tool].split()
    if tool == "convert_weights":
        words.append("--force")
    if tool == "replay_batch":
        rates = ["optimizer.args.lr=1e25", "schedule.paddle_args.lr=1e25"]
        run("train_paddle", "my_net.yml", "output=broken", *rates, "--quiet", cwd=noisy)
        words = [str(next((noisy / "broken" / "nan").iterdir()))]
    done = run(tool, *words, "--json", cwd=noisy)
    if tool == "convert_graph" and "is not installed" in done.stderr:
        assert done.stdout == ""
        pytest.skip("X2Paddle is not installed")
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert pure(done, hidden=tool == "chain")  # whose steps are commands of their own


@pytest.mark.parametrize("tool", ["align_forward", "evaluate"])
def test_as_it_is_typed(tool, noisy):
    """With a process that watches and without one: what is printed at the very end, too."""
    done = as_typed(tool, *WAYS[tool].split(), "--json", cwd=noisy)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert pure(done)
    assert done.stderr.rstrip().endswith("below Python\na child")
