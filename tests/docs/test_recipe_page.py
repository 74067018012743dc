"""The page of training keys: its config is read, and it names every key there is."""

import re
from typing import get_args

import pytest

from common.settings import recipe, schedules, train
from common.settings.load import load_settings
from tests.paths import ROOT

PAGES = (ROOT / "docs" / "guide" / "recipe.md", ROOT / "docs" / "zh" / "recipe.md")
PAPERS = ("StdcSGD", "FCNSGD", "UNetRMSprop", "HeadSGD", "DeepLabV2SGD", "TorchvisionSGD")
ELSEWHERE = {"name", "iterations", "log_interval", "eval_interval", "checkpoint_interval", "keep"}


@pytest.mark.parametrize("page", PAGES, ids=["en", "zh"])
def test_the_config_of_the_page_is_read(page, tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), flags=re.S)
    path = tmp_path / "mine.yml"
    path.write_text(text.replace("stdc1_toy.yml", str(ROOT / "configs" / "stdc1_toy.yml")))
    settings = load_settings(path)
    assert (settings.optimizer.name, settings.train.ema.decay) == ("adamw", 0.999)
    names = ["cp.backbone.features.0.conv.weight", "cp.backbone.features.10.conv.weight"]
    (pattern,) = settings.freeze.parameters
    assert [bool(re.search(pattern, name)) for name in names] == [True, False]


def keys():
    """Yield every key of the sections that the page is about."""
    kinds = [
        *(
            kind
            for kind in get_args(get_args(recipe.AnyOptimizer)[0])
            if "Own" not in kind.__name__
        ),
        *(kind for kind in get_args(get_args(recipe.AnySchedule)[0]) if "Own" not in kind.__name__),
        *(train.Train, train.Freeze, train.Ema, train.EarlyStop, train.Amp),
        *(recipe.Clip, schedules.Warmup),
        recipe.GroupOptions,
    ]
    for kind in kinds:
        if kind.__name__ not in PAPERS:
            yield from kind.model_fields


@pytest.mark.parametrize("page", PAGES, ids=["en", "zh"])
def test_every_key_stands_on_the_page(page):
    shown = set(re.findall(r"\w+", page.read_text("utf-8")))
    assert {*keys()} - ELSEWHERE - shown == set()
    kinds = get_args(get_args(recipe.AnySchedule)[0])
    names = {n for kind in kinds for n in get_args(kind.model_fields["name"].annotation)}
    assert names - {"own", "in_optimizer"} - shown == set()
