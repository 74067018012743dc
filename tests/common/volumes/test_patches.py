"""Patches of a grid, mirrored borders, and what normalises and augments them."""

import numpy as np
import pytest
from scipy import ndimage

from common.errors import DataError
from common.volumes.augment import VolumeAugmentation, normal, poisson
from common.volumes.normalise import VolumeNormalisation
from common.volumes.patches import (
    Mirrored,
    corners,
    require_patch_fits,
    starts,
    without_halo,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_last_patch_lies_at_the_border():
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 9) == [0]
    # wolny/pytorch-3dunet at a33e2c7, SliceBuilder._build_slices of [6, 5, 4].
    assert list(corners((6, 5, 4), (4, 4, 4), (3, 2, 1))) == [
        *((0, 0, 0), (0, 1, 0), (2, 0, 0), (2, 1, 0))
    ]


def test_every_voxel_is_in_a_patch(rng):
    for _ in range(20):
        patch = tuple(int(side) for side in rng.integers(1, 6, 3))
        shape = tuple(
            side + int(more) for side, more in zip(patch, rng.integers(0, 9, 3), strict=True)
        )
        stride = tuple(int(rng.integers(1, side + 1)) for side in patch)
        seen = np.zeros(shape, bool)
        for z, y, x in corners(shape, patch, stride):
            seen[z : z + patch[0], y : y + patch[1], x : x + patch[2]] = True
        assert seen.all()


def test_mirrored_patches_are_those_of_a_padded_volume(rng):
    volume, halo, patch = rng.random((2, 7, 9, 8)), (3, 4, 2), (4, 3, 5)
    padded = np.pad(volume, [(0, 0), *((side, side) for side in halo)], mode="reflect")
    mirrored = Mirrored(volume, halo)
    for corner in corners(volume.shape[1:], patch, (2, 2, 2)):
        z, y, x = (slice(c, c + p + 2 * h) for c, p, h in zip(corner, patch, halo, strict=True))
        np.testing.assert_array_equal(mirrored.patch(corner, patch), padded[:, z, y, x])
    np.testing.assert_array_equal(without_halo(padded, halo), volume)
    np.testing.assert_array_equal(without_halo(volume, (0, 0, 0)), volume)


def test_what_cannot_be_cut_or_mirrored():
    with pytest.raises(DataError, match=r"its height is 3, and patches are .*at most \[2, 3, 4\]"):
        require_patch_fits((9, 3, 9), (2, 4, 4), "cells.h5", "data.patch_shape")
    with pytest.raises(DataError, match=r"its depth is 3, .* halo of 3"):
        Mirrored(np.zeros((1, 3, 9, 9)), (3, 0, 0))


def test_normalisations_against_their_formulas(rng):
    two = rng.integers(0, 200, (2, 4, 5, 6)).astype(np.uint16) * np.uint16(300)
    wide = two.astype(np.float64)
    of_channel = {"axis": (1, 2, 3), "keepdims": True}
    cases = [
        ({}, (wide - wide.mean()) / wide.std()),
        (
            {"channelwise": True},
            (wide - wide.mean(**of_channel)) / wide.std(**of_channel),
        ),
        ({"mean": 10.0, "std": 4.0}, (wide - 10) / 4),
        ({"method": "min_max"}, 2 * (wide - wide.min()) / np.ptp(wide) - 1),
        ({"method": "min_max", "low": 0.0, "high": 300.0}, np.clip(wide / 150 - 1, -1, 1)),
        (
            {"method": "percentile"},
            (wide - np.percentile(wide, 1)) / (np.percentile(wide, 99.6) - np.percentile(wide, 1)),
        ),
        ({"method": "none"}, wide),
    ]
    for options, expected in cases:
        found = VolumeNormalisation(**options)(two)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)
    flat = VolumeNormalisation()(np.full((1, 2, 2, 2), 7))
    np.testing.assert_array_equal(flat, 0)


def marked(shape=(6, 8, 8)):
    """A label whose raw volume is the label: what moves them apart is seen."""
    label = np.arange(np.prod(shape)).reshape(shape).astype(np.int64)
    return label[None].astype(np.float32), label


@pytest.mark.parametrize(
    "options",
    [
        {"flip": 0.5},
        {"rotate90": True},
        {"degrees": 30},
        {"degrees": 30, "planes": ((1, 0), (2, 0))},
    ],
)
def test_raw_and_label_move_together(options):
    raw, label = marked()
    augment, seen = VolumeAugmentation(**options), set()
    for seed in range(8):
        found, moved = augment(raw, label, np.random.default_rng(seed))
        np.testing.assert_array_equal(found[0], moved)
        masks = augment(raw, np.stack([label, label]), np.random.default_rng(seed))[1]
        np.testing.assert_array_equal(masks, [moved, moved])
        seen.add(moved.tobytes())
    assert len(seen) > 2


def test_elastic_deformation_of_smooth_raw_follows_the_label():
    z, y, x = np.indices((8, 20, 20))
    raw, label = (x / 2.0 + y)[None].astype(np.float32), x + 2 * y
    augment = VolumeAugmentation(elastic=1.0, elastic_alpha=60.0, elastic_sigma=6.0)
    found, moved = augment(raw, label, np.random.default_rng(3))
    assert not np.array_equal(moved, label)
    inner = (slice(None), slice(5, -5), slice(5, -5))
    assert np.abs(2 * found[0][inner] - moved[inner]).max() < 3.1  # nearest: half a voxel each
    still = VolumeAugmentation(elastic=1.0, elastic_alpha=60.0, elastic_depth=False)
    deep, same = still(z[None].astype(np.float32), z, np.random.default_rng(0))
    np.testing.assert_array_equal(same, z)
    np.testing.assert_allclose(deep[0], z, atol=1e-5)


def test_noise_and_blur_change_raw_alone():
    raw, label = marked()
    for options in ({"gaussian_noise": 1.0}, {"poisson_noise": 1.0}, {"blur": 1.0}):
        found, same = VolumeAugmentation(**options)(raw, label, np.random.default_rng(0))
        assert found.dtype == np.float32
        assert not np.array_equal(found, raw)
        np.testing.assert_array_equal(same, label)
    rng = np.random.default_rng(0)
    sigma = 0.1 + 1.9 * [rng.random(), rng.random()][1]
    np.testing.assert_allclose(found[0], ndimage.gaussian_filter(raw[0], sigma, mode="nearest"))


def test_draws_have_their_distributions():
    draws = normal(np.random.default_rng(0), (40000,))
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02
    assert abs((np.abs(draws) < 1).mean() - 0.6827) < 0.01
    counts = poisson(np.random.default_rng(0), 0.7, (40000,))
    assert abs(counts.mean() - 0.7) < 0.02
    assert abs(counts.var() - 0.7) < 0.03
    assert not poisson(np.random.default_rng(0), 0.0, (100,)).any()


def test_nothing_asked_is_nothing_done():
    raw, label = marked()
    found, same = VolumeAugmentation()(raw, label, np.random.default_rng(0))
    np.testing.assert_array_equal(found, raw)
    np.testing.assert_array_equal(same, label)
