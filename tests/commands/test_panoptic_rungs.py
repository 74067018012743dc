"""A config whose target is several arrays: the rungs `loss`, `step` and `training`.

Whether any two nets take such a target is asked, and quicker, in tests/align/rungs/test_targets.py.
"""

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.subjects.recipe import Recipe
from common.data.toy import write_toy_cityscapes
from paddle_impl.losses import LOSSES
from tests.paths import CONFIGS


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=4, val=1, size_hw=(64, 128))
    return folder


@pytest.fixture
def recipe(toy):
    small = ["model.options.width=0.0625", "reproduce.input_shape=[2,3,33,33]", "data.scale=1"]
    return Recipe(CONFIGS / "panoptic_deeplab_r50_toy.yml", (f"data.root={toy}", *small))


@pytest.fixture
def nets(recipe):
    return recipe.pair.nets(None, 0)[:2]


def wrong(recipe, monkeypatch, **settings):
    """Let the port's criterion have other settings than the config's."""
    options = recipe.parts[1].loss_options | settings
    monkeypatch.setattr(recipe.parts[1], "criterion", lambda: LOSSES["panoptic_deeplab"](**options))


def test_the_loss_takes_the_target_by_name(recipe, nets, monkeypatch):
    report = recipe.align_loss(nets[0])
    assert report.exit_code == 0, report.verdict
    judged = {call.where for call in report.calls}
    assert {"grad_input:0", "grad_input:1", "grad_input:2"} <= judged
    wrong(recipe, monkeypatch, top_k=None)
    report = recipe.align_loss(nets[0])
    assert report.exit_code == 1
    assert {divergence.layer for divergence in report.divergences} == {""}


@pytest.mark.prove
def test_a_step_takes_it_too_and_finds_a_port_of_another_loss(recipe, nets, monkeypatch):
    report = recipe.align_step(*nets)
    assert report.exit_code == 0, report.verdict
    assert sum(call.where.startswith("weight:") for call in report.calls) > 20
    wrong(recipe, monkeypatch, offset_weight=0.02)
    report = recipe.align_step(*nets)
    assert report.exit_code == 1
    assert report.divergences[0].layer == "(loss)"


@pytest.mark.prove
def test_steps_are_aligned_one_by_one(recipe, nets):
    report = recipe.align_training(*nets, 3)
    assert report.exit_code == 0, report.verdict
