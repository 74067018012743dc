"""What people mistype first: the name of a net or of a config, a file of a net of their own."""

import pytest

from common.errors import ConfigError, ConversionError, UserError
from common.pairs import get_pair
from common.settings.load import load_settings
from convert.nets.recognise import recognise
from tests.paths import ROOT


@pytest.mark.parametrize("typed", ["stdc2-seg", "STDC2_Seg", "stdc2seg", "stcd2_seg"])
def test_a_near_miss_of_a_row(typed):
    with pytest.raises(UserError, match=r"did you mean stdc2_seg\?"):
        get_pair(typed)


def test_a_name_like_no_row():
    with pytest.raises(UserError, match=r"'segformer'; The table has: stdc1_cls"):
        get_pair("segformer")


@pytest.mark.parametrize("typed", ["stdc2", "configs/stdc_2.yml", "stdc2.yaml"])
def test_a_near_miss_of_a_config(typed, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r"did you mean configs/stdc2\.yml\?"):
        load_settings(typed)


def test_a_file_of_ones_own_net():
    shapes = {"encoder.mix.weight": (3, 3), "encoder.mix.bias": (3,)}
    with pytest.raises(ConversionError) as caught:
        recognise(shapes)
    assert "none has a tensor of these names" in str(caught.value)
    assert "--model PACKAGE.MODULE:CALLABLE" in str(caught.value)
