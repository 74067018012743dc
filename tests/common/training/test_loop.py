"""The loop with a side of NumPy: order, stopping, resuming, damage, bad input."""

import hashlib
import json
import os
import signal
from itertools import chain

import numpy as np
import pytest
from safetensors.numpy import load, save

from common.data.toy import write_toy_cityscapes
from common.errors import ConfigError, DataError, UserError
from common.files import sha256_of, whole_folder
from common.locks import LOCK, only_run_in
from common.schedules import PlateauState, plateau
from common.settings.load import load_settings
from common.training import CheckpointError, Diverged, loop
from common.training.feed import open_data, training_batches
from common.training.logs import RunLog, read_log
from common.training.resume import (
    Position,
    list_checkpoints,
    read_resume_point,
    write_checkpoint,
)
from tests.common.training.numpy_side import BASE, CONFIG, Listener, NumpySide, log_of


def newest(outcome):
    return list_checkpoints(outcome.folder / "checkpoints")[0]


def test_the_rate_of_step_0_is_the_first_one_used(go):
    outcome, side = go()
    rates = [1e-5, 1e-4, 1e-3, 1e-2]  # geometric, base_lr reached at step 3 = warmup_steps
    assert side.rates[:4] == pytest.approx(rates)
    assert side.rates[4:] == pytest.approx([0.01 * (1 - k / 4) ** 0.9 for k in (1, 2, 3)])
    rows = [row for row in read_log(outcome.folder / "log.jsonl") if "lr" in row]
    assert [row["iteration"] for row in rows] == [3, 6, 7]
    assert [row["lr"] for row in rows] == [side.rates[2], side.rates[5], side.rates[6]]


@pytest.mark.parametrize("stop", range(7))
def test_stopped_anywhere_and_resumed_is_the_same_run(go, stop):
    whole, side = go("whole")
    cut, _ = go("cut", NumpySide(stop_in_step=stop))
    assert cut.stopped_by == signal.SIGTERM
    assert cut.iteration == stop + 1  # the step that the signal came in is finished
    assert read_resume_point(cut.checkpoint).position.iteration == stop + 1
    resumed = NumpySide()
    rest, _ = go("cut", resumed, resume="auto")
    assert rest.stopped_by is None
    assert np.array_equal(resumed.weights, side.weights)
    assert np.array_equal(resumed.velocity, side.velocity)
    assert resumed.batches == side.batches[stop + 1 :]
    assert log_of(rest) == log_of(whole)
    assert rest.best == whole.best


def test_a_validation_that_was_stopped_is_made_up_for(go):
    whole, _ = go("whole")
    # Two resumptions end in the validation of iteration 3; its line stands once all the same.
    go("cut", NumpySide(stop_in_validation=True))
    go("cut", NumpySide(stop_in_validation=True), resume="auto")
    rest, _ = go("cut", resume="auto")
    assert log_of(rest) == log_of(whole)


@pytest.mark.parametrize("resume", [None, "auto"])
def test_a_second_run_is_told_who_writes_in_the_folder(go, tmp_path, resume):
    with (
        only_run_in(tmp_path / "run"),
        pytest.raises(UserError, match=rf"run: another run writes there \(process {os.getpid()}"),
    ):
        go("run", resume=resume)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    assert go("run", resume=resume)[0].iteration == 7  # it is free again


def test_a_run_that_began_meanwhile_is_not_written_over(go, monkeypatch):
    whole, _ = go("run")
    answers = iter([[]])  # none yet, when the second one looks for the first time
    real = loop.list_checkpoints
    monkeypatch.setattr(loop, "list_checkpoints", lambda folder: next(answers, real(folder)))
    monkeypatch.setattr(loop, "read_log", lambda path: [])
    with pytest.raises(UserError, match="holds a run already"):
        go("run")
    assert log_of(whole)


def test_lines_after_the_checkpoint_are_cut_off(go, tmp_path):
    whole, _ = go("whole")
    cut, _ = go("cut", NumpySide(stop_in_step=3))
    with (cut.folder / "log.jsonl").open("a") as file:
        file.write('{"iteration": 5, "lr": 1}\n{"iteration": 4, "mean_iou": 1}\n{"iterat')
    assert log_of(go("cut", resume="auto")[0]) == log_of(whole)


HARMS = ("cut", "flip", "no manifest", "edit", "no arrays", "folder", "fewer", "no object")


SAID = {
    "no manifest": "holds no checkpoint.json",
    "folder": "state.safetensors: is a folder, not a file",
    "fewer": "state.safetensors: holds 0 of 1 arrays of 'velocity'",
    "no object": "damaged: ValueError: it is nested too deeply",
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_newest_checkpoint_is_named_and_passed_over(go, harm):
    whole, side = go("whole")
    cut, _ = go("cut", NumpySide(stop_in_step=4))
    path = newest(cut)
    arrays, manifest = path / "state.safetensors", path / "checkpoint.json"
    content = arrays.read_bytes()
    if harm == "cut":
        arrays.write_bytes(content[:-5])
    elif harm == "flip":
        arrays.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif harm == "no manifest":
        manifest.unlink()
    elif harm in ("no arrays", "folder"):
        arrays.unlink()
        if harm == "folder":
            arrays.mkdir()
    elif harm == "fewer":
        arrays.write_bytes(save({"weights": load(content)["weights"]}))
        told = {"bytes": arrays.stat().st_size, "sha256": sha256_of(arrays)}
        resealed(path, lambda m: m["arrays"].update(told))
    elif harm == "no object":
        manifest.write_text("[" * 99999)
    else:
        manifest.write_text(manifest.read_text().replace('"iteration": 5', '"iteration": 6'))
    listener, resumed = Listener(), NumpySide()
    rest, _ = go("cut", resumed, resume="auto", reporter=listener)
    said = " ".join(listener.messages)
    assert f"{path}: " in said
    assert SAID.get(harm, "damaged: ") in said
    assert "taking iteration_00000004 instead" in said
    assert np.array_equal(resumed.weights, side.weights)
    assert log_of(rest) == log_of(whole)


def test_no_sound_checkpoint_is_an_error_and_not_a_new_run(go):
    cut, _ = go("cut", NumpySide(stop_in_step=2))
    for path in list_checkpoints(cut.folder / "checkpoints"):
        (path / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="iteration_00000003"):
        go("cut", resume="auto")


def resealed(path, change):
    """Write a manifest anew, with a check sum that holds."""
    file = path / "checkpoint.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    del manifest["sha256"]
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps({**manifest, "sha256": seal}))


LIES = {
    "another": lambda m: m["position"].update(iteration=4),
    "text": lambda m: m["position"].update(iteration="five"),
    "negative": lambda m: m["position"].update(counted=-1),
    "later": lambda m: m["position"].update(validated=9),
    "no score": lambda m: m["position"].update(best={"mean_iou": None, "iteration": 3}),
    "future": lambda m: m["position"].update(best={"mean_iou": 1.0, "iteration": 30}),
    "sums": lambda m: m["position"].update(sums={"loss": "high"}),
    "early": lambda m: m["position"].update(early=[1]),
    "plateau": lambda m: m["position"].update(plateau={"bad": None}),
    "list": lambda m: m.update(position=[]),
    "counts": lambda m: m["arrays"].update(held=None),
    "more": lambda m: m.update(code="x"),
    "settings": lambda m: m.update(settings=None),
    "arrays": lambda m: m.update(arrays=[]),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_checkpoint_that_was_sealed_again_does_not_lie(go, lie):
    cut, _ = go("cut", NumpySide(stop_in_step=4))
    resealed(newest(cut), LIES[lie])
    with pytest.raises(CheckpointError, match=r"iteration_00000005: damaged"):
        read_resume_point(newest(cut))


def test_a_checkpoint_of_a_longer_run_or_of_another_net_is_refused(go):
    cut, _ = go("cut", NumpySide(stop_in_step=4))
    other = newest(cut).rename(cut.folder / "copy")
    resealed(other, lambda m: m["position"].update(iteration=8))
    with pytest.raises(CheckpointError, match="stands at iteration 8 of a run of 7"):
        go("cut", resume=str(other))

    class Other(NumpySide):
        def load_state(self, state):
            return state["bias"]

    with pytest.raises(CheckpointError, match="arrays are not those of this run: KeyError"):
        go("cut", Other(), resume="auto")


def test_lines_that_are_none_do_not_stop_a_run_and_are_kept_aside(go):
    whole, _ = go("whole")
    cut, _ = go("cut", NumpySide(stop_in_step=4))
    log = cut.folder / "log.jsonl"
    edited = b'[1]\n{"lr": 1}\n\xff\n{"iteration": "3"}\n' + b"[" * 9999 + b"\n" + log.read_bytes()
    log.write_bytes(edited)
    listener = Listener()
    assert log_of(go("cut", resume="auto", reporter=listener)[0]) == log_of(whole)
    assert (cut.folder / "log.damaged.jsonl").read_bytes() == edited
    assert any("5 lines are none of a log" in text for text in listener.messages)


def test_drafts_of_a_killed_run_are_swept_with_a_word_but_not_a_living_ones(go):
    cut, _ = go("cut", NumpySide(stop_in_step=4))
    newest(cut).rename(cut.folder / "checkpoints" / ".iteration_00000005.old.part")
    drafts = [cut.folder / ".best.npy.1.part", cut.folder / "checkpoints" / ".iteration_1.2.part"]
    drafts[0].write_text("half")
    drafts[1].mkdir()
    with only_run_in(cut.folder), pytest.raises(UserError, match="another run writes there"):
        go("cut", resume="auto")
    assert all(draft.exists() for draft in drafts)
    listener = Listener()
    _, side = go("cut", resume="auto", reporter=listener)
    assert len(side.batches) == 2  # killed while it was replaced: it is back
    assert not any(draft.exists() for draft in drafts)
    assert any(f"{drafts[0]}, {drafts[1]}" in text for text in listener.messages)


def test_resuming_an_older_checkpoint_takes_the_later_ones_away(go):
    whole, side = go("whole")
    older = whole.folder / "checkpoints" / "iteration_00000004"
    listener, resumed = Listener(), NumpySide()
    rest, _ = go("whole", resumed, resume=str(older), overrides=["train.keep=1"], reporter=listener)
    assert np.array_equal(resumed.weights, side.weights)
    assert any("iteration_00000007" in text for text in listener.messages)
    assert [path.name for path in list_checkpoints(rest.folder / "checkpoints")] == [
        "iteration_00000007"
    ]


@pytest.mark.parametrize(
    ("override", "key"),
    [("schedule.base_lr=0.02", "schedule.base_lr"), ("seed=3", "seed"), ("data.cards=2", "cards")],
)
def test_a_changed_setting_that_matters_is_refused_by_name(go, override, key):
    go("cut", NumpySide(stop_in_step=2))
    with pytest.raises(ConfigError, match=key):
        go("cut", resume="auto", overrides=[override])


def test_settings_that_no_weight_depends_on_may_change(go):
    _, side = go("whole")
    go("cut", NumpySide(stop_in_step=2))
    resumed = NumpySide()
    go("cut", resumed, resume="auto", overrides=["data.workers=2", "train.log_interval=1"])
    assert np.array_equal(resumed.weights, side.weights)


def test_other_data_are_refused(go, tmp_path):
    go("cut", NumpySide(stop_in_step=2))
    write_toy_cityscapes(tmp_path / "other", train=5, val=3, size_hw=(64, 128))
    with pytest.raises(ConfigError, match=r"data\.root"):
        go("cut", resume="auto", overrides=[f"data.root={tmp_path / 'other'}"])


def test_nan_stops_with_exit_1_and_is_not_saved(go, tmp_path):
    with pytest.raises(Diverged, match="iteration 4") as caught:
        go("run", NumpySide(nan_in_step=3))
    assert caught.value.exit_code == 1
    names = [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")]
    assert names == ["iteration_00000002"]
    assert "iteration_00000002" in str(caught.value)


def test_a_run_is_not_begun_over_another(go):
    go("run", NumpySide(stop_in_step=1))
    with pytest.raises(UserError, match="--resume auto"):
        go("run")


def test_nothing_is_written_where_nothing_can_be_trained(go, tmp_path):
    for override, error in (
        ("data.root=nowhere", DataError),
        ("data.batch_size=30", ConfigError),
        ("model.num_classes=5", ConfigError),
    ):
        with pytest.raises(error):
            go("run", overrides=[override])
        assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match="no such file"):
        go("run", resume="nowhere")
    assert not (tmp_path / "run").exists()


def test_fewer_cards_than_the_recipe_are_announced(go):
    listener = Listener()
    _, side = go(overrides=["data.cards=2", "train.iterations=4"], reporter=listener)
    assert [len(micro) for micro in side.batches] == [2, 2, 2, 2]
    said = " ".join(listener.notes)
    assert "2 micro-batches of 2" in said
    assert "BatchNorms of processes.sync_norm see 2 images at a time, not 4" in said
    assert "statistics move 2 times an iteration, not 1" in said


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(toy, workers):
    def read(count):
        overrides = [*BASE, f"data.root={toy}", f"data.workers={count}", "data.cards=2"]
        settings = load_settings(CONFIG, [*overrides, "data.batch_size=3"])
        batches = training_batches(open_data(settings).train, settings, start=1)
        return [next(batches) for _ in range(4)]

    for micro, alone in zip(read(workers), read(0), strict=True):
        assert len(micro) == len(alone) == 2
        for one, other in zip(micro, alone, strict=True):
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.label, other.label)


def test_an_unreadable_image_is_named_by_every_number_of_workers(toy, tmp_path, go):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(toy, broken)
    image = next((broken / "leftImg8bit" / "train").glob("*/*.png"))
    image.write_bytes(image.read_bytes()[:200])
    for workers in (0, 2):
        with pytest.raises(DataError, match=image.name):
            go(f"run{workers}", overrides=[f"data.root={broken}", f"data.workers={workers}"])


def test_a_folder_is_whole_or_absent(tmp_path):
    def write():
        with whole_folder(tmp_path / "a") as draft:
            (draft / "x").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_files_are_written_without_torch(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from common.training.logs import RunLog\n"
        f"log = RunLog(Path({str(tmp_path)!r}), 0, -1)\n"
        "log.losses({'iteration': 1, 'lr': 0.5, 'loss': 2.0}, {'step_s': 0.1})\n"
        "log.close(); assert 'torch' not in sys.modules and 'paddle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CONFIG.parent.parent)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "iteration": 1,
        "lr": 0.5,
        "loss": 2.0,
    }


def test_nan_is_null_in_the_log(tmp_path):
    log = RunLog(tmp_path, 0, -1)
    nan = float("nan")
    log.validation(
        {"iteration": 1, "mean_iou": nan, "pixel_accuracy": 0.5, "iou": {"bus": nan, "car": 0.5}}
    )
    log.close()
    (row,) = read_log(tmp_path / "log.jsonl")
    assert (row["mean_iou"], row["iou"]) == (None, {"bus": None, "car": 0.5})


PLATEAU = ("schedule={name: plateau, base_lr: 0.01, patience: 0}", "train.eval_interval=1")


def test_iter_size_joins_batches_and_resumes(go):
    overrides = ["data.iter_size=2", "train.iterations=4"]
    side = go("whole", overrides=overrides)[1]
    assert all(len(batches) == 2 for batches in side.batches)
    plain = go("plain", overrides=["train.iterations=8"])[1].batches
    assert list(chain(*side.batches)) == list(chain(*plain))
    go("cut", NumpySide(stop_in_step=1), overrides=overrides)
    resumed = go("cut", resume="auto", overrides=overrides)[1]
    assert resumed.batches == side.batches[2:]


@pytest.mark.parametrize("stop", [1, 2, 4, 5])
def test_a_resumed_plateau_knows_the_validations_before(go, stop):
    base = [line for line in BASE if not line.startswith("schedule")]

    class Same(NumpySide):
        def predict(self, image, options):  # never better than the first time
            return np.zeros((len(image), *image.shape[2:]), np.int64)

    def run(folder, side, **options):
        return go(folder, side, overrides=PLATEAU, base=base, **options)

    outcome, side = run("whole", Same())
    assert side.rates == pytest.approx([0.01, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
    before = run("cut", Same(stop_in_step=stop))[1]
    again, after = run("cut", Same(), resume="auto")
    assert before.rates + after.rates == side.rates
    assert log_of(again) == log_of(outcome)


class Guess(NumpySide):
    """Says another class at every validation, everywhere."""

    guesses = (13, 0, 2, 0, 0, 2)
    before = 0  # steps of the process that was stopped

    def predict(self, image, options):
        guess = self.guesses[self.before + len(self.rates) - 1]
        return np.full((len(image), *image.shape[2:]), guess, np.int64)


def rates_of(rows, score):
    """What ReduceLROnPlateau makes of a column of the log."""
    seen, rates = PlateauState(), [0.01]
    for row in rows:
        seen.see(row[score], base_lr=0.01, factor=0.1, patience=0)
        rates.append(plateau(seen.reductions, base_lr=0.01, factor=0.1))
    return rates[:-1]


@pytest.mark.parametrize("follows", ["mean_iou", "dice"])
def test_a_plateau_follows_the_score_that_it_is_told_to(go, follows):
    base = [line for line in BASE if not line.startswith("schedule")]
    schedule = PLATEAU[0].replace("}", f", follows: {follows}}}")
    overrides = (schedule, "train.eval_interval=1", "train.iterations=6")

    def run(folder, side, **options):
        return go(folder, side, overrides=overrides, base=base, **options)

    outcome, side = run("whole", Guess())
    rows = [row for row in read_log(outcome.folder / "log.jsonl") if "mean_iou" in row]
    assert all(("dice" in row) == (follows == "dice") for row in rows)
    assert side.rates == rates_of(rows, follows)
    if follows == "dice":
        assert side.rates != rates_of(rows, "mean_iou")
    before = run("cut", Guess(stop_in_step=2))[1]
    rest = Guess()
    rest.before = 3
    again = run("cut", rest, resume="auto")[0]
    assert before.rates + rest.rates == side.rates
    assert log_of(again) == log_of(outcome)


def test_arrays_of_a_checkpoint_keep_their_shape_and_order(tmp_path):
    arrays = {
        "num_batches_tracked": np.array(3, np.int64),
        "weight": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 2), np.float32),
    }
    about = {"framework": "numpy", "settings": {}, "data": "", "keep": 1}
    found = read_resume_point(write_checkpoint(tmp_path, Position(), arrays, **about)).arrays
    for key, array in arrays.items():
        assert (found[key].shape, found[key].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(found[key], array)
