"""What a config says of clipping, groups, freezing and averages is aligned; another port is found.

The port that is wrong is one that was trained by another config than the reference.
"""

import pytest

from tests.commands.own_recipe import EXAMPLE

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.subjects.recipe import Recipe

GIVEN = {
    "optimizer": "{name: adamw, weight_decay: 0.05, clip: {by: global_norm, limit: 0.05}, "
    "groups: [{match: '^head', lr_multiplier: 0.1}]}",
    "schedule": "{name: constant, base_lr: 0.01}",
    "freeze": "{statistics: ['^bn']}",
    "train.ema": "{decay: 0.9, warm_up: false}",
}
# What the port has instead: (key, old, new, layers that are blamed, place, words of the cause).
PORTS = {
    "another limit": ("optimizer", "limit: 0.05", "limit: 0.04", None, "weight:", "clipped"),
    "another rate": ("optimizer", "r: 0.1", "r: 0.2", {"head"}, "lr", "the rate is 0.002"),
    "statistics": ("freeze", "['^bn']", "[]", {"bn"}, "output:0", "training is True"),
    "average": ("train.ema", "0.9", "0.8", {"(average)"}, "average", "keeps 0.8 of the moving"),
}


@pytest.fixture
def recipe_of(monkeypatch):
    monkeypatch.chdir(EXAMPLE)

    def recipe(key="", old="", new=""):
        given = GIVEN | ({key: GIVEN[key].replace(old, new)} if key else {})
        return Recipe(EXAMPLE / "my_net.yml", tuple(f"{k}={v}" for k, v in given.items()))

    return recipe


def align(recipe, rung="training"):
    theirs, ours, _ = recipe.pair.nets(None, 0)
    return getattr(recipe, f"align_{rung}")(theirs, ours, *([2] if rung == "training" else []))


@pytest.mark.parametrize("rung", ["step", "training"])
def test_one_recipe_on_both_sides_is_aligned(recipe_of, rung):
    report = align(recipe_of(), rung)
    assert report.exit_code == 0, report.verdict
    assert any(call.where == "average:weight" for call in report.calls)


@pytest.mark.parametrize("name", PORTS)
def test_a_port_with_another_one_is_found(recipe_of, name):
    key, old, new, layers, where, words = PORTS[name]
    recipe, other = recipe_of(), recipe_of(key, old, new)
    recipe.parts = recipe.parts[0], other.parts[1]
    report = align(recipe)
    assert report.exit_code == 1
    found = [d for d in report.divergences if d.where.startswith(where)]
    assert found, report.verdict
    if layers:
        assert {divergence.layer for divergence in report.divergences} == layers
    assert any(words in divergence.cause for divergence in found), [d.cause for d in found]


def test_a_layer_that_the_port_does_not_freeze_is_found(recipe_of):
    frozen = "{statistics: ['^bn'], parameters: ['^stem']}"
    recipe, other = recipe_of("freeze", GIVEN["freeze"], frozen), recipe_of()
    assert align(recipe).exit_code == 0
    recipe.parts = recipe.parts[0], other.parts[1]
    report = align(recipe)
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {"stem"}, report.verdict
