"""replay_batch on runs of examples/own_recipe that stopped being finite."""

import json
import shutil

import pytest

from tests.commands.own_recipe import EXAMPLE, replace
from tests.nursery import run

pytest.importorskip("torch")
pytest.importorskip("paddle")
STEM = "x = F.relu(self.bn(self.stem(image)))"
HARMED = "x = paddle.log(F.relu(self.bn(self.stem(image))) - 100)"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "own")
    return tmp_path / "own"


def diverged(folder, side, *overrides):
    """Train until the loss is not finite; return the command's message."""
    done = run(f"train_{side}", "my_net.yml", "output=out", *overrides, "--quiet", cwd=folder)
    assert done.returncode == 1, done.stderr
    return done.stderr


def replayed(folder, step, *more):
    done = run("replay_batch", folder / "out" / "nan" / f"iteration_{step:08d}", *more, cwd=folder)
    return done.returncode, done.stdout or done.stderr


def test_a_fault_of_the_port_is_found_at_its_line_and_mended(folder):
    replace(folder, "net_paddle.py", STEM, HARMED)
    said = diverged(folder, "paddle")
    assert "the loss is not finite in iteration 1 (loss nan" in said
    assert "replay_batch.py out/nan/iteration_00000001" in said
    assert "Images: item" in said
    code, told = replayed(folder, 1)
    assert code == 1, told
    assert "net_paddle.py:15, in forward" in told, told
    assert "in paddle alone: the same step is finite in torch" in told.splitlines()[-1]
    code, told = replayed(folder, 1, "--json")
    found = json.loads(told)["sides"]
    assert code == 1
    assert found["paddle"]["first"]["phase"] == "forward"
    assert found["torch"]["first"] is None
    replace(folder, "net_paddle.py", HARMED, STEM)
    code, told = replayed(folder, 1, "--quiet")
    assert code == 0, told
    assert told.startswith("mended: the step is finite, and ")
    assert "net_paddle.py changed" in told


@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_a_rate_that_is_too_high_is_no_fault_of_the_port(folder, side):
    said = diverged(folder, side, "optimizer.args.lr=1e25", "schedule.paddle_args.lr=1e25")
    step = int(said.split("in iteration ")[1].split()[0])
    code, told = replayed(folder, step, "--lang", "zh")
    assert code == 1, told
    assert "两个框架都如此" in told.splitlines()[-1], told


def test_what_is_no_step_is_refused(folder):
    done = run("replay_batch", folder, cwd=folder)
    assert done.returncode == 2
    assert "holds no step.json" in done.stderr
