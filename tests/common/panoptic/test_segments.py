"""Ids and segments: colours, areas, classes, and what a map and a list must have in common."""

import numpy as np
import pytest

from common.errors import DamagedFileError, DataError, SegmentsError
from common.panoptic.ids import ids_to_rgb, read_ids, rgb_to_ids, save_ids
from common.panoptic.segments import areas_of, places_of, present, require_agreement, semantic_of
from tests.common.panoptic.scenes import CAR, CROWD, ROAD, SMALL, blocks, segment, street


def test_an_id_is_its_colour(tmp_path):
    ids = np.array([[0, 1, 255, 256], [65535, 65536, 16777215, 3 + 256 * 5 + 65536 * 7]])
    colors = ids_to_rgb(ids)
    assert colors[1, 3].tolist() == [3, 5, 7]
    assert colors.dtype == np.uint8
    assert (rgb_to_ids(colors) == ids).all()
    save_ids(ids, tmp_path / "ids.png")
    read = read_ids(tmp_path / "ids.png")
    assert (read.dtype, read.tolist()) == (np.uint32, ids.tolist())


@pytest.mark.parametrize("wrong", [-1, 1 << 24])
def test_what_has_no_colour_is_refused(wrong):
    with pytest.raises(DataError, match=rf"0..16777215 \(24 bits\), got .*{abs(wrong)}"):
        ids_to_rgb(np.array([[0, wrong]]))


def test_a_png_in_grey_holds_no_ids(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(DamagedFileError, match="mode RGB, got L"):
        read_ids(tmp_path / "grey.png")


@pytest.mark.parametrize("most", [40000, 1 << 24])
def test_large_ids_and_small_ones_are_counted_and_placed_alike(most):
    ids, segments = blocks(3, most=most)
    areas = areas_of(ids)
    assert areas == {int(k): int((ids == k).sum()) for k in np.unique(ids) if k}
    known = segments[::2]
    place = places_of(ids, known)
    for number, row in enumerate(known):
        assert ((place == number) == (ids == row["id"])).all()
    assert (place[~np.isin(ids, [row["id"] for row in known])] == len(known)).all()


@pytest.mark.parametrize("size_hw", [(0, 4), (3, 0), (1, 1), (1, 5)])
def test_small_maps_and_empty_ones(size_hw):
    ids = np.full(size_hw, 7, np.uint32)
    pixels = size_hw[0] * size_hw[1]
    assert areas_of(ids) == ({7: pixels} if pixels else {})
    assert areas_of(np.zeros(size_hw, np.uint32)) == {}
    for number in (7, 8):
        place = places_of(ids, [segment(number, 0)])
        assert place.shape == size_hw
        assert (place == number - 7).all()


def test_a_crop_drops_what_it_empties_and_counts_anew():
    ids, segments = street()
    left = present(ids[1:5, :5], segments)
    assert left == [segment(ROAD, 0, 0, 8), segment(CAR, 13, 0, 12)]
    assert present(ids, segments) == segments
    assert present(np.zeros_like(ids), segments) == []


def test_the_class_of_every_pixel():
    classes = semantic_of(*street())
    assert classes.dtype == np.uint8
    assert classes[0].tolist() == [255] * 8
    assert classes[4].tolist() == [0] * 5 + [11] * 3


FILES = ("the map", "the list")


def test_ids_and_segments_must_be_the_same():
    ids, segments = street()
    listed = [row["id"] for row in segments]
    require_agreement(ids, listed, FILES)
    with pytest.raises(
        SegmentsError, match="ids 26001 have 2 pixels in the map and are no segment"
    ):
        require_agreement(ids, [ROAD, CAR, CROWD], FILES)
    with pytest.raises(SegmentsError, match="segments 77, 78 of the list have no pixel in the map"):
        require_agreement(ids, [*listed, 77, 78], FILES)
    with pytest.raises(SegmentsError, match="are no segment of the list; the segments 77 of"):
        require_agreement(ids, [ROAD, CAR, SMALL, 77], FILES)
    with pytest.raises(SegmentsError, match="the list, of the map: segments: the ids 7 stand"):
        require_agreement(ids, [*listed, ROAD], FILES)
    with pytest.raises(SegmentsError, match="got 0"):
        require_agreement(ids, [*listed, 0], FILES)
