"""Every loss of class maps as a toy config names it: the rungs `loss`, `training` and `data`."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.subjects.recipe import Recipe
from common.data.toy import write_toy_cityscapes
from tests.paths import CONFIGS

LONG = pytest.mark.prove
SMALL = ["data.scale=1", "model.options.width=0.0625", "reproduce.input_shape=[2,3,32,48]"]
LOSSES = {
    "dice": ["loss.smooth=0.1", "loss.per_image=true"],
    "cross_entropy_dice": ["loss.classes=present"],
    "focal": ["loss.alpha=0.25"],
    "lovasz_softmax": [],
    "cross_entropy": ["loss.label_smoothing=0.1", "loss.weights=from_data"],
}


def cases():
    """Return (config, loss, more): nets of one map, of two, and of maps with details behind them.

    Two for `make test`; `tests/nets/losses/test_aligned.py` has the others on small nets.
    """
    quick = ("lovasz_softmax", "cross_entropy")
    found = [
        pytest.param("unet", name, [], id=name, marks=() if name in quick else LONG)
        for name in LOSSES
    ]
    for name in ("cross_entropy_dice", "lovasz_softmax"):
        found.append(pytest.param("pspnet50", name, [], id=f"{name}, two maps", marks=LONG))
        three = ["loss.maps=3"]
        found.append(pytest.param("stdc1", name, three, id=f"{name}, STDC", marks=LONG))
    return found


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=6, val=2, size_hw=(64, 128))
    return folder


@pytest.mark.parametrize(("config", "name", "more"), cases())
def test_a_toy_config_with_another_loss_is_aligned(toy, config, name, more):
    given = [f"data.root={toy}", f"loss.name={name}", *LOSSES[name], *more]
    if config == "unet":
        given += SMALL
    recipe = Recipe(CONFIGS / f"{config}_toy.yml", tuple(given))
    reference, port, _ = recipe.pair.nets(None, 0)
    report = recipe.align_loss(reference)
    assert report.exit_code == 0, report.verdict
    report = recipe.align_training(reference, port, 2)
    assert report.exit_code == 0, report.verdict


@pytest.mark.parametrize("order", ["", "fast"])
def test_batches_of_chosen_steps_are_equal_to_the_bit(toy, order):
    chosen = {"mosaic": 0.5, "degrees": 10, "scale_range": "[0.5,2.0]", "flip": 0.5, "blur": 0.5}
    chosen |= {"brightness": 0.4, "hue": 0.1, **({"order": order} if order else {})}
    keys = [f"data.augmentation.{key}={value}" for key, value in chosen.items()]
    given = [f"data.root={toy}", "data.augmentation.name=custom", "data.crop_hw=[40,56]", *keys]
    report = Recipe(CONFIGS / "unet_toy.yml", tuple(given), fast=True).align_data()
    assert report.exit_code == 0, report.verdict
