"""The guide's pairs of files: a grader accepts those of a healthy pair, and no others."""

from pathlib import Path

import numpy as np
import pytest

from tests.nursery import run
from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from align.report.report import Report
from commands.align.reprod_log import export_steps
from commands.reproduce.evidence import write_evidence
from commands.subjects.recipe import Recipe
from common.data.toy import write_toy_cityscapes
from common.errors import UserError
from paddle_impl.optim import ClippedRMSprop

CONFIG = ROOT / "configs" / "unet_toy.yml"
GRADE = 1e-6  # mean |difference|, of every value (reprod_log's default)
KEYS = {
    "forward": {"logits"},
    "metric": {"pixel_accuracy", "mIoU"},
    "loss": {"loss"},
    "bp_align": {"loss_0", "loss_1", "lr_0", "lr_1"},
}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory) -> tuple[str, ...]:
    """A narrow net: what a grader accepts and refuses is the same of a large one."""
    root = tmp_path_factory.mktemp("evidence") / "toy"
    write_toy_cityscapes(root, train=4, val=1, size_hw=(32, 64))
    sizes = ["data.crop_hw=[32, 32]", "data.batch_size=2", "reproduce.input_shape=[2, 3, 32, 32]"]
    return (f"data.root={root}", "data.scale=1", *sizes, "model.options.width=0.0625")


@pytest.fixture(scope="module")
def recipe(overrides) -> Recipe:
    return Recipe(CONFIG, overrides)


def read(path: Path) -> dict[str, np.ndarray]:
    """As reprod_log reads it; only of files that this test wrote."""
    return np.load(path, allow_pickle=True).tolist()


def grade(folder: Path, checkpoint: str) -> bool:
    """Whether the guide's tool accepts a pair."""
    theirs, ours = (read(folder / f"{checkpoint}_{side}.npy") for side in ("reference", "paddle"))
    assert theirs.keys() == ours.keys()
    return all(np.abs(theirs[key] - ours[key]).mean() < GRADE for key in theirs)


def evidence(recipe: Recipe, pair, folder: Path) -> dict[str, float]:
    reports = {"loss": recipe.align_loss(pair[0]), "training": recipe.align_training(*pair, 2)}
    return write_evidence(recipe, *pair, reports, folder)


def test_healthy_pair_is_accepted(recipe, tmp_path):
    distances = evidence(recipe, recipe.pair.nets(None, 0)[:2], tmp_path)
    for checkpoint, keys in KEYS.items():
        assert grade(tmp_path, checkpoint), checkpoint
        values = read(tmp_path / f"{checkpoint}_paddle.npy")
        assert keys <= values.keys()
        assert all(value.dtype == np.float32 for value in values.values())
        assert all(np.isfinite(value).all() for value in values.values())
    assert max(distances.values()) < GRADE
    steps = read(tmp_path / "bp_align_reference.npy")
    assert steps["loss_0"] != steps["loss_1"]
    assert "forced steps, each judged alone: aligned" in verdict_in(tmp_path)


def verdict_in(folder: Path) -> str:
    return (folder / "bp_align_verdict.txt").read_text()


def test_fault_of_a_net_is_refused(recipe, tmp_path):
    torch_net, paddle_net, _ = recipe.pair.nets(None, 0)
    weight = paddle_net.outc.conv.weight
    weight.set_value(weight * 1.5)
    evidence(recipe, (torch_net, paddle_net), tmp_path)
    assert grade(tmp_path, "data")
    assert not grade(tmp_path, "forward")
    assert not grade(tmp_path, "bp_align")
    ends = {name: (tmp_path / f"{name}_diff.log").read_text().splitlines()[-1] for name in KEYS}
    assert ends["forward"] == ends["bp_align"] == "diff check failed"
    assert ends["loss"] == "diff check passed"


def test_wrong_optimizer_is_refused(recipe, tmp_path, monkeypatch):
    """Its forced losses all agree: each step begins at the reference's weights."""
    pair = recipe.pair.nets(None, 0)[:2]
    right = ClippedRMSprop.__init__
    monkeypatch.setattr(
        ClippedRMSprop,
        "__init__",
        lambda self, *args, **kwargs: right(self, *args, **{**kwargs, "alpha": 0.9}),
    )
    report = recipe.align_training(*pair, 3)
    losses = [call for call in report.calls if call.at.kind == "loss"]
    assert report.exit_code == 1
    assert all(call.verdict == "equal" for call in losses)
    export_steps(tmp_path, report)
    assert not grade(tmp_path, "bp_align")
    head, *found = verdict_in(tmp_path).splitlines()
    assert "not aligned" in head
    assert len(found) < len(report.divergences)  # what many weights show is told once
    assert "  one fault of the recipe: " in "\n".join(found)
    curve = (tmp_path / "bp_align_free_run.csv").read_text().splitlines()
    assert len(curve) == 4  # the third step is shown, and not in the graded file
    assert set(read(tmp_path / "bp_align_paddle.npy")) == KEYS["bp_align"]


def test_one_step_is_no_evidence(tmp_path):
    with pytest.raises(UserError, match="came through 1 of the 2 rounds"):
        export_steps(tmp_path, Report("training", settings={"free_steps": [{}]}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["data", "metric", "loss"])
def test_stages_write_their_own(overrides, tmp_path, stage):
    given = [stage, CONFIG, *overrides, "--quiet", "--export-npy", tmp_path]
    done = run("align_stage", *given)
    assert done.returncode == 0, done.stderr
    assert grade(tmp_path, stage)
    names = read(tmp_path / f"{stage}_paddle.npy").keys()
    assert names >= {"data": {"image_0", "label_4"}, **KEYS}[stage]


def test_a_stage_that_nobody_grades(tmp_path):
    done = run("align_stage", "init", CONFIG, "--export-npy", tmp_path / "made")
    assert done.returncode == 2
    assert "goes with data, metric, loss, step" in done.stderr
