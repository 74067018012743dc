"""kill -9 at random moments, resume, compare: with the command, a net and real files.

The proof takes STDC, whose files are large; `make unit` a narrow U-Net.
"""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import nursery
from tests.commands.test_random_kills import CODES, SIGNALS
from tests.paths import ROOT, TOOLS

# By the clock or by signals: not beside its like.
SMALL = (
    "data.crop_hw=[32,64] data.batch_size=2 data.workers=1 train.iterations=8 train.log_interval=3 "
    "train.eval_interval=4 train.checkpoint_interval=2 --quiet --threads 1"
)
NETS = {
    "narrow": "configs/unet_toy.yml model.options.width=0.125 data.scale=1.0",
    "real": "configs/stdc1_toy.yml schedule.warmup_steps=2",
}
NARROW, REAL = (pytest.mark.parametrize("trainings", [net], indirect=True) for net in NETS)


class Trainings:
    """Starts runs of tools/train_paddle.py; each is a process of its own."""

    def __init__(self, net, toy):
        self.given = [*NETS[net].split(), f"data.root={toy}", *SMALL.split()]

    def start(self, folder, *more, err=os.devnull):
        """Return the pid of a run."""
        command = [*self.given, f"output={folder}", *more]
        tool = TOOLS / "train_paddle.py"
        self.pid = nursery.of_this_worker().start(tool, *command, cwd=ROOT, err=err)
        return self.pid

    def wait(self):
        """Return the exit code of the last run, negative for a signal."""
        self.ended = nursery.of_this_worker().wait()
        return self.ended


@pytest.fixture(scope="module")
def trainings(request, tmp_path_factory):
    pytest.importorskip("paddle")
    from common.data.toy import write_toy_cityscapes

    toy = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(toy, train=6, val=2, size_hw=(64, 128))
    nursery.of_this_worker()  # loads before runs are timed
    return Trainings(request.param, toy)


@pytest.fixture(scope="module")
def whole(trainings, tmp_path_factory):
    """What an uninterrupted run leaves, and how long it takes."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    begin = time.monotonic()
    trainings.start(folder)
    assert trainings.wait() == 0
    return remains(folder), time.monotonic() - begin


def remains(folder):
    last = folder / "checkpoints" / "iteration_00000008"
    log = (folder / "log.jsonl").read_bytes()
    assert log.count(b"\n") == 5  # three intervals, two validations
    return (last / "state.safetensors").read_bytes(), log


def kills(trainings, whole, folder, count, seed):
    """Kill a run `count` times, whatever it is doing, resuming it in between."""
    expected, duration = whole
    rng, done, number = random.Random(seed), 0, 0
    while done < count:
        run = folder / str(number)
        while True:
            pid = trainings.start(run, "--resume", "auto")
            if done < count:
                time.sleep(rng.uniform(0.1, 0.8) * duration)
                os.kill(pid, signal.SIGKILL)
            code = trainings.wait()
            assert code in (0, -signal.SIGKILL)
            if code == 0:
                break
            done += 1
        assert remains(run) == expected
        number += 1


@NARROW
def test_killed_runs_end_as_if_they_had_not_been(trainings, whole, tmp_path):
    kills(trainings, whole, tmp_path, 2, seed=0)  # the proof kills fifty times


@REAL
@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 11))
def test_fifty_kills(trainings, whole, tmp_path, seed):
    kills(trainings, whole, tmp_path, 5, seed)


@NARROW
@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_signals_of_every_kind_at_any_moment(trainings, whole, tmp_path):
    """Also while it starts, imports, validates and saves; what is left is swept with a word."""
    expected, duration = whole
    rng, run, said = random.Random(11), tmp_path / "run", tmp_path / "said"
    for count in range(16):
        numbers = SIGNALS[count % len(SIGNALS)]
        left = list(run.rglob(".*.part"))
        said.unlink(missing_ok=True)
        trainings.start(run, "--resume", "auto", err=said)
        assert hit(trainings, numbers, rng.uniform(0, 0.8) * duration) in CODES
        told = said.read_text()
        assert "Traceback" not in told.replace("C++ Traceback", "")  # Paddle's words
        if left and not list(run.rglob(".*.part")):
            assert "removed, drafts of a run that was killed" in told
        if trainings.ended == 0:
            assert remains(run) == expected
            run = tmp_path / str(count)
    trainings.start(run, "--resume", "auto")
    assert trainings.wait() == 0
    assert remains(run) == expected
    assert not list(run.rglob(".*.part"))


def hit(trainings, numbers, after):
    """Send the last run signals after some seconds; return its exit code."""
    time.sleep(after)
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(trainings.pid, number)
        time.sleep(0.05)
    return trainings.wait()


@NARROW
def test_readers_do_not_outlive_a_killed_run(trainings, whole, tmp_path):
    pid = trainings.start(tmp_path / "run")
    readers, deadline = [], time.monotonic() + 60
    while not readers and time.monotonic() < deadline:
        readers = [child for child in children(pid) if b"spawn_main" in command_line(child)]
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert trainings.wait() == -signal.SIGKILL
    assert readers
    while any(command_line(reader) for reader in readers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(command_line(reader) for reader in readers)


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def command_line(pid):
    """Of a living process; of one that has ended, nothing."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@NARROW
def test_a_signal_ends_the_run_between_steps(trainings, whole, tmp_path):
    """One run is ended by each, resumed in between."""
    expected, _ = whole
    for written, (number, code) in ((2, (signal.SIGTERM, 143)), (6, (signal.SIGINT, 130))):
        pid = trainings.start(tmp_path / "run", "--resume", "auto")
        checkpoint = tmp_path / f"run/checkpoints/iteration_{written:08d}"
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(pid, number)
        assert trainings.wait() == code
        assert not list(tmp_path.rglob("*.part"))
    trainings.start(tmp_path / "run", "--resume", "auto")
    assert trainings.wait() == 0
    assert remains(tmp_path / "run") == expected
