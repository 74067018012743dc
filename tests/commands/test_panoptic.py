"""A small panoptic net of one's own through all commands, in both frameworks."""

import json

import numpy as np
import pytest
from PIL import Image

from common.data.toy import write_toy_cityscapes
from common.panoptic.ids import read_ids
from common.training.logs import is_validation, read_log
from tests.nursery import run

pytest.importorskip("torch")
pytest.importorskip("paddle")

NETS = """
import paddle
import torch

def heads(conv):
    return [conv(12, 19, 1), conv(12, 1, 1), conv(12, 2, 1)]

class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 12, 3, padding=1)
        self.heads = torch.nn.ModuleList(heads(torch.nn.Conv2d))

    def forward(self, x):
        x = torch.relu(self.body(x))
        return [head(x) for head in self.heads]

class Ours(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.body = paddle.nn.Conv2D(3, 12, 3, padding=1)
        self.heads = paddle.nn.LayerList(heads(paddle.nn.Conv2D))

    def forward(self, x):
        x = paddle.nn.functional.relu(self.body(x))
        return [head(x) for head in self.heads]
"""
CONFIG = """
name: mine
model: {torch: 'nets:Theirs', paddle: 'nets:Ours', num_classes: 19, task: panoptic}
data:
  dataset: cityscapes_panoptic
  root: toy
  crop_hw: [32, 64]
  batch_size: 2
  augmentation: {name: panoptic_deeplab, scale_range: [0.8, 1.2]}
target: {name: panoptic_deeplab}
loss: {name: panoptic_deeplab}
optimizer: {name: adam}
schedule: {name: constant, base_lr: 0.02}
train: {iterations: 6, eval_interval: 3, log_interval: 3}
evaluate: {absent: skip, post: {name: panoptic_deeplab, stuff_area: 10}}
log: {images: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The net, its config, a toy set, and a training in torch."""
    folder = tmp_path_factory.mktemp("panoptic")
    (folder / "nets.py").write_text(NETS)
    (folder / "mine.yml").write_text(CONFIG)
    write_toy_cityscapes(folder / "toy", train=4, val=2, size_hw=(64, 128))
    done = run("train_torch", "mine.yml", "output=theirs", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "told.json").write_text(done.stdout)
    return folder


def read(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_best_weights_are_those_of_the_highest_pq(folder):
    told = json.loads((folder / "told.json").read_text())
    rows = read_log(folder / "theirs" / "log.jsonl")
    scores = [row["pq"] for row in rows if is_validation(row)]
    assert told["best_pq"] == max(scores) > 0
    assert json.loads((folder / "theirs" / "best.json").read_text())["pq"] == max(scores)
    assert {"semantic", "center", "offset", "loss"} <= set(rows[0])


def test_paddle_trains_it_from_the_same_weights_to_the_same(folder):
    start = str(folder / "theirs" / "final.pth")
    for name in ("torch", "paddle"):
        more = ("train.iterations=2", "train.eval_interval=2", f"output=both_{name}")
        done = run(f"train_{name}", "mine.yml", f"weights.path={start}", *more, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "best PQ" in done.stdout
    theirs, ours = (
        next(row for row in read_log(folder / f"both_{name}" / "log.jsonl") if is_validation(row))
        for name in ("torch", "paddle")
    )
    assert theirs["pq"] == pytest.approx(ours["pq"], abs=0.02)
    assert theirs["mean_iou"] == pytest.approx(ours["mean_iou"], abs=0.01)


def test_evaluations_of_both_sides_agree_and_files_are_saved(folder):
    weights = ("--weights", "theirs/best.pth", "--json")
    theirs = read(run("evaluate", "mine.yml", *weights, "--framework", "torch", cwd=folder))
    ours = read(run("evaluate", "mine.yml", *weights, "--save", "saved", cwd=folder))
    told = json.loads((folder / "told.json").read_text())
    assert theirs["pq"] == told["best_pq"]
    assert ours["pq"] == pytest.approx(theirs["pq"], abs=1e-3)
    assert ours["runs"].startswith("paddle, eager")
    saved = json.loads((folder / ours["segments"]).read_text())
    ids = [read_ids(folder / "saved" / "panoptic" / r["file_name"]) for r in saved["annotations"]]
    assert [one.shape for one in ids] == [(64, 128)] * 2
    weights = weights[:2]
    done = run("evaluate", "mine.yml", *weights, "--framework", "torch", "--at-least", "0.9",
               cwd=folder)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "PQ" in done.stdout
    assert "things" in done.stdout
    assert done.stdout.strip().endswith("< 0.9")


@pytest.mark.parametrize(
    ("tool", "more", "said"),
    [
        ("evaluate", ("--save-ids", "ids"), "--save writes its segments"),
        ("evaluate", ("--engine", "paddle"), "is not exported yet"),
        ("export", ("-o", "exported"), "returns maps of several kinds"),
    ],
)
def test_what_is_of_semantic_nets_is_refused(folder, tool, more, said):
    done = run(tool, "mine.yml", "--weights", "theirs/best.pth", *more, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr


def test_photos_are_predicted_as_segments(folder):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8)).save(folder / "photo.png")
    weights = ("--weights", "theirs/best.pth", "--framework", "torch", "--output", "out", "--json")
    told = read(run("predict", "mine.yml", "photo.png", *weights, cwd=folder))
    assert told["files"] == ["out/panoptic.json"]
    (row,) = json.loads((folder / "out" / "panoptic.json").read_text())["annotations"]
    ids = read_ids(folder / "out" / "photo.png")
    assert ids.shape == (50, 70)
    assert {info["id"] for info in row["segments_info"]} == {*np.unique(ids).tolist()} - {0}
    assert Image.open(folder / "out" / "photo_overlay.jpg").size == (70, 50)
    assert Image.open(folder / "out" / "photo_sheet.jpg").width > 2 * 70
