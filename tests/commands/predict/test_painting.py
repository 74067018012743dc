"""Pictures of predictions: what is in which pixel."""

import numpy as np
from PIL import Image

from commands.predict.painting import (
    LEAST,
    PANEL,
    legend_of,
    lines_of,
    overlay,
    palette_png,
    save,
    shares_of,
    sheet,
)
from common.data.classes import bit_palette

NAMES = ("road", "car", "sky")
COLORS = bit_palette(3)
CLASSES = np.array([[1, 1, 1, 2], [1, 1, 2, 2]])


def test_a_palette_png_holds_classes_and_shows_colours(tmp_path):
    save(palette_png(CLASSES, COLORS), tmp_path / "draft", ".png")
    found = Image.open(tmp_path / "draft")
    assert (found.format, found.mode) == ("PNG", "P")
    assert np.array_equal(np.asarray(found), CLASSES)
    assert np.array_equal(np.asarray(found.convert("RGB")), COLORS[CLASSES])


def test_an_overlay_is_half_photo_half_colour():
    photo = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 11
    expected = (photo.astype(int) + COLORS[CLASSES] + 1) // 2
    assert np.array_equal(overlay(photo, CLASSES, COLORS), expected)


def test_shares_begin_with_the_largest_and_leave_out_what_is_not_there():
    assert list(shares_of(CLASSES, NAMES).items()) == [("car", 5 / 8), ("sky", 3 / 8)]


def test_a_sheet_has_photo_prediction_and_a_legend_of_any_length():
    photo = np.zeros((2, 4, 3), np.uint8)
    found = sheet(photo, CLASSES, COLORS, NAMES)
    assert found.height >= LEAST // 2
    legend = np.asarray(legend_of(lines_of(CLASSES, NAMES), COLORS, 100))
    present = {tuple(color) for color in legend.reshape(-1, 3).tolist()}
    assert {tuple(COLORS[i].tolist()) for i in (1, 2)} <= present
    large = np.arange(150).repeat(40).reshape(60, 100)
    names = tuple(f"class number {index}" for index in range(150))
    wide = sheet(np.zeros((60, 100, 3), np.uint8), large, bit_palette(150), names)
    assert wide.width < 3 * PANEL
    assert wide.height > 60
