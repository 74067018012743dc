"""Instances through the commands: SOLO's toy, narrow, on a handful of rendered shapes."""

import json

import numpy as np
import pytest
from PIL import Image

from common.data.toy import write_toy_cityscapes
from common.training.logs import is_validation, read_log
from tests.nursery import run
from tests.paths import CONFIGS

pytest.importorskip("torch")
pytest.importorskip("paddle")
pytest.importorskip("pycocotools")

CONFIG = str(CONFIGS / "solo_r50_fpn_toy.yml")
SMALL = (
    *("data.root=toy", "model.options.width=0.0625", "data.batch_size=2"),
    *("data.augmentation.short_sides=[64]", "data.augmentation.longest=64"),
    *("schedule.warmup=null", "train.iterations=2", "train.eval_interval=1", "log.images=1"),
    # After two steps nothing scores 0.1, so that files would be empty.
    *("evaluate.post.score_thr=0.005", "evaluate.post.filter_thr=0", "evaluate.post.mask_thr=0"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A toy set, and a training in torch."""
    folder = tmp_path_factory.mktemp("instances")
    write_toy_cityscapes(
        folder / "toy", layout="coco_instances", train=6, val=2, size_hw=(64, 64), seed=1
    )
    done = run("train_torch", CONFIG, *SMALL, "output=theirs", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "told.json").write_text(done.stdout)
    return folder


def read(done, code=0):
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_the_best_weights_are_those_of_the_highest_ap(folder):
    told = json.loads((folder / "told.json").read_text())
    rows = read_log(folder / "theirs" / "log.jsonl")
    scores = [row["ap"] for row in rows if is_validation(row)]
    assert told["best_ap"] == max(scores)
    assert told["best_mean_iou"] is None
    assert json.loads((folder / "theirs" / "best.json").read_text())["ap"] == max(scores)
    assert set(told["validation"]["ap_by_class"]) == {"disc", "square", "triangle"}


@pytest.mark.prove
def test_evaluations_of_both_sides_agree_and_results_are_saved(folder):
    weights = ("--weights", "theirs/best.pth", "--json")
    theirs = read(run("evaluate", CONFIG, *SMALL, *weights, "--framework", "torch", cwd=folder))
    saved = ("--save", "saved", "--at-least", "0.9")
    ours = read(run("evaluate", CONFIG, *SMALL, *weights, *saved, cwd=folder), 1)
    assert ours["ap"] == pytest.approx(theirs["ap"], abs=1e-6)
    assert ours["verdict"].endswith("< 0.9")
    rows = json.loads((folder / ours["segments"]).read_text())
    assert rows
    assert {row["category_id"] for row in rows} <= {2, 7, 11}
    assert {row["image_id"] for row in rows} <= {2, 4}
    assert all(row["segmentation"]["size"] == [64, 64] for row in rows)
    done = run("evaluate", CONFIG, *SMALL, *weights[:2], "--save", "saved", cwd=folder)
    assert done.returncode == 2
    assert "--force" in done.stderr


def test_photos_get_masks_boxes_and_a_list(folder):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8)).save(folder / "7.png")
    weights = ("--weights", "theirs/best.pth", "--output", "out", "--json")
    told = read(run("predict", CONFIG, *SMALL, "7.png", *weights, cwd=folder))
    assert told["files"] == ["out/instances.json"]
    rows = json.loads((folder / "out" / "instances.json").read_text())
    assert {row["image_id"] for row in rows} == {7}
    assert {row["category_id"] for row in rows} <= {1, 2, 3}
    numbers = np.asarray(Image.open(folder / "out" / "7.png"))
    assert numbers.shape == (50, 70)
    assert 0 < numbers.max() <= len(rows)
    assert Image.open(folder / "out" / "7_overlay.jpg").size == (70, 50)


@pytest.mark.prove
def test_what_is_of_other_nets_is_refused(folder):
    weights = ("--weights", "theirs/best.pth")
    for tool, more, said in (
        ("evaluate", ("--save-ids", "ids"), "--save writes its objects"),
        ("export", ("-o", "exported"), "no graph of fixed shapes"),
        ("align_stage", ("metric",), "no class of every pixel"),
    ):
        given = (*more, CONFIG) if tool == "align_stage" else (CONFIG, *weights, *more)
        done = run(tool, *given, *SMALL, cwd=folder)
        assert done.returncode == 2, (tool, done.stdout, done.stderr)
        assert said in done.stderr, (tool, done.stderr)


@pytest.mark.prove
def test_the_data_are_shown_with_their_objects(folder):
    told = read(run("check_data", CONFIG, *SMALL, "--output", "looked", "--json", cwd=folder))
    assert told["good"]
    frames = told["splits"]["train"]["frames"]
    assert told["objects"]["train"] == {"dropped": 0, "left_out": 6 - frames}
    assert (folder / "looked" / "samples.png").is_file()


@pytest.mark.prove
def test_a_net_that_computes_its_losses_gets_objects_in_train_mode(folder):
    """`--train` of a config gives it a batch of the data, as the ladder does."""
    sizes = ("min_size=64", "max_size=64", "width=0.0625", "anchor_sizes=[8,16,24,32,48]")
    small = ("data.root=toy", "data.batch_size=2", *(f"model.options.{one}" for one in sizes))
    config = str(CONFIGS / "mask_rcnn_r50_fpn_toy.yml")
    told = read(run("align_forward", config, *small, "--train", "--json", cwd=folder))
    assert "roi_heads.teach.mask_loss" in json.dumps(told)


@pytest.mark.prove
@pytest.mark.parametrize("row", ["solo_r50_fpn", "solov2_r50_fpn", "mask_rcnn_r50_fpn"])
def test_the_whole_ladder_of_a_toy(row, tmp_path):
    """Mask R-CNN's proposals overlap objects there, or its box targets could not be checked."""
    given = "reproduce", CONFIGS / f"{row}_toy.yml", "--fast", "--output", tmp_path / "run"
    done = run(*given, "--json")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "run" / "predictions.png").is_file()
