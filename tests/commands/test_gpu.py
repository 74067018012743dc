"""Conversion, alignment and training on one GPU: `make test-gpu`."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.paths import ROOT

paddle = pytest.importorskip("paddle")
torch = pytest.importorskip("torch")

CONFIG = "configs/stdc1_toy.yml"


def _missing() -> str:
    if not paddle.is_compiled_with_cuda():
        return "this Paddle is built for CPUs: install the extra gpu in place of cpu"
    if paddle.device.cuda.device_count() == 0:
        return "Paddle sees no GPU on this machine"
    return ""


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(_missing()), reason=_missing())]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from torch_ref.seeded import build_seeded

    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save(build_seeded("stdc1_seg", 0).state_dict(), path)
    return path


def test_conversion_is_verified(checkpoint, tmp_path):
    from convert import convert_checkpoint

    paddle.set_device("gpu")
    output = tmp_path / "model.pdparams"
    convert_checkpoint(checkpoint, output, verify=True)
    assert output.exists()


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_forward_is_aligned(train):
    from align import align_forward
    from commands.subjects.rows import seeded_pair

    paddle.set_device("gpu")
    inputs = [np.random.default_rng(0).standard_normal((2, 3, 64, 96))]
    report = align_forward(*seeded_pair("stdc1_seg", 0), inputs, train=train)
    assert report.exit_code == 0, report.verdict


def test_twenty_training_steps(tmp_path):
    from common.data.toy import write_toy_cityscapes

    write_toy_cityscapes(tmp_path / "toy_cityscapes", train=8, val=2, size_hw=(128, 256))
    settings = (
        f"data.root={tmp_path / 'toy_cityscapes'}",
        f"output={tmp_path / 'run'}",
        "train.iterations=20",
        "train.eval_interval=20",
        "data.crop_hw=[64, 128]",
    )
    done = subprocess.run(
        [sys.executable, "tools/train_paddle.py", CONFIG, *settings, "--device", "gpu", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["iteration"] == 20
