"""The commands of examples/own_photos/README.md, with fewer iterations."""

import json
import re

import pytest

from tests.nursery import run, run_script
from tests.paths import ROOT

EXAMPLE = ROOT / "examples" / "own_photos"
SHORT = (
    "train.iterations=2",
    "train.eval_interval=2",
    "data.batch_size=2",
    "schedule.warmup_steps=1",
)


def test_the_photos_are_drawn_checked_and_trained_on(tmp_path):
    pytest.importorskip("paddle")
    root = tmp_path / "data" / "own_photos"
    block = re.search(r"```bash\n(.*?)```", (EXAMPLE / "README.md").read_text("utf-8"), re.S)
    drawn, checked, trained = (line.split()[1:] for line in block.group(1).splitlines())
    assert (drawn[1], f"data/{root.name}") == ("data/own_photos", "data/own_photos")
    done = run_script(ROOT / drawn[0], *drawn[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("check_data", ROOT / checked[1], "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert [row["name"] for row in told["classes"]][1:3] == ["disc", "square"]
    assert all(sum(row["images"].values()) for row in told["classes"])
    done = run("train_paddle", ROOT / trained[1], *SHORT, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["validation"]["iou"]) == {
        *("background", "disc", "square", "triangle", "bar")
    }
