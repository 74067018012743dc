"""The alignment commands as a person runs them: exit codes, messages, files."""

import json

import pytest

from tests.nursery import run
from tests.paths import TOOLS

pytest.importorskip("torch")
pytest.importorskip("paddle")


def test_aligned_row_exits_0_and_writes_its_report(tmp_path):
    small = ["--input-shape", 2, 3, 32, 64, "--report", "out"]
    done = run("align_forward", "--model", "stdc1_seg", "--train", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "aligned: " in done.stdout.splitlines()[-1]
    data = json.loads((tmp_path / "out" / "forward_train.json").read_text())
    assert data["exit_code"] == 0
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {
        ".json",
        ".csv",
        ".png",
        ".html",
        ".xml",
    }


def test_json_is_all_that_stands_on_stdout(tmp_path):
    shape = ["--input-shape", 2, 3, 32, 32]
    done = run("align_backward", "--model", "stdc1_cls", "--json", *shape, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["stage"] == "backward"


BAD = {
    "unknown row": (["--model", "stdc9"], "The table has"),
    "batch of one": (
        ["--model", "stdc1_seg", "--train", "--input-shape", 1, 3, 64, 64],
        "batch of at least 2",
    ),
    "negative seed": (["--seed", -1], "a whole number from 0"),
    "too small": (
        ["--model", "unet", "--input-shape", 1, 3, 8, 8],
        "the reference cannot run on this input: layer down4.maxpool_conv.0 (MaxPool2d) raises",
    ),
    "four channels": (
        ["--model", "stdc1_cls", "--input-shape", 2, 4, 64, 64],
        "takes 3 channels",
    ),
    "absent file": (["--weights", "absent.pth"], "absent.pth"),
    "all and one": (["--all", "--model", "stdc1_seg"], "--all"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_exit_2(tmp_path, case):
    arguments, words = BAD[case]
    done = run("align_forward", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_unknown_config_key_is_named(tmp_path):
    config = TOOLS.parent / "configs" / "stdc1_toy.yml"
    done = run("align_stage", "loss", config, "train.iteration=3", cwd=tmp_path)
    assert done.returncode == 2
    assert "train.iterations" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_an_example(tmp_path):
    for tool in ("align_forward", "align_backward", "align_training", "align_stage", "reproduce"):
        done = run(tool, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "example:" in done.stdout
