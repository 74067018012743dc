"""Every change of the tables can be tried: the function that it changes is one that is spied on."""

import pytest

pytest.importorskip("paddle")

from align.causes import hypotheses_paddle as hypotheses
from align.causes.replay_paddle import HOMES, METHODS


def test_what_is_changed_has_a_home():
    changed = {*hypotheses.SETTINGS, *hypotheses.AXES, *hypotheses.OTHERS}
    changed |= set(hypotheses.ACTIVATIONS)
    assert changed - set(HOMES) - set(METHODS) == set()
