"""Signals at random moments of conversions and exports: the old files, the new ones, or none."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from common.files import sha256_of
from convert.formats.safetensors import write_safetensors
from convert.outputs import account_path
from tests import nursery
from tests.paths import ROOT, TOOLS

# By the clock or by signals: not beside its like.
pytestmark = pytest.mark.xdist_group("clock")
# What a person, a scheduler or the system sends; impatient people send it again.
SIGNALS = [(signal.SIGKILL,), (signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT,) * 3]
# The process may end by the signal itself, by its code, or before it comes.
CODES = {0, 130, 143, *(-number for numbers in SIGNALS for number in numbers)}
AGAIN_S = 0.03
EXPORT = "configs/unet_toy.yml model.options.width=0.125 --size 32 64 --format paddle --force"


class Forked:
    """A command of the nursery's: the inner process of a guarded one."""

    def __init__(self, words, err):
        err.unlink(missing_ok=True)
        self.pid = nursery.of_this_worker().start(*words, cwd=ROOT, err=err)

    def end(self):
        return nursery.of_this_worker().wait(self.pid)


class Typed:
    """A command in the processes that a person gets, with the one that watches."""

    def __init__(self, words, err):
        with open(err, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=file
            )
        self.pid = self.process.pid

    def end(self):
        return self.process.wait()


def hit(way, words, err, numbers, after):
    """Run a command and send it signals `after` seconds; return its exit code."""
    running = way(words, err)
    time.sleep(after)
    for number in numbers:
        try:
            os.kill(running.pid, number)
        except ProcessLookupError:
            break
        time.sleep(AGAIN_S)
    return running.end()


def drafts_in(folder):
    return [path for path in folder.rglob(".*") if path.name.endswith((".part", ".moves.json"))]


def survived(way, words, folder, check, count, seed, longest):
    """Send `count` rounds of signals to runs of a command; after each the next run does well.

    check: asserts that what stands in the folder is whole. longest: seconds that a run takes.
    """
    rng, said = random.Random(seed), folder.parent / "said"
    swept = 0
    for number in range(count):
        numbers = SIGNALS[number % len(SIGNALS)]
        code = hit(way, words, said, numbers, rng.uniform(0, longest))
        assert code in CODES, said.read_text()
        assert "Traceback" not in said.read_text().replace("C++ Traceback", "")  # Paddle's words
        time.sleep(0.5 if way is Typed else 0)  # until the watched one has ended too
        check()
        left = drafts_in(folder)
        begin = time.monotonic()
        assert way(words, said).end() == 0, said.read_text()
        longest = max(longest, time.monotonic() - begin)
        check()
        assert drafts_in(folder) == []
        if left:
            told = said.read_text()
            assert "removed, drafts of a run" in told or "completed, as a conversion" in told
            swept += 1
    return swept


@pytest.fixture
def conversion(tmp_path):
    """Two sources, and an output of the first that the second is to replace."""
    here = tmp_path / "here"
    here.mkdir()
    for number in range(2):
        state = {f"{k}.weight": np.full((1 << 9, 1 << 9, 3, 3), number, "f4") for k in range(4)}
        write_safetensors(state, here / f"{number}.safetensors", metadata={"format": "pt"})
    output = here / "out.pdparams"
    words = [TOOLS / "convert_weights.py", here / "0.safetensors", "-o", output]
    words += ["--generic", "--no-verify", "--force"]
    return here, output, words


def converted(way, conversion, count, seed):
    here, output, words = conversion
    begin = time.monotonic()
    assert way(words, here.parent / "said").end() == 0, (here.parent / "said").read_text()
    longest, whole = time.monotonic() - begin, {sha256_of(output)}
    words[1] = here / "1.safetensors"

    def check():
        found, account = sha256_of(output), account_path(output)
        whole.add(found)
        assert len(whole) <= 2  # of the one source, or of the other
        if not (here / f".{output.name}.moves.json").exists():
            assert json.loads(account.read_text())["output"]["sha256"] == found

    survived(way, words, here, check, count, seed, longest)
    assert len(whole) == 2
    assert sorted(path.name for path in here.iterdir()) == [
        *("0.safetensors", "1.safetensors", "out.pdparams", "out.pdparams.account.json")
    ]


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2))
def test_conversions_of_one_process(conversion, seed):
    converted(Forked, conversion, 12, seed)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_conversions_as_they_are_typed(conversion):
    converted(Typed, conversion, 8, 2)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_exports(tmp_path):
    pytest.importorskip("paddle")
    import paddle

    import paddle_impl

    here, weights = tmp_path / "here", tmp_path / "weights.pdparams"
    here.mkdir()
    words = [TOOLS / "export.py", *EXPORT.split(), "--weights", weights, "-o", here / "out"]

    def new_weights(seed):
        paddle.seed(seed)
        paddle.save(
            paddle_impl.build_model("unet", width=0.125, num_classes=19).state_dict(), str(weights)
        )

    new_weights(0)
    begin = time.monotonic()
    assert Forked(words, tmp_path / "said").end() == 0, (tmp_path / "said").read_text()
    longest = time.monotonic() - begin
    names = sorted(path.name for path in (here / "out").iterdir())
    new_weights(1)
    whole = set()

    def check():
        if not (here / "out").exists():  # between the two renames: the next run puts it back
            assert (here / ".out.old.part").is_dir()
            return
        assert sorted(path.name for path in (here / "out").iterdir()) == names
        whole.add(tuple(sha256_of(path) for path in (here / "out").glob("*.pdiparams")))
        assert len(whole) <= 2

    check()
    survived(Forked, words, here, check, 8, 3, longest)
    assert len(whole) == 2
    assert [path.name for path in here.iterdir()] == ["out"]
