"""The guide's pairs of files: both sides, every checkpoint, and numbers that show a fault."""

from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.reproduce.evidence import write_evidence
from commands.subjects.recipe import Recipe
from commands.subjects.rows import seeded_pair
from common.data.toy import write_toy_cityscapes

CONFIG = ROOT / "configs" / "stdc1_toy.yml"
KEYS = {
    "forward": {"logits"},
    "metric": {"pixel_accuracy", "mIoU"},
    "loss": {"loss"},
    "bp_align": {"loss_0", "loss_1", "lr_0", "lr_1"},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    root = tmp_path_factory.mktemp("evidence") / "toy"
    write_toy_cityscapes(root, train=4, val=1, size_hw=(128, 256))
    sizes = ["data.crop_hw=[64, 64]", "data.batch_size=2", "reproduce.input_shape=[2, 3, 64, 64]"]
    return Recipe(CONFIG, (f"data.root={root}", *sizes, "schedule.warmup_steps=1"))


def read(path: Path) -> dict[str, np.ndarray]:
    """As reprod_log reads it; only of files that this test wrote."""
    return np.load(path, allow_pickle=True).tolist()


def test_healthy_pair(recipe, tmp_path):
    # Of seed 1 a class occurs in neither labels nor predictions: its IoU is left out, not NaN.
    distances = write_evidence(recipe, *seeded_pair("stdc1_seg", 1), tmp_path)
    for checkpoint, keys in KEYS.items():
        for side in ("reference", "paddle"):
            values = read(tmp_path / f"{checkpoint}_{side}.npy")
            assert values.keys() == keys
            assert all(value.dtype == np.float32 for value in values.values())
            assert all(np.isfinite(value).all() for value in values.values())
    assert len(list(tmp_path.iterdir())) == 8
    assert distances["forward/logits"] < 1e-5
    assert distances["loss/loss"] < 1e-4
    assert distances["bp_align/lr_1"] == 0
    steps = read(tmp_path / "bp_align_reference.npy")
    assert steps["loss_0"] != steps["loss_1"]


def test_fault_shows_in_the_numbers(recipe, tmp_path):
    torch_net, paddle_net = seeded_pair("stdc1_seg", 0)
    weight = paddle_net.conv_out.conv_out.weight
    weight.set_value(weight * 1.5)
    distances = write_evidence(recipe, torch_net, paddle_net, tmp_path)
    assert distances["forward/logits"] > 1e-3
    assert distances["loss/loss"] > 1e-3
