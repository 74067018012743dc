"""Curves and pictures of a run, read by the viewers' own readers."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from common.data import Batch
from common.data.toy import write_toy_cityscapes
from common.data.transforms.images import Normalisation
from common.errors import UserError
from common.evaluation.gallery import GAP, Gallery
from common.evaluation.tasks import paint_of
from common.settings.load import load_settings
from common.settings.run import Evaluate, Log
from common.training import train
from common.training.feed import open_data
from common.training.logs import RunLog
from tests.common.training.numpy_side import NumpySide
from tests.paths import CONFIGS

TAG = "validation/photo_label_prediction"
COLORS = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
PAINT = paint_of(load_settings(CONFIGS / "unet_toy.yml"), COLORS)
NAN = float("nan")


def tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def write(folder, log=None, start=0, last=3, picture=None):
    """Write lines of iterations after `start`, and a validation in which a class is absent."""
    written = RunLog(folder, start, start or -1, log)
    for iteration in range(start + 1, last + 1):
        row = {"iteration": iteration, "lr": 0.5, "loss": 2.0 / iteration}
        written.losses(row, {"step_s": 0.1})
    written.validation({"iteration": last, "mean_iou": 0.25, "iou": {"bus": NAN, "a car": 0.5}})
    written.picture(last, picture)
    written.close()


def test_tensorboards_own_reader_finds_curves_and_the_picture(tmp_path, logged, capsys):
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    write(tmp_path, picture=picture)
    assert logged == []  # no warning of the absent class
    assert capsys.readouterr() == ("", "")
    events = tensorboard(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [
        (1, 2.0),
        (2, 1.0),
        (3, pytest.approx(2 / 3)),
    ]
    assert [e.value for e in events.Scalars("iou/a_car")] == [0.5]
    assert "iou/bus" not in events.Tags()["scalars"]
    (shown,) = events.Images(TAG)
    assert shown.step == 3
    read = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    assert np.array_equal(read, picture)


def test_a_resumed_run_hides_what_came_later_before(tmp_path):
    write(tmp_path, last=4)
    write(tmp_path, start=2, last=3)
    assert [e.step for e in tensorboard(tmp_path).Scalars("train/loss")] == [1, 2, 3]


def test_what_is_off_is_not_written(tmp_path):
    write(tmp_path, Log(tensorboard=False), picture=np.zeros((2, 2, 3), np.uint8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "speed.jsonl"]


def test_visualdl_is_written_beside_it(tmp_path, monkeypatch):
    """By a stand-in here: the package is an extra; `calls` are what its documentation names."""
    calls = []

    class LogWriter:
        def __init__(self, logdir):
            calls.append(("open", logdir))

        def __getattr__(self, name):
            return lambda **given: calls.append((name, given))

    monkeypatch.setitem(sys.modules, "visualdl", type("visualdl", (), {"LogWriter": LogWriter}))
    picture = np.zeros((2, 2, 3), np.uint8)
    write(tmp_path, Log(visualdl=True), last=1, picture=picture)
    assert (tmp_path / "tensorboard").is_dir()
    assert calls[0] == ("open", str(tmp_path / "visualdl"))
    assert ("add_scalar", {"tag": "train/loss", "value": 2.0, "step": 1}) in calls
    assert ("add_image", {"tag": TAG, "img": picture, "step": 1}) in calls
    assert calls[-1] == ("close", {})
    calls.clear()
    write(tmp_path, Log(visualdl=True), start=1, last=2)
    assert calls[0] == ("open", str(tmp_path / "visualdl" / "from_1"))


def test_visualdls_own_reader_finds_them(tmp_path):
    visualdl = pytest.importorskip("visualdl")
    write(tmp_path, Log(visualdl=True), picture=np.zeros((4, 4, 3), np.uint8))
    (file,) = (tmp_path / "visualdl").iterdir()
    reader = visualdl.LogReader(file_path=str(file))
    points = reader.get_data("scalar", "train/loss")
    assert [(point.id, point.value) for point in points][:2] == [(1, 2.0), (2, 1.0)]
    assert "iou/bus" not in reader.get_tags()["scalar"]
    assert reader.get_tags()["image"] == [TAG]


@pytest.mark.parametrize("key", ["tensorboard", "visualdl"])
def test_a_writer_that_is_not_installed_is_told_with_its_command(tmp_path, monkeypatch, key):
    package = {"tensorboard": "tensorboardX", "visualdl": "visualdl"}[key]
    monkeypatch.setitem(sys.modules, package, None)
    log = Log(tensorboard=key == "tensorboard", visualdl=key == "visualdl")
    with pytest.raises(UserError, match=rf"log\.{key} is true.*: pip install {package.lower()}"):
        RunLog(tmp_path, 0, -1, log)


class Side:
    """Predicts class 1 throughout."""

    def predict(self, image, options):
        return np.ones((len(image), *image.shape[2:]), np.int64)


def batches(sizes, count=1):
    for number, (height, width) in enumerate(sizes):
        pixels = np.full((height, width, 3), 10 * (number + 1), np.uint8)
        image = np.stack([Normalisation()(pixels)] * count)
        yield Batch(image, np.full((count, height, width), 255, np.int64))


def watched(gallery, sizes, count=1):
    side, seen = gallery.watching(batches(sizes, count))
    for batch in seen:
        assert side.predict(batch.image, Evaluate()).shape == batch.label.shape
    return gallery.picture()


def test_the_picture_has_photo_label_and_prediction_of_the_first_images():
    gallery = Gallery(Side(), 2, Normalisation(), PAINT)
    picture = watched(gallery, [(4, 6), (3, 5), (9, 9)])
    assert picture.shape == (4 + GAP + 3, 3 * 6 + 2 * GAP, 3)
    first = picture[:4]
    assert (first[:, :6] == 10).all()
    assert (first[:, 6 + GAP : 12 + GAP] == COLORS[255]).all()
    assert (first[:, 12 + 2 * GAP :] == COLORS[1]).all()
    assert (picture[4 + GAP :, :5] == 20).all()
    assert (first[:, 6 : 6 + GAP] == 255).all()
    again = watched(gallery, [(4, 6)], count=3)  # a later validation begins anew
    assert again.shape == (4 + GAP + 4, 3 * 6 + 2 * GAP, 3)


def test_large_images_are_made_smaller_and_none_are_kept_of_none():
    picture = watched(Gallery(Side(), 1, Normalisation(), PAINT), [(300, 1200)])
    assert picture.shape == (100, 3 * 400 + 2 * GAP, 3)
    nothing = Gallery(Side(), 0, Normalisation(), PAINT)
    assert nothing.watching(iter(()))[0] is nothing.side
    assert nothing.picture() is None


def test_keys_of_the_log_may_change_when_a_run_is_resumed():
    from common.training.resume import FREE_KEYS

    settings = load_settings(CONFIGS / "stdc1_toy.yml", ["log.visualdl=true", "log.images=0"])
    assert settings.log == Log(visualdl=True, images=0)
    assert "log" in FREE_KEYS


def test_a_run_leaves_the_pictures_of_its_validations(tmp_path):
    write_toy_cityscapes(tmp_path / "toy", train=4, val=3, size_hw=(32, 64))
    given = ["data.crop_hw=[16,32]", "data.batch_size=2", "train.iterations=2", "data.workers=0"]
    given += [f"data.root={tmp_path / 'toy'}", f"output={tmp_path / 'run'}", "log.images=2"]
    given += ["train.eval_interval=1", "schedule.warmup_steps=1"]
    settings = load_settings(CONFIGS / "stdc1_toy.yml", given)
    train(settings, NumpySide(), open_data(settings))
    pictures = tensorboard(tmp_path / "run").Images(TAG)
    assert [picture.step for picture in pictures] == [1, 2]
    height, width = (settings.data.scale * side for side in (32, 64))
    assert pictures[0].height == 2 * height + GAP
    assert pictures[0].width == 3 * width + 2 * GAP
