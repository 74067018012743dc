"""Words in pictures are Chinese where that is printed and a font has it."""

import numpy as np
import pytest

from align.report.picture import error_picture
from common.evaluation.confusion_picture import confusion_picture
from common.words import drawn, language
from tests.align.report.reports import small


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])


def fonts(monkeypatch, *names):
    monkeypatch.setattr(drawn, "cjk_fonts", lambda: names)


def test_without_a_font_pictures_are_english(chinese, monkeypatch):
    fonts(monkeypatch)
    assert drawn.drawn("relative error") == "relative error"
    assert drawn.written(["road", "天空"]) == (["road", "1"], ["DejaVu Sans"])


def test_with_a_font_they_are_chinese(chinese, monkeypatch):
    fonts(monkeypatch, "Some Hei")
    assert drawn.drawn("relative error") == "相对误差"
    assert drawn.written(["road", "天空"]) == (["road", "天空"], ["DejaVu Sans", "Some Hei"])
    with drawn.lettering():
        from matplotlib import rcParams

        assert rcParams["font.family"] == ["DejaVu Sans", "Some Hei"]
    assert rcParams["font.family"] != ["DejaVu Sans", "Some Hei"]


@pytest.mark.parametrize("chosen", [language.ENGLISH, language.CHINESE])
def test_pictures_have_a_glyph_for_every_letter(tmp_path, monkeypatch, recwarn, chosen):
    monkeypatch.setattr(language, "_chosen", [chosen])
    error_picture(small("stem"), tmp_path / "error.png")
    confusion_picture(np.eye(2, dtype=int), ("road", "天空"), tmp_path / "confusion.png")
    assert not [str(one.message) for one in recwarn if "Glyph" in str(one.message)]
