"""What a run says about itself before it begins."""

import pytest

from common.settings.load import load_settings
from common.training.notes import settings_block
from tests.common.training.numpy_side import NumpySide
from tests.paths import ROOT


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_a_net_of_ones_own_is_called_as_the_side_builds_it(framework):
    settings = load_settings(ROOT / "examples" / "own_recipe" / "my_net.yml")
    side = NumpySide()
    side.framework = framework
    block = dict(settings_block(settings, side, (6, 6), "runs/mine"))
    assert block["net"].startswith(f"net_{framework}:build, 3 classes")
