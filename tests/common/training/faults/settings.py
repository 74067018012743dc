"""Settings that these tests train by."""

from common.settings.load import load_settings
from tests.common.training.numpy_side import BASE, CONFIG


def settings_of(root, *overrides):
    return load_settings(CONFIG, [*BASE, f"data.root={root}", *overrides])
