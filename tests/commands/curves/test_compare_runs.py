"""compare_runs: four formats of logs, the band of seeds, and what it refuses."""

import json

import numpy as np
import pytest

from commands.curves.band import band_of_seeds, in_band
from commands.curves.logs import LOSS, MIOU, RATE, read_run
from common.errors import UnreadableError
from tests.nursery import run

PLACES = range(10, 401, 10)


def drawn_loss(seed, shift=0.0):
    """A loss that falls, with noise that falls with it, and is alike from one line to the next."""
    rng = np.random.default_rng(seed)
    noise, level = np.zeros(len(PLACES)), 0.0
    for number in range(len(PLACES)):
        level = 0.3 * level + rng.normal()
        noise[number] = level
    falling = 0.4 + 2 * np.exp(-np.arange(len(PLACES)) / 12)
    return falling * (1 + 0.03 * noise + shift)


def write_run(folder, name, seed, change=lambda place, loss: loss, rate=lambda place: 0.01):
    (folder / name).mkdir()
    rows = [
        {"iteration": place, "lr": rate(place), "loss": change(place, float(loss))}
        for place, loss in zip(PLACES, drawn_loss(seed), strict=True)
    ]
    rows += [{"iteration": 200, "mean_iou": 0.3 + 0.01 * (seed % 4)}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name / "log.jsonl").write_text(text)
    return name


@pytest.fixture
def seeds(tmp_path):
    return [write_run(tmp_path, f"torch_{seed}", seed) for seed in (1, 2, 3)]


def compared(folder, *arguments):
    return run("compare_runs", *arguments, cwd=folder)


def test_one_more_seed_is_inside(tmp_path, seeds):
    port = write_run(tmp_path, "paddle", 8)
    done = compared(tmp_path, port, *seeds, "-o", "curves.svg")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "inside the band: loss, rate, mIoU"
    assert "40 iterations in common, 10 to 400" in done.stdout
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_the_first_step_outside_is_named(tmp_path, seeds):
    port = write_run(tmp_path, "paddle", 8, lambda place, loss: loss * (1.4 if place > 230 else 1))
    done = compared(tmp_path, port, *seeds, "--lang", "zh", "-o", "curves.png")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "超出区间：损失，最早在第 240 次迭代"
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    done = compared(tmp_path, port, *seeds, "--json")
    loss = json.loads(done.stdout)["curves"]["loss"]
    assert loss["first_outside"] == 240
    assert loss["outside"] == 17


def say_settings(folder, names, **changed):
    for seed, name in enumerate(names):
        said = {"name": name, "seed": seed, "schedule": {"base_lr": 0.01}, "train": {"ema": None}}
        said |= changed.get(name, {})
        (folder / name / "settings.json").write_text(json.dumps(said))


def test_settings_that_differ_are_said(tmp_path, seeds):
    port = write_run(tmp_path, "paddle", 8)
    say_settings(tmp_path, [port, *seeds])
    alike = compared(tmp_path, port, *seeds)
    assert alike.returncode == 0
    assert "differ" not in alike.stdout
    say_settings(tmp_path, [port, *seeds], paddle={"train": {"ema": {"decay": 0.9}}})
    done = compared(tmp_path, port, *seeds)
    notes = [line for line in done.stdout.splitlines() if line.startswith("note")]
    assert notes == ["note: the runs differ in train.ema.decay: 0.9, unset, unset, unset"]
    told = json.loads(compared(tmp_path, port, *seeds, "--json").stdout)["settings_that_differ"]
    assert told["train.ema.decay"] == [0.9, "unset", "unset", "unset"]


def test_a_band_of_other_settings_is_no_band_of_seeds(tmp_path, seeds):
    port = write_run(tmp_path, "paddle", 8)
    say_settings(tmp_path, [port, *seeds], torch_2={"schedule": {"base_lr": 0.1}})
    done = compared(tmp_path, port, *seeds)
    assert done.returncode == 2
    assert "the references differ in schedule.base_lr" in done.stdout.splitlines()[-1]


def test_a_rate_has_no_noise(tmp_path, seeds):
    port = write_run(tmp_path, "paddle", 8, rate=lambda place: 0.01 if place < 100 else 0.010001)
    done = compared(tmp_path, port, *seeds, "--quiet")
    assert done.returncode == 1
    assert done.stdout == "outside the band: rate first at iteration 100\n"


def test_two_runs_say_nothing_of_the_noise(tmp_path, seeds):
    done = compared(tmp_path, *seeds[:2])
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith("could not check: 1 references say too little")
    assert compared(tmp_path, *seeds[:2], "--tolerance", "0.5").returncode == 0
    assert compared(tmp_path, *seeds[:2], "--tolerance", "0.001").returncode == 1


def test_nan_is_never_a_pass(tmp_path, seeds):
    def nan(place, loss):
        return None if place == 300 else loss

    port, other = write_run(tmp_path, "paddle", 8, nan), write_run(tmp_path, "torch_nan", 9, nan)
    done = compared(tmp_path, port, *seeds)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "outside the band: loss first at iteration 300"
    done = compared(tmp_path, port, other, *seeds)
    assert done.returncode == 2
    assert "a reference is not finite at iteration 300" in done.stdout.splitlines()[-1]


def test_what_cannot_be_compared_is_refused(tmp_path, seeds):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "odd.jsonl").write_text('{"iteration": 7, "loss": 1}\n')
    (tmp_path / "text.jsonl").write_text("no json\n{}\n")
    for name, words in (
        ("empty.jsonl", "holds no loss by iteration"),
        ("odd.jsonl", "no iteration stands in all logs"),
        ("text.jsonl", "line 1: is no JSON"),
        ("absent", "No such file"),
        (seeds[0], "is given twice"),
    ):
        done = compared(tmp_path, name, *seeds)
        assert (done.returncode, done.stdout) == (2, ""), name
        assert words in done.stderr


PADDLESEG = """22:38:36 [INFO]\t[TRAIN] epoch: 7, iter: 100/900, loss: 0.1503, lr: 0.001296, a: 1
2021-07-20 22:39:33 [INFO]\t[TRAIN] epoch: 8, iter: 200/900, loss: nan, lr: 0.001265, batch_cost: 1
200/200 [==============================] - 6s 29ms/step - batch_cost: 0.0289
2021-07-20 22:39:39 [INFO]\t[EVAL] #Images: 200 mIoU: 0.5000 Acc: 1.0000 Kappa: nan
2021-07-20 22:39:40 [INFO]\t[EVAL] The best validation mIoU (0.4000) was saved at iter 100.
"""
MMSEG = """{"env_info": "sys.platform: linux", "seed": 0}
{"mode": "train", "epoch": 6, "iter": 15900, "lr": 5e-05, "decode.loss_seg": 0.3, "loss": 3.3}
{"mode": "train", "epoch": 6, "iter": 15950, "lr": 5e-05, "decode.loss_seg": 0.3, "loss": 3.2}
{"mode": "val", "epoch": 6, "iter": 500, "lr": 5e-05, "aAcc": 0.8972, "mIoU": 0.4799}
{"mode": "train", "epoch": 6, "iter": 16050, "lr": 4e-05, "loss": 3.1}
{"mode": "val", "epoch": 6, "iter": 500, "lr": 4e-05, "mIoU": 0.5}
"""
MMENGINE = """{"lr": 0.01, "loss": 2.5, "decode.loss_ce": 1.8, "iter": 50, "step": 50}
{"lr": 0.009, "loss": 2.4, "iter": 100, "step": 100}
{"aAcc": 94.3, "mIoU": 68.5, "mAcc": 76.5, "step": 100}
"""


def test_formats(tmp_path):
    for name, text in (("p.log", PADDLESEG), ("m.log.json", MMSEG), ("scalars.json", MMENGINE)):
        (tmp_path / name).write_text(text)
    found = read_run(tmp_path / "p.log")
    assert found.series[RATE] == {100: 0.001296, 200: 0.001265}
    assert found.series[LOSS][100] == 0.1503
    assert np.isnan(found.series[LOSS][200])
    assert found.series[MIOU] == {200: 0.5}
    found = read_run(tmp_path / "m.log.json")
    assert found.series[LOSS] == {15900: 3.3, 15950: 3.2, 16050: 3.1}
    assert found.series[MIOU] == {16000: 0.4799, 16050: 0.5}  # not 500, its images
    found = read_run(tmp_path / "scalars.json")
    assert found.series[LOSS] == {50: 2.5, 100: 2.4}
    assert found.series[MIOU] == {100: 0.685}
    assert found.name == tmp_path.name


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"iteration": 1, "loss": 2.0}\n{"iteration": 2, "lo')
    assert read_run(tmp_path).series[LOSS] == {1: 2.0}
    (tmp_path / "log.jsonl").write_text('{"iteration": 1, "lo\n{"iteration": 2, "loss": 1.0}\n')
    with pytest.raises(UnreadableError, match="line 1"):
        read_run(tmp_path)


def test_how_often_the_band_is_wrong():
    """Of 150 runs of one more seed few leave it anywhere; one that is 20 % off always does."""
    wrong = missed = 0
    for trial in range(150):
        rows = np.stack([drawn_loss(1000 * trial + seed) for seed in range(3)])
        low, high = band_of_seeds(rows)
        other = drawn_loss(1000 * trial + 7)
        wrong += bool(((other < low) | (other > high)).any())
        other = drawn_loss(1000 * trial + 7, shift=0.2)
        missed += not ((other < low) | (other > high)).any()
    assert wrong <= 5
    assert missed <= 2


def test_references_without_spread_are_a_band_of_no_width():
    same = dict.fromkeys(PLACES, 1.0)
    assert in_band(LOSS, same, [same] * 3, None).outside == []
    other = {**same, 50: 1.0001}
    assert in_band(LOSS, other, [same] * 3, None).outside == [50]
