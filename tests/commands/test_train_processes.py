"""The two training commands in two processes: by their launchers, killed, stopped, resumed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.data.toy import write_toy_cityscapes
from tests import nursery
from tests.paths import ROOT, TOOLS

# By the clock or by signals: not beside its like.
SMALL = [
    *("configs/unet_toy.yml", "model.options.width=0.125", "data.scale=1.0", "--quiet"),
    *("data.crop_hw=[32,64]", "data.batch_size=1", "data.cards=2", "--threads", "1"),
    *("train.iterations=6", "train.log_interval=1", "train.eval_interval=6"),
    *("train.checkpoint_interval=1", "train.ema={decay: 0.5}", "data.iter_size=2"),
    "optimizer={name: sgd, clip: {by: global_norm, limit: 0.1}}",
    "schedule={name: constant, base_lr: 0.01}",
]
SIDES = ("torch", "paddle")
LAUNCHERS = {
    "torch": [str(Path(sys.executable).parent / "torchrun"), "--nproc_per_node", "2"],
    "paddle": [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"],
}
STATISTICS = ("_mean", "_variance", "_var", "num_batches_tracked")
LIMIT_S = 150


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=4, val=3, size_hw=(64, 128))
    return folder


class Trainings:
    """Runs of one side on the toy set."""

    def __init__(self, side, toy, folder):
        self.side, self.folder = side, folder
        self.script, self.given = TOOLS / f"train_{side}.py", [*SMALL, f"data.root={toy}"]

    def alone(self, name, *more):
        """Return the folder of a run in one process."""
        done = nursery.run_script(self.script, *self.arguments(name, *more), cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return self.folder / name

    def two(self, name, *more):
        """Start a run in two processes."""
        folder = self.folder / f"{name}.said"
        return nursery.Group(self.side, self.script, *self.arguments(name, *more), folder=folder)

    def launcher(self, name, *more):
        """Start the same by the framework's launcher."""
        place = ["--log_dir", str(self.folder / "logs")] if self.side == "paddle" else []
        words = [*LAUNCHERS[self.side], *place, self.script, *self.arguments(name, *more)]
        with (self.folder / f"{name}.said").open("a") as said:
            return subprocess.Popen(list(map(str, words)), cwd=ROOT, stdout=said, stderr=said)

    def arguments(self, name, *more):
        return [*self.given, f"output={self.folder / name}", *more]

    def at(self, name, iteration):
        """Wait until a run has written a checkpoint."""
        place = self.folder / name / "checkpoints" / f"iteration_{iteration:08d}"
        deadline = time.monotonic() + LIMIT_S
        while not place.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert place.exists()


@pytest.fixture(scope="module", params=SIDES)
def trainings(request, toy, tmp_path_factory):
    pytest.importorskip(request.param)
    return Trainings(request.param, toy, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def whole(trainings):
    """The last checkpoint of an uninterrupted run in two processes, and its log."""
    group = trainings.two("whole")
    assert group.wait() == [0, 0], group.said(0) + group.said(1)
    return remains(trainings.folder / "whole")


def remains(folder):
    last = folder / "checkpoints" / "iteration_00000006" / "state.safetensors"
    return last.read_bytes(), (folder / "log.jsonl").read_bytes()


def weights(folder):
    """Return what the last checkpoint holds but for running statistics."""
    from common.training.resume import read_resume_point

    arrays = read_resume_point(folder / "checkpoints" / "iteration_00000006").arrays
    return {k: a for k, a in arrays.items() if not k.endswith(STATISTICS)}


def test_two_processes_train_as_one_does(trainings, whole):
    """Clipped after two processes have accumulated two batches each, and averaged over updates.

    One process adds the four gradients in another order. Running statistics are those of the first
    process, so validations differ a little.
    """
    both, alone = trainings.folder / "whole", trainings.alone("alone")
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in (both, alone)]
    trained = [[row for row in map(json.loads, log) if "lr" in row] for log in logs]
    for row, expected in zip(*trained, strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    expected, found = weights(alone), weights(both)
    assert expected.keys() == found.keys()
    assert any(name.startswith("ema.") for name in found)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-7, err_msg=name)


LAUNCHED = [pytest.param("torch", marks=pytest.mark.prove), "paddle"]


@pytest.mark.parametrize("trainings", LAUNCHED, indirect=True)
def test_the_launchers_start_these_processes(trainings, whole):
    launcher = trainings.launcher("launched")
    assert launcher.wait(LIMIT_S) == 0, (trainings.folder / "launched.said").read_text()
    assert remains(trainings.folder / "launched") == whole


def ended_by(trainings, name, number, killed):
    """Start a run in two processes, signal one of them, and return its group and exit codes."""
    written = (trainings.folder / name / "checkpoints").glob("iteration_*")
    last = max((int(path.name.rpartition("_")[2]) for path in written), default=0)
    group = trainings.two(name, "--resume", "auto")
    trainings.at(name, last + 1)
    os.kill(group.pids[killed], number)
    return group, group.wait()


def resumed(trainings, name):
    """Finish a run in two processes; return what remains of it."""
    group = trainings.two(name, "--resume", "auto")
    assert group.wait() == [0, 0], group.said(0) + group.said(1)
    return remains(trainings.folder / name)


def test_a_signal_to_any_process_saves_and_a_killed_one_ends_the_job(trainings, whole):
    group, codes = ended_by(trainings, "ended", signal.SIGTERM, 1)
    assert codes == [143, 143], group.said(0) + group.said(1)
    assert not list(trainings.folder.glob("ended/**/*.part"))
    group, codes = ended_by(trainings, "ended", signal.SIGKILL, 1)
    assert codes == [2, -signal.SIGKILL]
    assert "process 0 of 2: another process of this training ended" in group.said(0)
    assert "--resume auto" in group.said(0)
    assert resumed(trainings, "ended") == whole


@pytest.mark.prove
def test_the_first_process_is_killed_and_the_job_is_resumed(trainings, whole):
    group, codes = ended_by(trainings, "first", signal.SIGKILL, 0)
    assert codes == [-signal.SIGKILL, 2]
    assert "process 1 of 2: another process of this training ended" in group.said(1)
    assert resumed(trainings, "first") == whole


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_killed_by_chance_it_ends_as_if_it_had_not_been(trainings, whole, seed):
    """Any process at any moment, and once in two the launcher by SIGTERM; ten seeds a side."""
    name, rng, done = f"chance_{seed}", random.Random(seed), 0
    while True:
        launcher = trainings.launcher(name, "--resume", "auto")
        if done < 3:
            time.sleep(rng.uniform(3, 9))
            children = processes_of(launcher.pid)
            if rng.random() < 0.5 or not children:
                launcher.terminate()
            else:
                os.kill(rng.choice(children), signal.SIGKILL)
            done += 1
        if launcher.wait(LIMIT_S) == 0:
            break
        assert done <= 3
    assert remains(trainings.folder / name) == whole


def processes_of(pid):
    """Return the processes that a launcher started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    lines = {child: Path(f"/proc/{child}/cmdline") for child in children}
    return [c for c, line in lines.items() if line.exists() and b"train_" in line.read_bytes()]
