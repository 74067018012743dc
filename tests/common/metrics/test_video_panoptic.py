"""Panoptic quality of tubes, and of those whose depth is right: ViP-DeepLab's numbers."""

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.metrics.video_panoptic import (
    dvpq_counts,
    mean_video_quality,
    relative_depth_error,
    video_quality,
    vpq_counts,
)

CAR, ROAD, VOID = 13000, 0, 32000


def clip(*frames):
    return np.array([[list(row)] for row in frames])


def drawn(seed, frames=6, size=(9, 11)):
    """Return truth and prediction of a clip whose segments move, with void."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((frames, *size), int)
    for _ in range(5):
        (y, x), (h, w) = rng.integers(0, size), rng.integers(2, 6, 2)
        name = int(rng.integers(0, 19)) * 1000 + int(rng.integers(0, 3))
        for t in range(frames):
            truth[t, max(y + t - 2, 0) : y + t + h, x : x + w] = name
    guess = np.roll(truth, 1, 2)
    truth[:, :2], truth[:, 2:3] = VOID, VOID + 5
    return truth, guess


def test_counts_are_those_of_the_script():
    truth, guess = drawn(0)
    depth, off = np.random.default_rng(0).integers((1000, -120), (3000, 120), (*truth.shape, 2)).T
    depth, off = depth.T, depth.T + (depth.T * off.T) // 1000
    # joe-siyuan-qiao/ViP-DeepLab, cityscapes-dvps/eval_dvpq.py (at f1c0c43): sums over the classes.
    figures = [vpq_counts(truth, guess, k).sum(0).tolist() for k in (1, 4)]
    figures.append(dvpq_counts(truth, guess, depth, off, 2, 0.1).sum(0).tolist())
    assert np.array(figures) == pytest.approx(np.array(GOLDEN), rel=1e-14)


GOLDEN = [
    [5.368339335734294, 9, 15, 14],
    [2.8780089075835846, 5, 9, 7],
    [2.686018835151713, 5, 16, 18],
]


def by_masks(truth, guess):
    """Return counts {class: (TP, FN, FP)} and the IoUs of one window, by the definition."""
    counts, ious, used = {}, [], set()
    hard, soft = truth == VOID, truth // 1000 == 32
    for own in np.unique(truth[~soft]).tolist():
        cell = counts.setdefault(own // 1000, [0, 0, 0])
        for other in np.unique(guess).tolist():
            if other // 1000 == own // 1000:
                a, b = truth == own, (guess == other) & ~hard
                iou = (a & b).sum() / (a | b).sum()
                if iou > 0.5:
                    ious.append(iou)
                    used.add(other)
                    break
        else:
            cell[1] += 1
            continue
        cell[0] += 1
    for other in np.unique(guess).tolist():
        mask = guess == other
        if other not in used and (mask & soft).sum() * 2 <= mask.sum():
            counts.setdefault(other // 1000, [0, 0, 0])[2] += 1
    return {c: tuple(map(float, row)) for c, row in counts.items()}, sorted(ious)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 3])
def test_a_window_is_matched_as_one_image(seed, k):
    truth, guess = drawn(seed, frames=k)
    found = vpq_counts(truth, guess, k)
    expected, ious = by_masks(truth, guess)
    rows = {c: tuple(row[1:]) for c, row in enumerate(found.tolist()) if any(row[1:])}
    assert rows == expected
    assert found[:, 0].sum() == pytest.approx(sum(ious), rel=1e-14)


def test_an_id_that_changes_between_frames_is_no_tube():
    truth = clip([CAR + 1, ROAD], [CAR + 1, ROAD])
    guess = clip([CAR + 1, ROAD], [CAR + 2, ROAD])
    assert vpq_counts(truth, guess, 1)[13].tolist() == [2, 2, 0, 0]
    assert vpq_counts(truth, guess, 2)[13].tolist() == [0, 0, 1, 2]
    assert vpq_counts(truth, guess, 2)[0].tolist() == [1, 1, 0, 0]


def test_pixels_of_wrong_depth_are_predicted_as_void():
    truth = clip([CAR, CAR, CAR, ROAD])
    depth = clip([10, 10, 0, 10])
    near = dvpq_counts(truth, truth, depth, clip([11, 14, 99, 10]), 1, 0.25)
    assert near[13].tolist() == [2 / 3, 1, 0, 0]  # what is not known is not looked at
    assert near[19].tolist() == [0, 0, 0, 1]
    assert (dvpq_counts(truth, truth, depth, 9 * depth, 1, 0) == vpq_counts(truth, truth, 1)).all()


def test_depths_of_16_bits_do_not_wrap_around():
    depth = np.array([10, 0, 300], np.uint16)
    assert relative_depth_error(depth, np.array([9, 5, 150], np.uint16)).tolist() == pytest.approx(
        [0.1, np.nan, 0.5], nan_ok=True
    )


def test_totals():
    counts = np.zeros((20, 4))
    counts[0], counts[13], counts[14], counts[19] = (
        [1.6, 2, 0, 0],
        [0.8, 1, 1, 1],
        [0, 0, 1, 0],
        [0, 0, 0, 9],
    )
    parts = video_quality(counts, range(11, 19))
    assert {name: row["n"] for name, row in parts.items()} == {"All": 3, "Things": 2, "Stuff": 1}
    assert parts["All"]["pq"] == pytest.approx((0.8 + 0.4 + 0) / 3, rel=1e-14)
    other = video_quality(2 * counts, range(11, 19))
    mean = mean_video_quality([parts, other])
    assert mean["Things"]["pq"] == pytest.approx(parts["Things"]["pq"], rel=1e-14)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"k": 3}, DataError, "a window of 3 frames in a clip of 2"),
        ({"pred": clip([CAR]), "threshold": 0}, DataError, r"expected a clip \[frames, H, W\]"),
        ({"pred": clip([32000, 0], [0, 0])}, DataError, r"class 32 of the prediction .* \(0..19\)"),
        ({"gt": clip([20000, 0], [0, 0])}, DataError, r"class 20 of the truth .*0..19 and 32"),
        ({"gt": clip([-1, 0], [0, 0])}, DataError, "class -1 of the truth"),
        ({"gt": clip([0.5, 0], [0, 0])}, DataError, "must be integers"),
        ({"threshold": -1}, ConfigError, "0 or more"),
        ({"depth_gt": clip([1, np.nan], [1, 1])}, DataError, "could not check"),
        ({"depth_pred": clip([1, np.inf], [1, 1])}, DataError, "could not check"),
        ({"depth_pred": clip([1, 1])}, DataError, "must be equal"),
        ({"depth_pred": clip([1], [1]), "depth_gt": clip([1], [1])}, DataError, "depth has shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, said):
    ids, depth = clip([CAR, ROAD], [CAR, ROAD]), clip([1, 1], [1, 1])
    given = {"gt": ids, "pred": ids, "depth_gt": depth, "depth_pred": depth, "k": 1}
    with pytest.raises(error, match=said):
        dvpq_counts(**{**given, "threshold": 0.1, **change})
