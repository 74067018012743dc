"""The chain: its eight images, its log lines, and whose exit code it has."""

import json
import re
import shutil

import numpy as np
import pytest

from commands.chain.command import steps_of, write_results
from commands.chain.lite import write_lite
from commands.chain.steps import Step, training_lines
from common.settings.load import load_settings
from common.training.feed import open_data
from tests.nursery import run
from tests.paths import CONFIGS, ROOT

# What the guide's chain test looks for in a line.
LINE = re.compile(
    r"loss: [\d.]+, lr: [\d.]+, reader_cost: [\d.]+ .*batch_cost: [\d.]+ .*ips: [\d.]+"
)


@pytest.mark.parametrize("name", ["stdc1", "pspnet50", "unet", "deeplabv3_tv_r50"])
def test_eight_images_of_a_recipes_own_classes(name, tmp_path):
    settings = load_settings(CONFIGS / f"{name}.yml")
    lite = load_settings(write_lite(settings, tmp_path, steps=3))
    data = open_data(lite)
    assert (len(data.train), len(data.val)) == (4, 4)
    assert len(data.class_names) == settings.model.num_classes
    assert (lite.train.iterations, lite.data.normalisation) == (3, settings.data.normalisation)
    assert (lite.model, lite.loss.name) == (settings.model, settings.loss.name)
    image, label = data.train.sample(0, 0)
    assert image.shape[1:] == label.shape == lite.data.crop_hw
    labels = np.concatenate([data.val.sample(0, i)[1].ravel() for i in range(4)])
    assert set(labels.tolist()) == set(range(settings.model.num_classes))


def test_log_lines_are_those_of_the_guides_chain_test(tmp_path):
    rows = [{"iteration": i, "lr": 0.01, "loss": 2.5} for i in (1, 2)]
    speeds = [{"iteration": i, "images_per_s": 8.0, "step_s": 0.5, "data_s": 0.1} for i in (1, 2)]
    log = [*rows, {"iteration": 2, "mean_iou": 0.1}]
    for name, lines in (("log.jsonl", log), ("speed.jsonl", speeds)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = training_lines(tmp_path)
    assert len(lines) == 2
    assert lines[1] == (
        "[TRAIN] iter: 2/2, loss: 2.5000, lr: 0.010000, reader_cost: 0.1000 sec, "
        "batch_cost: 0.5000 sec, ips: 8.00 images/sec"
    )
    assert all(LINE.search(line) for line in lines)


class Children:
    """Steps that end as they are told."""

    def __init__(self, folder, codes, results=None):
        self.folder, self.codes, self.seen = folder, codes, []
        (folder / "run").mkdir(parents=True)
        (folder / "run" / "final.pdparams").touch()
        row = {"iteration": 1, "lr": 0.1, "loss": 1.0}
        speed = {"iteration": 1, "images_per_s": 1.0, "step_s": 1.0, "data_s": 0.0}
        (folder / "run" / "log.jsonl").write_text(json.dumps(row) + "\n")
        (folder / "run" / "speed.jsonl").write_text(json.dumps(speed) + "\n")
        (folder / "a.png").touch()
        item = {"outputs": dict.fromkeys(("ids", "overlay", "sheet"), str(folder / "a.png"))}
        self.results = {
            "train": {
                "folder": str(folder / "run"),
                "finished": True,
                "weights": str(folder / "run" / "final.pdparams"),
            },
            "evaluate": {"mean_iou": 0.3, "images": 4},
            "export": {"equal": True},
            "predict": {"items": [{**item, "classes": {"a": 0.25, "b": 0.75}}] * 8},
            **(results or {}),
        }

    def __call__(self, name, arguments):
        self.seen.append(name)
        code = self.codes.get(name, 0)
        return Step(name, f"python tools/{name}.py", code, self.results[name])


ALL = ["train", "evaluate", "export", "predict"]


@pytest.mark.parametrize(
    ("codes", "seen", "expected"),
    [
        ({}, ALL, 0),
        ({"train": 1}, ALL[:1], 1),
        ({"evaluate": 2}, ALL[:2], 2),
        ({"export": -9}, ALL[:3], 2),  # killed: it could not be checked
        ({"predict": 130}, ALL, 130),
        ({"predict": 77}, ALL, 2),
    ],
)
def test_the_first_step_that_fails_is_the_last(codes, seen, expected, tmp_path):
    children = Children(tmp_path / "chain", codes)
    steps = list(steps_of(tmp_path / "chain.yml", tmp_path / "chain", children, 1))
    assert children.seen == seen
    assert steps[-1].exit_code == expected
    write_results(steps, tmp_path / "results.log")
    lines = (tmp_path / "results.log").read_text().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["successfully"] * (len(seen) - 1)
    assert lines[-1].startswith("Run failed with" if expected else "Run successfully with")


@pytest.mark.parametrize(
    "results",
    [
        {"train": {"folder": "nowhere", "finished": True, "weights": "none"}},
        {"evaluate": {"mean_iou": None}},
        {"export": {}},
        {"export": {"equal": False}},
        {"predict": {"items": []}},
    ],
)
def test_a_step_that_did_not_do_it_has_failed_whatever_its_exit_code(results, tmp_path):
    children = Children(tmp_path / "chain", {}, results)
    steps = list(steps_of(tmp_path / "chain.yml", tmp_path / "chain", children, None))
    assert steps[-1].name == next(iter(results))
    assert steps[-1].exit_code == 1


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "mine.txt").write_text("x")
    done = run("chain", CONFIGS / "stdc1.yml", "--output", tmp_path / "chain")
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert [path.name for path in (tmp_path / "chain").iterdir()] == ["mine.txt"]


@pytest.mark.prove
@pytest.mark.parametrize("own", [False, True])
def test_the_whole_chain(own, tmp_path, monkeypatch):
    pytest.importorskip("paddle")
    monkeypatch.setenv("TORCH2PADDLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LANG", "C")
    config, more = CONFIGS / "unet_toy.yml", ["model.options.width=0.125"]
    if own:
        shutil.copytree(ROOT / "examples" / "own_recipe", tmp_path / "mine")
        config, more = tmp_path / "mine" / "my_net.yml", []
    done = run("chain", config, *more, "--output", "chain", "--threads", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(bool(LINE.search(line)) for line in lines) == 4
    assert (
        sum(line.startswith("Run successfully with command - python tools/") for line in lines) == 4
    )
    assert lines[-1] == "the chain holds: train, evaluate, export, predict, on 8 images"
    assert len(list((tmp_path / "chain" / "predictions").glob("*_sheet.jpg"))) == 8
