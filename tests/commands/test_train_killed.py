"""kill -9 at random moments, resume, compare: with the command, the real net and real files.

Run as a program it is a nursery: it loads Paddle once, and forks a process for every command line
that it reads, so that fifty runs do not load Paddle fifty times.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT

SMALL = (
    "data.crop_hw=[32,64] data.batch_size=2 data.workers=1 train.iterations=8 train.log_interval=3 "
    "train.eval_interval=4 train.checkpoint_interval=2 schedule.warmup_steps=2 --quiet --threads 1"
)


class Nursery:
    """Starts runs of tools/train_paddle.py; each is a process of its own."""

    def __init__(self, toy):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.toy = toy
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands.test_train_killed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            cwd=ROOT,
        )

    def start(self, folder, *more):
        """Return the pid of a run."""
        argv = ["configs/stdc1_toy.yml", f"data.root={self.toy}", f"output={folder}"]
        self._say(["run", [*argv, *SMALL.split(), *more]])
        return self._hear()

    def wait(self):
        """Return the exit code of the last run, negative for a signal."""
        self._say(["wait", None])
        return self._hear()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)

    def _say(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def _hear(self):
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    pytest.importorskip("paddle")
    from common.data.toy import write_toy_cityscapes

    toy = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(toy, train=6, val=2, size_hw=(64, 128))
    nursery = Nursery(toy)
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def whole(nursery, tmp_path_factory):
    """What an uninterrupted run leaves, and how long it takes."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    begin = time.monotonic()
    nursery.start(folder)
    assert nursery.wait() == 0
    return remains(folder), time.monotonic() - begin


def remains(folder):
    last = folder / "checkpoints" / "iteration_00000008"
    log = (folder / "log.jsonl").read_bytes()
    assert log.count(b"\n") == 5  # three intervals, two validations
    return (last / "state.safetensors").read_bytes(), log


def kills(nursery, whole, folder, count, seed):
    """Kill a run `count` times, whatever it is doing, resuming it in between."""
    expected, duration = whole
    rng, done, number = random.Random(seed), 0, 0
    while done < count:
        run = folder / str(number)
        while True:
            pid = nursery.start(run, "--resume", "auto")
            if done < count:
                time.sleep(rng.uniform(0.1, 0.8) * duration)
                os.kill(pid, signal.SIGKILL)
            code = nursery.wait()
            assert code in (0, -signal.SIGKILL)
            if code == 0:
                break
            done += 1
        assert remains(run) == expected
        number += 1


def test_killed_runs_end_as_if_they_had_not_been(nursery, whole, tmp_path):
    kills(nursery, whole, tmp_path, 5, seed=0)


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 11))
def test_fifty_kills(nursery, whole, tmp_path, seed):
    kills(nursery, whole, tmp_path, 5, seed)


def test_readers_do_not_outlive_a_killed_run(nursery, whole, tmp_path):
    pid = nursery.start(tmp_path / "run")
    readers, deadline = [], time.monotonic() + 60
    while not readers and time.monotonic() < deadline:
        readers = [child for child in children(pid) if b"spawn_main" in command_line(child)]
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert nursery.wait() == -signal.SIGKILL
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_between_steps(nursery, whole, tmp_path, number, code):
    expected, _ = whole
    pid = nursery.start(tmp_path / "run")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("run/checkpoints/iteration_*2")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, number)
    assert nursery.wait() == code
    assert not list(tmp_path.rglob("*.part"))
    nursery.start(tmp_path / "run", "--resume", "auto")
    assert nursery.wait() == 0
    assert remains(tmp_path / "run") == expected


def serve():
    """Fork a run for every line of stdin."""
    sys.path.insert(0, str(ROOT / "tools"))
    import train_paddle

    import paddle_impl.train  # noqa: F401 - what takes seconds
    from commands.entry import run

    pid = 0
    for line in sys.stdin:
        what, argv = json.loads(line)
        if what == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            answer = pid = os.fork()
            if pid == 0:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.argv = ["train_paddle.py", *argv]
                try:
                    run(train_paddle.main)
                except SystemExit as ending:
                    os._exit(int(ending.code or 0))
                os._exit(99)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
