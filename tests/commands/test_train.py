"""The two commands: the same config on both sides, and one message for every wrong input."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from common.data.toy import write_toy_cityscapes
from tests.nursery import as_typed, run
from tests.paths import MANIFESTS, ROOT, TOOLS

SMALL = (
    "data.crop_hw=[32,64] data.batch_size=2 train.iterations=2 train.log_interval=1 "
    "train.eval_interval=2 schedule.warmup_steps=1 --threads 1"
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=4, val=2, size_hw=(64, 128))
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A file like the authors' STDCNet813M_73.91.tar."""
    torch = pytest.importorskip("torch")
    import torch_ref

    path = tmp_path_factory.mktemp("weights") / "cls.tar"
    torch.save({"state_dict": torch_ref.build_model("stdc1_cls").state_dict()}, path)
    return path


def command(side, *arguments):
    return run(f"train_{side}", "configs/stdc1_toy.yml", *arguments, cwd=ROOT)


@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_the_same_config_trains_from_the_same_backbone(side, toy, backbone, tmp_path):
    pytest.importorskip(side)
    result = command(
        side,
        f"data.root={toy}",
        f"output={tmp_path / 'run'}",
        f"weights.path={backbone}",
        "weights.into=cp.backbone",
        "schedule.base_lr=0",
        "--json",
        *SMALL.split(),
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["iteration"] == 2
    assert len(told["validation"]["iou"]) == 19
    for words in ("stdc1_seg", str(backbone), "images/s", "data 0.0", "left"):
        assert words in result.stderr
    trained = read_weights(side, told["folder"])
    import torch

    given = torch.load(backbone, weights_only=True)["state_dict"]
    # The rate is 0, so the backbone's weights are still those of the file.
    for key in ("features.0.conv.weight", "linear.weight"):
        value = given[key].numpy()
        value = value.T if side == "paddle" and key == "linear.weight" else value
        assert (trained[f"cp.backbone.{key}"] == value).all(), key


def read_weights(side, folder):
    if side == "torch":
        import torch

        return torch.load(Path(folder) / "final.pth", weights_only=True)
    from convert import read_checkpoint

    return read_checkpoint(Path(folder) / "final.pdparams")


def test_paddles_own_weights_are_a_start_in_paddle_alone(tmp_path):
    paddle = pytest.importorskip("paddle")
    from commands.train_start import read_paddle_weights, read_torch_weights
    from common.errors import UserError
    from common.settings.load import load_settings

    path = tmp_path / "w.pdparams"
    net = paddle.nn.Conv2D(1, 2, 3)
    paddle.save(net.state_dict(), str(path))
    settings = load_settings(ROOT / "configs" / "stdc1_toy.yml", [f"weights.path={path}"])
    arrays, left = read_paddle_weights(settings, net)
    assert left == []
    assert sorted(arrays) == ["bias", "weight"]
    assert (arrays["weight"] == net.weight.numpy()).all()
    with pytest.raises(UserError, match=r"w\.pdparams"):
        read_torch_weights(settings)


def start_of(path, net):
    """Fill `net` of stdc1_seg as a training from `path` does; return what is told."""
    from commands.train_start import initialised
    from common.settings.load import load_settings

    settings = load_settings(ROOT / "configs" / "stdc1_toy.yml", [f"weights.path={path}"])
    return initialised(settings, net, "paddle")


def test_the_road_that_a_conversion_recommends(tmp_path):
    """PaddleSeg's file has no classifier of the backbone: "train on" from it, by either file."""
    pytest.importorskip("paddle")
    import paddle_impl
    from common.errors import ConversionError
    from convert.formats.pdparams import write_pdparams

    text = (MANIFESTS / "stdc1_seg_paddleseg.json").read_text(encoding="utf-8")
    rng = np.random.default_rng(0)
    state = {k: rng.normal(size=s).astype(t) for k, s, t in json.loads(text)["state_dict"]}
    write_pdparams(state, tmp_path / "theirs.pdparams")
    done = run("convert_weights", "theirs.pdparams", "--output", "ours.pdparams", cwd=tmp_path)
    assert done.returncode == 0
    advised = f"{TOOLS}/train_paddle.py {ROOT}/configs/stdc1.yml weights.path=ours.pdparams"
    assert done.stdout.splitlines()[-1].endswith(advised)
    net = paddle_impl.build_model("stdc1_seg")
    key, theirs = "conv_out32.conv.bn._mean", "conv_out16.conv._batch_norm._mean"
    for name in ("ours", "theirs"):
        net.state_dict()[key].set_value(np.zeros_like(state[theirs]))
        account = start_of(tmp_path / f"{name}.pdparams", net)
        assert np.array_equal(net.state_dict()[key].numpy(), state[theirs])
        assert len(account["left"]) == 11
        assert "left at initialisation: cp.backbone.conv_last" in account["told"]
    # An account of another file says nothing about this one.
    (tmp_path / "ours.pdparams").unlink()
    one = "conv_out.conv_out.weight"
    write_pdparams({one: state[one]}, tmp_path / "ours.pdparams")
    with pytest.raises(ConversionError, match="not in the file"):
        start_of(tmp_path / "ours.pdparams", net)


def test_weights_that_would_run_code_are_refused(tmp_path):
    import pickle

    pytest.importorskip("paddle")
    from common.errors import UnreadableError
    from common.settings.load import load_settings

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    from commands.train_start import read_paddle_weights

    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"weight": Evil()}))
    settings = load_settings(ROOT / "configs" / "stdc1_toy.yml", [f"weights.path={path}"])
    with pytest.raises(UnreadableError, match="system"):
        read_paddle_weights(settings, None)
    assert not (tmp_path / "ran").exists()


BAD = {
    "no data": (["data.root=nowhere"], "make_toy_cityscapes"),
    "unknown key": (["train.iters=3"], "train.iterations"),
    "batch of 1": (["data.batch_size=1"], "BatchNorm"),
    "missing weights": (["weights.path=nowhere.pth"], "nowhere.pth: no such file"),
    "missing pdparams": (["weights.path=nowhere.pdparams"], "nowhere.pdparams"),
    "unknown option": (["model.options.colour=red"], "colour"),
    "no gpu": (["--device", "gpu"], "--device cpu"),
    "nothing to resume": (["--resume", "nowhere"], "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("side", ["torch", "paddle"])
def test_bad_input_is_one_message_and_exit_2(side, case, toy, tmp_path, monkeypatch, capsys):
    framework = pytest.importorskip(side)
    if case == "no gpu" and (
        framework.cuda.is_available() if side == "torch" else framework.is_compiled_with_cuda()
    ):
        pytest.skip("there may be a GPU")
    arguments, words = BAD[case]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # so that what the command sets is undone
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.chdir(tmp_path)
    import importlib

    tool = importlib.import_module(f"train_{side}")
    from commands.entry import COULD_NOT_CHECK, exit_code

    argv = [str(ROOT / "configs" / "stdc1_toy.yml"), f"data.root={toy}", "output=run"]
    monkeypatch.setattr(sys, "argv", [f"train_{side}.py", *argv, *SMALL.split(), *arguments])
    assert exit_code(tool.main) == COULD_NOT_CHECK  # `run` would change this process
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert error.count("error:") == 1
    assert list(tmp_path.iterdir()) == []


def test_images_are_read_by_processes_of_their_own(toy, tmp_path):
    """They begin by importing the command anew: what it needs must be on their path."""
    given = [word for word in SMALL.split() if not word.startswith("schedule.")]
    given += [f"data.root={toy}", "data.workers=1", "--quiet"]
    narrow = [ROOT / "configs" / "unet_toy.yml", "model.options.width=0.0625", "data.scale=1"]
    done = as_typed("train_paddle", *narrow, *given, f"output={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr


def test_the_schedule_is_shown_and_nothing_is_trained(tmp_path):
    warm = "schedule={name: poly, base_lr: 0.1, warmup: {steps: 20}}"
    output = f"output={tmp_path / 'run'}"
    done = command("paddle", warm, output, "--show-schedule", "train.iterations=31")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["iteration", "1", "0.000e+00"]
    assert lines[10] == ["iteration", "21", "1.000e-01", "#" * 40]
    assert len(lines) == 16
    done = command("paddle", warm, output, "--show-schedule", "train.iterations=31", "--json")
    assert json.loads(done.stdout)["rates"][5] == [11, pytest.approx(0.05)]
    assert not (tmp_path / "run").exists()
