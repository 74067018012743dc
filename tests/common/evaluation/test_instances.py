"""From what a net returns to objects, AP and pictures: an oracle scores well, others do not."""

import json
import math

import numpy as np
import pytest

from common.data import Batch
from common.data.toy import write_toy_cityscapes
from common.errors import ConfigError, DataError
from common.evaluation.evaluate import evaluate
from common.evaluation.evaluator import Additive, build_evaluator
from common.evaluation.gallery import Gallery
from common.evaluation.instances.scores import InstanceEvaluator
from common.evaluation.protocol import ByProtocol
from common.evaluation.tasks import ask_of, paint_of
from common.instances.post import POST, FoundObjects, PhotoObjects, boxes_of
from common.instances.solo_post import solo_instances
from common.instances.teach import TEACH, Teacher, solo_levels
from common.metrics.mask_ap import average_precision, mask_average_precision
from common.settings.load import load_settings
from common.settings.panoptic import AnyPost, AnyTarget, task_of
from common.training.feed import open_data, validation_batches
from tests.paths import CONFIGS

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, layout="coco_instances", train=4, val=6, size_hw=(96, 128))
    return folder


def settings_of(toy, name="solo_r50_fpn_toy", *more):
    small = ["data.augmentation.short_sides=[96]", "evaluate.batch_size=2"]
    return load_settings(CONFIGS / f"{name}.yml", [f"data.root={toy}", *small, *more])


class Oracle:
    """A net that returns what it would be taught of validation images, which come in order."""

    def __init__(self, settings, data):
        target = settings.target
        self.teacher = Teacher("solo", 3, target.options)
        self.source, self.data, self.next = data.val.source, data.val, 0

    def outputs(self, image):
        found = []
        for _ in image:
            pixels, objects = self.source.read_objects(self.next)
            rng = np.random.default_rng(0)
            found.append(self.data.changed(pixels, objects, rng)[1])
            self.next += 1
        levels = solo_levels(self.teacher(found, image.shape[2:]))
        height, width = (length // 4 for length in image.shape[2:])
        return [list(part) for part in zip(*self._maps(levels, height, width), strict=True)]

    def _maps(self, images, height, width):
        for i in range(len(images[0])):
            grid = images[0][i]["labels"].shape[0]
            masks = np.zeros((len(images), grid * grid, height, width))
            classes = np.zeros((len(images), 3, grid, grid))
            for n, levels in enumerate(images):
                level = levels[i]
                rows, columns = np.nonzero(level["labels"] < 3)
                classes[n, level["labels"][rows, columns], rows, columns] = 0.9
                for cell, mask in zip(level["cells"], level["masks"], strict=True):
                    step = [a // b for a, b in zip((height, width), mask.shape, strict=True)]
                    masks[n, cell] = mask.repeat(step[0], 0).repeat(step[1], 1)
            yield masks, classes


def test_an_oracle_scores_well_and_pictures_show_what_it_found(toy):
    settings = settings_of(toy, "solo_r50_fpn_toy", "target.mask_stride=4")
    data = open_data(settings)
    net = Oracle(settings, data)
    gallery = Gallery(
        ByProtocol(net, ask_of(settings)),
        2,
        data.val.normalisation,
        paint_of(settings, data.colors),
    )
    side, batches = gallery.watching(validation_batches(data.val, settings))
    evaluator = build_evaluator(settings, data.class_names, data.ignore_index)
    assert isinstance(evaluator, Additive)
    scores = evaluate(side, batches, evaluator, options=settings.evaluate)
    assert scores["ap50"] > 0.9
    assert scores["box_ap50"] > 0.9
    assert 0.4 < scores["ap"] <= 1
    assert set(scores["ap_by_class"]) == {"disc", "square", "triangle"}
    assert math.isnan(scores["ap_large"])  # no object is of more than 96 x 96 pixels
    picture = gallery.picture()
    assert picture.shape == (2 * 96 + 4, 3 * 128 + 2 * 4, 3)
    assert len(np.unique(picture[:96, 136:264].reshape(-1, 3), axis=0)) > 1
    halves = [InstanceEvaluator(data.class_names) for _ in range(2)]
    for half, rows in zip(halves, (slice(0, 3), slice(3, 6)), strict=True):
        ids = {row["id"] for row in evaluator.images[rows]}
        half.images = evaluator.images[rows]
        half.annotations = [row for row in evaluator.annotations if row["image_id"] in ids]
        half.results = [row for row in evaluator.results if row["image_id"] in ids]
    whole = InstanceEvaluator(data.class_names)
    whole.take(json.loads(json.dumps([half.counted() for half in halves])))
    np.testing.assert_equal(whole.compute(), scores)


def test_figures_are_cocoeval_s_of_the_annotation_file(toy):
    settings = settings_of(toy)
    data = open_data(settings)
    evaluator = InstanceEvaluator(data.class_names)
    rng = np.random.default_rng(0)
    for batch in validation_batches(data.val, settings):
        found = []
        for about, rows in zip(batch.target["image"], batch.target["annotations"], strict=True):
            height, width = about["height"], about["width"]
            boxes = [r["bbox"] for r in rows][:3]
            masks = np.zeros((len(boxes), height, width))
            for mask, (x, y, w, h) in zip(masks, boxes, strict=True):
                mask[round(y) : round(y + h), round(x) : round(x + w)] = 1
            labels = rng.integers(0, 3, len(boxes))
            found.append(
                FoundObjects(labels, rng.random(len(boxes)), masks, 0.5, boxes_of(masks > 0))
            )
        evaluator.update(batch, found)
    scores = evaluator.compute()
    source = data.val.source
    results = [
        row | {"category_id": source.category_ids[row["category_id"]]} for row in evaluator.results
    ]
    file = toy / "annotations" / "instances_val2017.json"
    expected = mask_average_precision(file, results)
    given = [scores[name] for name in ("ap", "ap50", "ap75", "ap_small", "ap_medium")]
    np.testing.assert_allclose(given, expected[:5], rtol=1e-12)
    assert 0 < scores["ap50"] < 1
    boxes = average_precision(file, results, "bbox")
    assert scores["box_ap"] == pytest.approx(boxes.figures[0], rel=1e-12)
    named = {source.class_of[key]: value for key, value in boxes.by_category.items()}
    assert list(scores["box_ap_by_class"].values()) == [named[k] for k in range(3)]


def test_nothing_found_is_0_and_nothing_there_is_no_score():
    evaluator = InstanceEvaluator(("a", "b"))
    about = {"id": 1, "height": 8, "width": 8, "seen": [8, 8], "padded": [8, 8]}
    nothing = FoundObjects(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2, 2)), 0.5)
    target = {"image": [about], "annotations": [[]]}
    evaluator.update(Batch(np.zeros((1, 3, 8, 8), np.float32), target), [nothing])
    assert math.isnan(evaluator.compute()["ap"])
    row = {"category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0, "area": None}
    row["segmentation"] = [[1, 1, 5, 1, 5, 5, 1, 5]]
    evaluator.annotations.append({**row, "area": 16, "image_id": 1})
    assert evaluator.compute()["ap"] == 0
    with pytest.raises(DataError, match="give a data set of instances"):
        evaluator.update(Batch(np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 8, 8))), [nothing])


def solo_outputs(seed=0):
    rng = np.random.default_rng(seed)
    masks = [rng.random((s * s, 8, 16)) for s in (4, 2)]
    return masks, [rng.random((3, s, s)) for s in (4, 2)]


OPTIONS = {"score_thr": 0.4, "mask_thr": 0.5, "filter_thr": 0.05, "nms_pre": 30, "max_per_img": 9}
OPTIONS |= {"kernel": "gaussian", "sigma": 2.0, "strides": (4, 8)}


def test_cells_of_solo_are_read_as_one_list():
    masks, classes = solo_outputs()
    found = POST["solo"]([masks, classes], **OPTIONS)
    scores = np.concatenate([level.reshape(3, -1).T for level in classes])
    shapes = {"num_grids": (4, 2), "image_shape": (30, 60), "original_shape": (45, 90)}
    expected = solo_instances(scores, np.concatenate(masks), **shapes, **OPTIONS)
    at = found.at((30, 60), (45, 90))
    assert len(at.labels) > 3
    for name in ("scores", "labels", "masks"):
        np.testing.assert_array_equal(getattr(at, name), expected[name])


def test_solov2_lays_the_kernels_of_the_cells_that_score_on_the_features():
    rng = np.random.default_rng(1)
    kernels = [rng.standard_normal((5, s, s)) for s in (4, 2)]
    classes = [rng.standard_normal((3, s, s)) for s in (4, 2)]
    features = rng.standard_normal((5, 8, 16))
    found = POST["solo"]([kernels, classes, features], **OPTIONS)
    masks, scores = [], []
    for kernel, level in zip(kernels, classes, strict=True):
        size = kernel.shape[1]
        raw = np.einsum("eij,ehw->ijhw", kernel, features).reshape(-1, 8, 16)
        masks.append(1 / (1 + np.exp(-raw)))
        probable = 1 / (1 + np.exp(-level))
        for y in range(size):
            for x in range(size):
                around = probable[:, max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1]
                scores.append(probable[:, y, x] * (around.max((1, 2)) == probable[:, y, x]))
    shapes = {"num_grids": (4, 2), "image_shape": (32, 64), "original_shape": (32, 64)}
    expected = solo_instances(np.array(scores), np.concatenate(masks), **shapes, **OPTIONS)
    at = found.at((32, 64), (32, 64))
    assert len(at.labels) > 3
    np.testing.assert_allclose(at.scores, expected["scores"], rtol=1e-12)
    np.testing.assert_array_equal(at.labels, expected["labels"])
    np.testing.assert_array_equal(at.masks, expected["masks"])


def test_detections_of_a_box_head_lose_the_background_and_the_padding():
    masks = np.zeros((1, 1, 32, 64))
    masks[0, 0, 4:8, 10:30] = 0.7
    outputs = {"boxes": np.array([[10.0, 4, 30, 8]]), "labels": np.array([3])}
    outputs |= {"scores": np.array([0.9]), "masks": masks}
    found = POST["objects"](outputs, mask_thr=0.5).at((20, 40), (40, 80))
    assert found.labels.tolist() == [2]
    np.testing.assert_array_equal(found.boxes, [[20, 8, 60, 16]])
    assert found.masks.shape == (1, 40, 80)
    assert found.masks[0, 9:15, 21:59].all()
    with pytest.raises(DataError, match="expected boxes, labels"):
        POST["objects"]([masks], mask_thr=0.5)
    with pytest.raises(DataError, match=r"got 1 outputs; is evaluate\.post"):
        POST["solo"]([masks], **OPTIONS)
    with pytest.raises(DataError, match="the net has 2 levels"):
        POST["solo"](list(solo_outputs()), **OPTIONS | {"strides": (4,)})


def test_boxes_end_behind_the_pixels_of_their_masks():
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 2:4, 1:6] = True
    np.testing.assert_array_equal(boxes_of(masks), [[1, 2, 6, 4], [0, 0, 0, 0]])
    assert PhotoObjects._fields == ("boxes", "labels", "scores", "masks")


def test_settings_know_every_row_and_refuse_what_does_not_belong_together(toy):
    from typing import get_args

    def names(union):
        kinds = get_args(get_args(union)[0])
        found = {n for kind in kinds for n in get_args(kind.model_fields["name"].annotation)}
        return {name for name in found if task_of(name) == "instances"}

    assert names(AnyTarget) == set(TEACH)
    assert names(AnyPost) == set(POST)
    wrong = [
        (["data.dataset=coco_panoptic", "data.names=null"], "has no objects|dataset"),
        (["model.options.num_grids=[12,10,8,6,5]"], r"target\.num_grids .* set both to one"),
        (["evaluate.post.name=objects"], "read by solo|post"),
        (["evaluate.flip=true"], "average probabilities"),
        (["data.names=[a,a]"], "a name twice"),
        (["data.scale=0.5"], r"data\.scale is of labels"),
    ]
    for given, words in wrong:
        with pytest.raises(ConfigError, match=words):
            settings_of(toy, "solo_r50_fpn_toy", *given)
    with pytest.raises(ConfigError, match="set coco, whose labels"):
        load_settings(
            CONFIGS / "unet_toy.yml",
            ["data.dataset=coco_instances", "data.augmentation={name: instances}", "data.scale=1"],
        )
