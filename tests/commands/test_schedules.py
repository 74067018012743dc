"""Schedules from the command line: a wrong one is found, and so is one that nobody steps."""

import numpy as np
import pytest

from tests.nursery import run

pytest.importorskip("torch")
pytest.importorskip("paddle")

NETS = """
import paddle, torch

def theirs():
    return torch.nn.Linear(4, 3)

def ours():
    return paddle.nn.Linear(4, 3)

def loss(outputs, label):
    return ((outputs - label) ** 2).mean()

def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)

def paddles_sgd(parameters):
    return paddle.optimizer.SGD(0.1, parameters=parameters)

def unstepped(parameters):
    rate = paddle.optimizer.lr.StepDecay(0.1, step_size=1, gamma=0.5)
    return paddle.optimizer.SGD(rate, parameters=parameters)

def poly(step):
    return 0.1 * (1 - step / 10) ** 0.9

def linear(step):
    return 0.1 * (1 - step / 10)

def nothing(step):
    return None

def scheduler():
    return paddle.optimizer.lr.StepDecay(0.1, step_size=1, gamma=0.5)

def raises(step):
    return poly(step) / 0
"""


def aligned(folder, *more, optimizer="paddles_sgd"):
    (folder / "nets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    names = [f"{step}.npz" for step in range(3)]
    for name in names:
        np.savez(folder / name, rng.normal(size=(2, 4)), rng.normal(size=(2, 3)))
    pair = ["--torch", "nets:theirs", "--paddle", "nets:ours", "--inputs", *names]
    pair += ["--torch-loss", "nets:loss", "--paddle-loss", "nets:loss"]
    pair += ["--torch-optimizer", "nets:sgd", "--paddle-optimizer", f"nets:{optimizer}"]
    return run("align_training", *pair, *more, cwd=folder)


def test_equal_and_wrong_schedules(tmp_path):
    theirs = ["--torch-schedule", "nets:poly"]
    done = aligned(tmp_path, *theirs, "--paddle-schedule", "nets:poly")
    assert done.returncode == 0, done.stdout + done.stderr
    done = aligned(tmp_path, *theirs, "--paddle-schedule", "nets:linear")
    assert done.returncode == 1
    assert "not aligned: (optimizer)" in done.stdout
    done = aligned(tmp_path, *theirs)
    assert done.returncode == 2
    assert "--torch-schedule and --paddle-schedule go together" in done.stderr
    done = aligned(tmp_path, optimizer="unstepped")
    assert done.returncode == 2
    assert "StepDecay" in done.stdout


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ("nothing", "--paddle-schedule nets:nothing, step 0: gave None as the rate"),
        ("raises", "--paddle-schedule nets:raises: ZeroDivisionError"),
        ("scheduler", "a scheduler goes into the optimizer that its callable returns"),
    ],
)
def test_what_is_no_schedule(tmp_path, rate, words):
    done = aligned(tmp_path, "--torch-schedule", "nets:poly", "--paddle-schedule", f"nets:{rate}")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
