"""Who is called: what is torch's by its package, not by the first letters of another's."""

import importlib
import sys
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")

from port.record.names_torch import who_is_called
from port.record.stand_ins import old_worlds


def test_a_method_of_torchvision_is_a_librarys():
    kind = type("Weights", (), {"get_state_dict": lambda self: {}})
    kind.__module__ = "torchvision.models.resnet"
    assert who_is_called(kind().get_state_dict)[0] == ()


@pytest.mark.skipif(find_spec("torchvision") is None, reason="needs torchvision")
def test_a_module_that_torchvision_has_no_more_holds_torchs_function(monkeypatch):
    monkeypatch.delitem(sys.modules, old_worlds.OLD_OF_TORCHVISION, raising=False)
    old_worlds.give_back()
    lent = importlib.import_module(old_worlds.OLD_OF_TORCHVISION)
    assert lent.load_state_dict_from_url is torch.hub.load_state_dict_from_url
    assert not hasattr(lent, "load_url")
    monkeypatch.delitem(sys.modules, old_worlds.OLD_OF_TORCHVISION)
