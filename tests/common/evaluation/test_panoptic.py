"""The panoptic evaluator against files of panopticapi, and against itself in several processes."""

import json
import math

import numpy as np
import pytest

from common.data.batch import Batch
from common.errors import DataError
from common.evaluation.panoptic import PanopticEvaluator
from common.metrics.panoptic import panoptic_quality
from common.panoptic.files import PredictionFiles
from tests.common.metrics.panoptic_sets import CATEGORIES, THINGS, write_set
from tests.common.panoptic.scenes import blocks, segment

NAMES = tuple(f"class {number}" for number in CATEGORIES)
PLACES = tuple(CATEGORIES.index(number) for number in THINGS)


def scene(seed):
    """Return ids, rows of train ids, and a panoptic map that is about right."""
    ids, rows = blocks(seed, most=1000)
    rows = [
        segment(r["id"], r["category_id"] % len(NAMES), r["iscrowd"], int((ids == r["id"]).sum()))
        for r in rows
        if (ids == r["id"]).any()
    ]
    panoptic = np.full(ids.shape, -1)
    for row in rows:
        panoptic[ids == row["id"]] = row["category_id"] * 1000 + row["id"]
    panoptic = np.roll(panoptic, seed % 3, 1)
    panoptic[: seed + 2] = 3004
    return ids, rows, panoptic


def batch_of(seeds):
    scenes = [scene(seed) for seed in seeds]
    target = {"ids": np.stack([s[0] for s in scenes]), "segments": [s[1] for s in scenes]}
    return Batch(np.zeros((len(scenes), 3, 0, 0)), target), np.stack([s[2] for s in scenes])


def evaluated(*seeds):
    evaluator = PanopticEvaluator(NAMES, PLACES)
    for some in seeds:
        evaluator.update(*batch_of(some))
    return evaluator


def test_scores_are_those_of_the_files(tmp_path):
    truth, files = {}, PredictionFiles(tmp_path / "pred.json", 1000, CATEGORIES)
    for seed in range(4):
        ids, rows, panoptic = scene(seed)
        truth[f"i{seed}"] = ids, [{**r, "category_id": CATEGORIES[r["category_id"]]} for r in rows]
        files.add(panoptic, f"i{seed}", f"i{seed}")
    files.close()
    expected = panoptic_quality(write_set(tmp_path / "gt.json", truth, CATEGORIES), files.path)
    found = evaluated((0, 1), (2, 3)).compute()
    for group, ending in {"All": "", "Things": "_things", "Stuff": "_stuff"}.items():
        means = {name: found[f"{name}{ending}"] for name in ("pq", "sq", "rq")}
        assert means == pytest.approx({n: expected[group][n] for n in means}, rel=1e-14)
    by_class = {c: row["pq"] for c, row in expected["per_class"].items()}
    assert list(found["pq_by_class"].values()) == pytest.approx(list(by_class.values()), rel=1e-14)


def test_parts_add_up_in_any_order_to_the_last_digit():
    whole = evaluated((0, 1, 2, 3, 4)).compute()
    parts = [evaluated((4, 2)), evaluated((3,)), evaluated((1, 0)), evaluated()]
    told = [json.loads(json.dumps(part.counted())) for part in parts]
    joined = PanopticEvaluator(NAMES, PLACES)
    joined.take(told)
    assert joined.compute() == whole
    assert whole["pq"] > 0


def test_the_iou_is_that_of_the_classes_and_void_is_right_for_none():
    target = {"ids": np.array([[[1, 1, 0]]], np.uint32), "segments": [[segment(1, 1, 0, 2)]]}
    batch = Batch(np.zeros((1, 3, 0, 0)), target)
    evaluator = PanopticEvaluator(("road", "car"), (1,), absent="skip")
    evaluator.update(batch, np.array([[[1001, -1, -1]]]))
    scores = evaluator.compute()
    assert (scores["iou"]["car"], scores["mean_iou"], scores["pixel_accuracy"]) == (0.5, 0.5, 0.5)
    evaluator.reset()
    evaluator.update(batch, np.array([[[[1001, -1, -1]], [[1, 1, 0]]]]))
    assert evaluator.compute()["mean_iou"] == 1
    assert evaluator.compute()["rq"] == 0  # an IoU of a half is no match


def test_a_class_without_segments_has_no_quality():
    scores = PanopticEvaluator(("road", "car"), np.array([False, True])).compute()
    assert all(math.isnan(scores[name]) for name in ("pq", "rq_things", "sq_stuff", "mean_iou"))
    assert math.isnan(scores["pq_by_class"]["road"])


def test_what_does_not_fit_is_refused():
    batch, panoptic = batch_of((0,))
    evaluator = PanopticEvaluator(NAMES, PLACES)
    with pytest.raises(DataError, match=r"must be equal"):
        evaluator.update(batch, panoptic[:, 1:])
    with pytest.raises(DataError, match=r"classes 0\.\.6, got 7 with a label_divisor of 1000"):
        evaluator.update(batch, np.full_like(panoptic, 7000))
    with pytest.raises(DataError, match="a target with ids and segments"):
        evaluator.update(Batch(batch.image, panoptic), panoptic)
