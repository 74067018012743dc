"""The loop on several processes: the same run whatever their number, and one end for all."""

import json
import shutil
from functools import cache

import numpy as np
import pytest

from common.data.toy import write_toy_cityscapes
from common.errors import ConfigError, DataError
from common.evaluation.semantic import SemanticEvaluator
from common.processes.group import ALONE, EndedElsewhereError
from common.processes.stop import StopRequest
from common.settings.load import load_settings
from common.training import CheckpointError, Diverged, Reporter, loop, train
from common.training.faults.saved_step import read_step
from common.training.feed import open_data, own_share
from common.training.notes import differences
from tests.common.processes.threads import together
from tests.common.training.numpy_side import NumpySide
from tests.paths import ROOT

CONFIG = ROOT / "configs" / "unet_toy.yml"
# Six micro-batches an iteration.
BASE = [
    "data.crop_hw=[32,64]",
    "data.batch_size=1",
    "data.cards=3",
    "data.iter_size=2",
    "train.iterations=4",
    "train.log_interval=1",
    "train.eval_interval=2",
    "train.checkpoint_interval=2",
    "evaluate.batch_size=1",
    "data.scale=1.0",
    "schedule.base_lr=0.01",
]


class Side(NumpySide):
    """A net of four numbers; what a step adds to them is exact in any order."""

    stop_in_validation = False

    def __init__(self, group, **faults):
        self.group, self.faults, self.steps = group, faults, 0
        self.weights = np.zeros(4) + group.rank  # until those of the first are taken

    def step(self, batches, lr):
        total = np.zeros(4)
        for batch in batches:
            drawn = np.random.default_rng(self.own_seed).random()
            total += np.round(np.append(batch.image.mean((0, 2, 3)), drawn) * 2**20)
        count = len(batches) * self.group.size
        self.weights = self.weights - lr * self.group.add(total) / count / 2**20
        self.steps += 1
        if self.steps == self.faults.get("stop_in"):
            self.group.stop._note(15, None)
        if self.steps == self.faults.get("part_in"):
            self.weights = self.weights + 1e-9
        bad = self.steps == self.faults.get("nan_in")
        return {"loss": float("nan") if bad else float(self.weights.sum())}

    def predict(self, image, options):
        if self.faults.get("stop_in_validation"):
            self.group.stop._note(15, None)
        if self.faults.get("bad_validation"):
            raise DataError("a frame")
        return super().predict(image, options)

    def state(self):
        return {"weights": self.weights.copy()}

    def load_state(self, state):
        self.weights = state["weights"].copy()


class InOrder:
    """An evaluator that does not add up: what it says depends on the order of the frames."""

    def __init__(self, data):
        self.inner = SemanticEvaluator(data.class_names, absent="skip", dice=True)

    def reset(self):
        self.inner.reset()
        self.score = 1.0

    def update(self, batch, prediction):
        self.inner.update(batch, prediction)
        self.score = self.score / 3 + float((prediction == batch.label).mean())

    def compute(self):
        return {**self.inner.compute(), "metric": self.score}


class Told(Reporter):
    def __init__(self):
        self.notes, self.block = [], {}

    def start(self, settings, notes, total):
        self.notes, self.block = notes, dict(settings)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=6, val=5, size_hw=(64, 128))
    return folder


@pytest.fixture(autouse=True)
def known_stops(monkeypatch):
    """Threads get no signals: a side notes one in the request of its own process."""

    class Known(StopRequest):
        def __init__(self, group):
            super().__init__(group)
            group.stop = self

    monkeypatch.setattr(loop, "StopRequest", Known)


@pytest.fixture
def go(toy, tmp_path):
    def run(folder, size, overrides=(), evaluator=None, resume=None, faults=None):
        paths = [f"data.root={toy}", f"output={tmp_path / folder}"]
        settings = load_settings(CONFIG, [*BASE, *paths, *overrides])

        def work(group):
            side = Side(group, **(faults or {}).get(group.rank, {}))
            data = open_data(settings)
            guides = {"evaluator": evaluator(data)} if evaluator else {}
            told = Told()

            def weights():
                side.weights = np.ones(4)
                return {"told": "weights"}

            guides |= {"resume": resume, "reporter": told, "initialise": weights}
            return train(settings, side, data, **guides), side, told

        return together(size, work) if size > 1 else [work(ALONE)]

    return run


@cache
def remains(folder):
    """What a run leaves, but for its times and its name."""
    last = folder / "checkpoints" / "iteration_00000004" / "state.safetensors"
    names = ("log.jsonl", "best.npy", "best.json", "final.npy", "weights.account.json")
    return [(folder / name).read_bytes() for name in names] + [last.read_bytes()]


@pytest.mark.parametrize("evaluator", [None, InOrder], ids=["counts", "in order"])
@pytest.mark.parametrize("size", [2, 3, 6])
def test_the_same_run_on_any_number_of_processes(go, tmp_path, size, evaluator):
    """Of counts, and of the Dice scores that U-Net's plateau follows."""
    go("alone", 1, evaluator=evaluator)
    done = go("several", size, evaluator=evaluator)
    assert all(outcome == done[0][0] for outcome, _, _ in done)
    assert remains(tmp_path / "several") == remains(tmp_path / "alone")
    assert len({side.weights.tobytes() for _, side, _ in done}) == 1


@pytest.mark.parametrize("interval", [1, 2])
def test_a_run_goes_on_with_another_number_of_processes(go, tmp_path, interval):
    often = [f"train.checkpoint_interval={interval}", f"train.eval_interval={4 // interval}"]
    go("alone", 1, often)
    stopped = go("cut", 2, often, faults={1: {"stop_in": 1}})
    assert [outcome.stopped_by for outcome, _, _ in stopped] == [15, 15]
    assert {outcome.iteration for outcome, _, _ in stopped} == {2}
    go("cut", 3, often, resume="auto")
    assert remains(tmp_path / "cut")[0] == remains(tmp_path / "alone")[0]
    assert remains(tmp_path / "cut")[-1] == remains(tmp_path / "alone")[-1]


def test_a_signal_in_a_validation_stops_it_on_all(go, tmp_path):
    go("alone", 1)
    stopped = go("cut", 2, faults={1: {"stop_in_validation": True}})
    assert {outcome.iteration for outcome, _, _ in stopped} == {2}
    assert '"mean_iou"' not in (tmp_path / "cut" / "log.jsonl").read_text()
    go("cut", 2, resume="auto")
    assert remains(tmp_path / "cut")[0] == remains(tmp_path / "alone")[0]


def test_a_frame_that_one_process_cannot_take_ends_all(go):
    first, second = go("run", 2, faults={1: {"bad_validation": True}})
    assert isinstance(first, EndedElsewhereError)
    assert isinstance(second, DataError)


def test_a_loss_that_is_not_finite_ends_all_as_checked(go, tmp_path):
    """The step is saved with the batches of all, in the order that one process has them in."""
    faults = {"nan_in": 2}
    found = go("run", 2, faults={0: faults, 1: faults})
    assert [type(error) for error in found] == [Diverged, Diverged]
    with pytest.raises(Diverged):
        go("alone", 1, faults={0: faults})
    told, alone = (read_step(tmp_path / n / "nan" / "iteration_00000002") for n in ("run", "alone"))
    assert told.images == alone.images
    assert len(told.batches) == 6
    for ours, expected in zip(told.batches, alone.batches, strict=True):
        np.testing.assert_array_equal(ours.image, expected.image)
        np.testing.assert_array_equal(ours.label, expected.label)


def test_an_image_that_one_process_leaves_out_is_named_by_all(toy, go, tmp_path):
    data = tmp_path / "broken"
    shutil.copytree(toy, data)
    for image in sorted(data.glob("leftImg8bit/train/*/*.png"))[:2]:
        image.write_bytes(b"no image")
    overrides = [f"data.root={data}", "data.skip_broken=true"]
    go("alone", 1, overrides)
    go("several", 3, overrides)
    name = "broken_images.json"
    named = [json.loads((tmp_path / run / name).read_text()) for run in ("alone", "several")]
    assert len(named[0]) == 2
    assert named[0] == named[1]
    assert remains(tmp_path / "several") == remains(tmp_path / "alone")


def test_processes_that_part_are_not_saved(go, tmp_path):
    found = go("run", 2, faults={1: {"part_in": 1}})
    assert [type(error) for error in found] == [CheckpointError, CheckpointError]
    assert "process 1 and process 0 hold different weights (1 tensors" in str(found[0])
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_run_that_is_there_is_refused_by_all(go):
    go("run", 1)
    first, second = go("run", 2)
    assert "holds a run already" in str(first)
    assert isinstance(second, EndedElsewhereError)


def test_a_number_that_does_not_divide_is_refused_with_what_does(go):
    for error in go("run", 4):
        assert isinstance(error, ConfigError)
        assert "Numbers that fit: 1, 2, 3, 6" in str(error)
        assert "6 images of an iteration do not divide by 4" in str(error)
    settings = load_settings(CONFIG, [*BASE, "data.batch_size=4"])
    group = together(5, lambda group: group)[4]
    with pytest.raises(ConfigError, match="do not divide by 5"):
        own_share(settings, group)
    group = together(4, lambda group: group)[3]
    with pytest.raises(ConfigError, match=r"data.cards=4 data.iter_size=1 data.batch_size=6"):
        own_share(settings, group)


def test_what_differs_from_the_recipe_is_said(go):
    told = [told for _, _, told in go("two", 2)]
    assert "3 micro-batches of 1 are averaged to the same total of 6" in told[0].notes[0]
    assert "2 processes (threads)" in told[0].block["framework"]
    assert go("three", 3)[0][2].notes == []
    paper = load_settings(ROOT / "configs" / "stdc2.yml", [])
    said = " ".join(differences(paper))
    assert "3 micro-batches of 16 are averaged to the same total of 48" in said
    assert "sync_norm see 16 images at a time, not 48" in said
    assert "OHEM (at least 524,288 pixels) sees 16 images" in said
    assert differences(paper, 3) == []


def test_the_log_of_the_first_process_alone_is_written(go, tmp_path):
    go("run", 2)
    rows = [json.loads(row) for row in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 2, 3, 4, 4]
