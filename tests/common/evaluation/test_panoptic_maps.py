"""From targets over a net's maps to panoptic quality, files and pictures: an oracle scores well."""

import json

import numpy as np
import pytest

from commands.evaluate.panoptic import SavedSegments, table_of
from common.data.toy import write_toy_cityscapes
from common.documents import with_null
from common.errors import ConfigError, DataError, UserError
from common.evaluation.evaluate import evaluate
from common.evaluation.evaluator import build_evaluator
from common.evaluation.gallery import Gallery
from common.evaluation.protocol import ByProtocol
from common.evaluation.tasks import ask_of, paint_of
from common.panoptic.ids import read_ids
from common.panoptic.makers import TARGETS, TargetMaker
from common.panoptic.post import POST
from common.settings.load import load_settings
from common.settings.panoptic import AnyPost, AnyTarget
from common.training.feed import open_data, training_batches, validation_batches
from tests.paths import CONFIGS

CONFIG = CONFIGS / "panoptic_deeplab_r50_toy.yml"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=4, val=3, size_hw=(96, 192))
    return folder


@pytest.fixture
def settings(toy):
    small = ["data.scale=1.0", "data.crop_hw=[33,65]", "data.batch_size=2"]
    small += ["evaluate.batch_size=2"]
    return load_settings(CONFIG, [f"data.root={toy}", *small, "evaluate.post.stuff_area=0"])


class Oracle:
    """A net that returns what it would be taught of validation images, which come in order."""

    def __init__(self, settings, data):
        self.maker = TargetMaker("panoptic_deeplab", settings.data.things, settings.target.options)
        self.data, self.next, self.seen = data, 0, []

    def outputs(self, image):
        self.seen.append(image.shape)
        maps = [self._maps(image.shape[2:]) for _ in image]
        return [np.stack(one) for one in zip(*maps, strict=True)]

    def _maps(self, size_hw):
        _, truth = self.data.val.sample(0, self.next)
        self.next += 1
        taught = self.maker(truth["ids"], truth["segments"])
        logits = np.eye(256, dtype=np.float32)[taught["semantic"]].transpose(2, 0, 1)[:19]
        below, right = (a - b for a, b in zip(size_hw, logits.shape[1:], strict=True))
        maps = (logits, taught["center"], taught["offset"])
        return [np.pad(one, ((0, 0), (0, below), (0, right))) for one in maps]


def test_a_net_that_knows_its_targets_scores_and_its_files_score_the_same(settings, tmp_path):
    data = open_data(settings)
    oracle = Oracle(settings, data)
    scores = build_evaluator(settings, data.class_names, data.ignore_index)
    saved = SavedSegments(tmp_path / "out", data.val, settings)

    class Both:
        reset, compute = scores.reset, scores.compute

        def update(self, batch, prediction):
            scores.update(batch, prediction)
            saved.add(prediction)

    side = ByProtocol(oracle, ask_of(settings))
    batches = validation_batches(data.val, settings)
    found = evaluate(side, batches, Both(), options=settings.evaluate)
    assert oracle.seen == [(2, 3, 97, 193), (1, 3, 97, 193)]  # 32 k + 1
    assert found["pq"] > 0.8
    assert found["mean_iou"] == 1
    assert found["pq_stuff"] == 1

    path = saved.close()
    listed = json.loads(path.read_text())
    assert {row["id"] for row in listed["categories"] if row["isthing"]} == {*range(24, 34)} - {
        29,
        30,
    }
    assert [row["image_id"] for row in listed["annotations"]] == [
        frame.image_id for frame in data.val.source.frames
    ]
    things = 0
    for row in listed["annotations"]:
        ids = read_ids(path.with_suffix("") / row["file_name"])
        assert ids.shape == (96, 192)
        assert {info["id"] for info in row["segments_info"]} == {*np.unique(ids).tolist()} - {0}
        assert {info["category_id"] for info in row["segments_info"]} <= {*settings.data.categories}
        things += sum(info["category_id"] >= 24 for info in row["segments_info"])
    assert things > 3
    with pytest.raises(UserError, match=r"holds panoptic\.json already"):
        SavedSegments(tmp_path / "out", data.val, settings)

    told = json.loads(json.dumps(with_null(found), allow_nan=False))
    assert told["pq_by_class"]["road"] == 1
    assert table_of(told).row_count == 19 + 3


def test_a_validation_of_segments_is_drawn(settings):
    data = open_data(settings)
    side = ByProtocol(Oracle(settings, data), ask_of(settings))
    gallery = Gallery(side, 2, data.val.normalisation, paint_of(settings, data.colors))
    side, batches = gallery.watching(validation_batches(data.val, settings))
    for batch in batches:
        side.predict(batch.image, settings.evaluate)
    picture = gallery.picture()
    assert picture.shape == (2 * 96 + 4, 3 * 192 + 8, 3)
    truth, guess = picture[:96, 196:388], picture[:96, 392:584]
    assert (truth == guess).all(axis=2).mean() > 0.8  # but for what the truth calls void
    assert (truth == 255).all(axis=2).any()  # outlines


def test_training_batches_have_what_the_loss_is_given(settings):
    (batch,) = next(training_batches(open_data(settings).train, settings))
    assert batch.image.shape == (2, 3, 33, 65)
    assert batch.target["semantic"].shape == (2, 33, 65)
    assert batch.target["offset"].shape == (2, 2, 33, 65)
    assert len(batch.target["center_points"]) == 2
    with pytest.raises(DataError, match="its target is semantic, "):
        _ = batch.label


def test_tables_and_sections_have_the_same_rows():
    def names(union):
        from typing import get_args

        kinds = get_args(get_args(union)[0])
        return {name for kind in kinds for name in get_args(kind.model_fields["name"].annotation)}

    assert names(AnyTarget) >= {*TARGETS, "label"}
    assert names(AnyPost) >= {*POST, "argmax"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("target={name: label}", "target.name is label, and panoptic_deeplab_r50 is a net of pan"),
        ("evaluate.post={name: argmax}", "evaluate.post.name is argmax"),
        ("data.dataset=cityscapes", "data.dataset is cityscapes, which has no segments"),
        ("evaluate.flip=true", "has maps of segments: take them out"),
    ],
)
def test_what_a_panoptic_net_needs_is_asked_for(override, said):
    with pytest.raises(ConfigError) as caught:
        load_settings(CONFIG, [override])
    assert said in str(caught.value)
