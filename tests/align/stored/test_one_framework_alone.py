"""Recording loads no Paddle, forcing no torch, judging neither: the other's import is blocked."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.align.stored.trace_nets import PADDLE, TORCH

TORCH_ROOMS, PADDLE_ROOMS = ("torch", "torch_ref"), ("paddle", "paddle_impl")
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net_torch.py").write_text(TORCH)
    (tmp_path / "net_paddle.py").write_text(PADDLE)
    for name, blocked in (("torch", PADDLE_ROOMS), ("paddle", TORCH_ROOMS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
    (tmp_path / "neither").mkdir()
    text = BLOCKER.format(blocked=TORCH_ROOMS + PADDLE_ROOMS)
    (tmp_path / "neither" / "sitecustomize.py").write_text(text)
    image = np.random.default_rng(0).standard_normal((3, 3, 6, 5))
    label = np.array([1, 0, 3])
    np.savez(tmp_path / "batch.npz", image, label)
    np.savez(tmp_path / "labelled.npz", image, label, label)
    return tmp_path


def run(folder, only, *arguments):
    """Run Python in `folder`; every process of it, children too, can import `only` alone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder / only), str(ROOT)])}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )


def tool(name):
    return ROOT / "tools" / f"{name}.py"


def test_commands(folder):
    net = ("--torch", "net_torch:Net")
    recording = ("--inputs", "batch.npz", "--record", "trace", "--train")
    done = run(folder, "torch", tool("align_forward"), *net, *recording)
    assert done.returncode == 0, done.stderr
    assert "recorded: net_torch:Net in trace" in done.stdout
    port = ("--paddle", "net_paddle:Faulty", "--force", "trace")
    forced = run(folder, "paddle", tool("align_forward"), *port, "--keep")
    assert forced.returncode == 1, forced.stderr
    assert "not aligned: block.bn, (root)" in forced.stdout
    assert "net_torch.py" in (folder / "trace" / "port" / "manifest.json").read_text()
    judged = run(folder, "neither", tool("align_stage"), "judge", "trace")
    assert judged.returncode == 1, judged.stderr
    assert judged.stdout.splitlines()[-1] == forced.stdout.splitlines()[-1]


def test_library_with_a_loss(folder):
    record = (
        "import numpy, net_torch, align\n"
        "arrays = list(numpy.load('labelled.npz').values())\n"
        "align.record_trace(net_torch.Net(), arrays, 'trace', train=True, backward=True,\n"
        "                   torch_loss=net_torch.loss)\n"
    )
    done = run(folder, "torch", "-c", record)
    assert done.returncode == 0, done.stderr
    force = (
        "import net_paddle, align\n"
        "report = align.force_trace(net_paddle.Net(), 'trace', loss=net_paddle.loss)\n"
        "print(report.verdict)\n"
        "raise SystemExit(report.exit_code)\n"
    )
    done = run(folder, "paddle", "-c", force)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prove
@pytest.mark.parametrize("stage", ["align_forward", "align_backward"])
def test_row_of_the_table(folder, stage):
    row = ("--model", "stdc1_seg", "--input-shape", 2, 3, 64, 96, "--record", "trace")
    done = run(folder, "torch", tool(stage), *row)
    assert done.returncode == 0, done.stderr
    done = run(folder, "paddle", tool(stage), "--force", "trace")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("aligned: ")
