"""Targets of Panoptic-DeepLab: the numbers that both authors' code gives, and a plain reading."""

import numpy as np
import pytest

from common.errors import ConfigError, SegmentsError
from common.panoptic.targets import panoptic_deeplab_targets
from tests.common.panoptic.scenes import CAR, CROWD, ROAD, SMALL, THINGS, blocks, segment, street

OPTIONS = {
    "sigma": 1,
    "ignore_stuff_in_offset": True,
    "small_instance_area": 4,
    "small_instance_weight": 3,
}
# What bowenc0221/panoptic-deeplab (cf8e20b) gives for `street` with these options, run on NumPy 2.
CENTER_ROW_2 = [
    *(0.13533528, 0.60653067, 1.0, 0.60653067, 0.13533528),
    *(0.60653067, 1.0, 0.60653067),
]
# detectron2 (02b5c4e) rounds: 2.5 to 2 and 6.5 to 6, but 4.5 to 4 (an even number), so here the
# crowd's centre (4.5, 6.0) is the same.
POINTS = [[4.5, 6.0], [2.0, 2.5], [2.0, 6.5]]


def targets(scene=None, centre_rounding="int", **options):
    ids, segments = scene or street()
    return panoptic_deeplab_targets(
        ids, segments, THINGS, centre_rounding=centre_rounding, **{**OPTIONS, **options}
    )


def test_the_numbers_of_the_authors():
    made = targets()
    assert made["center_points"] == POINTS
    np.testing.assert_allclose(made["center"][0, 2], CENTER_ROW_2, atol=1e-7)
    assert made["offset"][:, 2].tolist() == [
        [0.0] * 8,
        [0.0, 1.5, 0.5, -0.5, -1.5, 0.0, 0.5, -0.5],
    ]
    assert made["semantic"][2].tolist() == [0, 13, 13, 13, 13, 0, 13, 13]
    assert made["semantic_weights"][2].tolist() == [1, 1, 1, 1, 1, 1, 3, 3]
    assert made["offset_weights"].sum() == 12 + 2
    assert made["center_weights"].sum() == 48 - 8 - 6
    kinds = {
        name: (array.dtype.name, array.shape)
        for name, array in made.items()
        if name != "center_points"
    }
    assert kinds == {
        "semantic": ("int64", (6, 8)),
        "semantic_weights": ("float32", (6, 8)),
        "center": ("float32", (1, 6, 8)),
        "center_weights": ("float32", (6, 8)),
        "offset": ("float32", (2, 6, 8)),
        "offset_weights": ("float32", (6, 8)),
    }


def test_crowds_have_centres_and_offsets_but_no_weight():
    made, ids = targets(), street()[0]
    there = ids == CROWD
    assert made["center"][0, 4, 6] == 1
    assert made["offset"][0][there].tolist() == [0.5] * 3 + [-0.5] * 3
    assert made["center_weights"][there].max() == made["offset_weights"][there].max() == 0
    assert set(made["semantic"][there].tolist()) == {11}
    ignored = targets(ignore_crowd_in_semantic=True)["semantic"]
    assert set(ignored[there].tolist()) == {255}
    assert (ignored[~there] == made["semantic"][~there]).all()


def plain(ids, segments, things, how, sigma):
    """Return the targets pixel by pixel, with the authors' defaults."""
    height, width = ids.shape
    heat, offset = np.zeros((height, width)), np.zeros((2, height, width))
    semantic, counts = np.full(ids.shape, 255), np.zeros(ids.shape)
    for row in segments:
        pixels = [(y, x) for y in range(height) for x in range(width) if ids[y, x] == row["id"]]
        for place in pixels:
            semantic[place] = row["category_id"]
            counts[place] = not row["iscrowd"]
        if not pixels or row["category_id"] not in things:
            continue
        middle = [sum(place[axis] for place in pixels) / len(pixels) for axis in (0, 1)]
        for y, x in pixels:
            offset[:, y, x] = middle[0] - y, middle[1] - x
        cy, cx = (int(m) if how == "int" else round(m) for m in middle)
        for y in range(max(cy - 3 * sigma - 1, 0), min(cy + 3 * sigma + 2, height)):
            for x in range(max(cx - 3 * sigma - 1, 0), min(cx + 3 * sigma + 2, width)):
                value = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                heat[y, x] = max(heat[y, x], value)
    return semantic, heat, offset, counts


@pytest.mark.parametrize("how", ["int", "round"])
@pytest.mark.parametrize(("seed", "most"), [(0, 1 << 24), (1, 40000)])
def test_a_plain_reading_gives_the_same(how, seed, most):
    ids, segments = blocks(seed, (21, 26), most=most)
    made = panoptic_deeplab_targets(ids, segments, THINGS, centre_rounding=how, sigma=2)
    semantic, heat, offset, counts = plain(ids, segments, THINGS, how, 2)
    assert (made["semantic"] == semantic).all()
    np.testing.assert_allclose(made["center"][0], heat, atol=1e-7)
    np.testing.assert_allclose(made["offset"], offset, atol=1e-5)
    assert (made["center_weights"] == counts).all()
    assert (made["offset_weights"] == counts).all()


def test_the_two_versions_differ_in_the_pixel_of_a_centre():
    ids = np.full((1, 4), 5, np.uint32)  # its middle is at 1.5
    scene = ids, [segment(5, 13)]
    cut, rounded = (targets(scene, how)["center"][0, 0] for how in ("int", "round"))
    assert (cut.argmax(), rounded.argmax()) == (1, 2)


def test_segments_without_pixels_do_not_count():
    ids, segments = street()
    more = [segment(99, 13), *segments, segment(100, 0)]
    for name, array in targets((ids, more)).items():
        assert np.array_equal(array, targets()[name]), name
    empty = targets((np.zeros((2, 3), np.uint32), []))
    assert empty["center_points"] == []
    assert set(empty["semantic"].ravel().tolist()) == {255}
    assert not empty["center"].any()


def test_things_as_a_truth_value_for_every_class():
    ids, segments = street()
    flags = np.isin(np.arange(19), THINGS)
    for things in (flags, flags.tolist(), frozenset(THINGS)):
        made = panoptic_deeplab_targets(ids, segments, things, centre_rounding="int", **OPTIONS)
        assert all(np.array_equal(made[name], array) for name, array in targets().items())


@pytest.mark.parametrize(
    ("rows", "options", "error", "said"),
    [
        ([], {"centre_rounding": "floor"}, ConfigError, "int or round .*'floor'"),
        ([], {"sigma": 0}, ConfigError, "at least 1"),
        ([segment(ROAD, 0), segment(ROAD, 1)], {}, SegmentsError, "ids 7 stand there twice"),
        ([segment(0, 3)], {}, SegmentsError, "expected ids 1..16777215 .* got 0"),
        ([segment(2**63, 3)], {}, SegmentsError, f"expected ids 1..16777215 .* got {2**63}"),
        ([segment(1 << 24, 3)], {}, SegmentsError, "got 16777216"),
        ([segment(CAR, 255)], {}, SegmentsError, "category_id 0..254, .*got 255"),
        ([segment(CAR, 2**70)], {}, SegmentsError, f"category_id 0..254, .*got {2**70}"),
        ([segment(SMALL, -1)], {}, SegmentsError, "got -1"),
    ],
)
def test_what_is_no_list_of_segments_is_refused(rows, options, error, said):
    with pytest.raises(error, match=said):
        targets((street()[0], rows), **options)
