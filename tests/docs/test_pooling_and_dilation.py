"""What docs/pooling_and_dilation.md says and shows holds in both frameworks."""

import math
import sys

import numpy as np
import pytest

from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

sys.path.append(str(ROOT / "docs"))

import draw_pooling_and_dilation as page


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def both(function, *arguments, **settings) -> list[np.ndarray]:
    return [function(side, *arguments, **settings) for side in page.SIDES]


def apart(theirs: np.ndarray, ours: np.ndarray) -> float:
    assert theirs.shape == ours.shape
    return float(np.abs(theirs - ours).max())


def test_bins_are_those_of_the_formula():
    for side in page.SIDES:
        for length, count in ((page.LENGTH, page.BINS), (7, 3), (3, 5), (128, 6)):
            weights = page.bins_of(side, length, count)
            for i, row in enumerate(weights):
                first, end = i * length // count, math.ceil((i + 1) * length / count)
                assert np.flatnonzero(row).tolist() == list(range(first, end))
                assert row.sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pooling_of_every_size(kind):
    for length in range(1, 25):
        image = noise(1, 2, length, length + 1)
        for count in range(1, 25):
            assert apart(*both(page.pooled, image, (count, count), kind)) < 1e-15


def test_pyramid_in_the_picture():
    for grid in page.GRIDS:
        assert apart(*both(page.pooled, page.street(), (grid, grid))) < 1e-13


def test_dilated_convolution():
    for kernel in (1, 3, 5):
        weight = noise(3, 2, kernel, kernel)
        for dilation in range(1, 7):
            for settings in (
                {"stride": 1, "padding": dilation * (kernel - 1) // 2},
                {"stride": 2, "padding": dilation},
            ):
                image = noise(1, 2, 25, 26)
                theirs, ours = both(page.convolved, image, weight, dilation=dilation, **settings)
                assert apart(theirs, ours) < 1e-15 * np.abs(theirs).max()
                if settings["stride"] == 1:
                    assert ours.shape[2:] == image.shape[2:]


def test_stencils_in_the_pictures():
    for dilation in page.DILATIONS:
        theirs, ours = both(page.stencil, (dilation,))
        assert apart(theirs, ours) == 0
        reached = np.argwhere(ours > 0) - 10
        assert set(np.unique(reached)) == {-dilation, 0, dilation}
    for stack in ((1, 1, 1), (2, 2, 2), (1, 2, 5)):
        assert apart(*both(page.stencil, stack)) == 0
    dense = page.stencil("Paddle", (1, 2, 5))[2:19, 2:19]
    assert (dense > 0).all()
    assert (page.stencil("Paddle", (2, 2, 2))[4:17, 4:17] > 0).mean() < 0.3


def test_same_padding_ignores_dilation_in_paddle():
    theirs, ours = both(page.stencil, (2,), same=True)
    assert apart(theirs, page.stencil("torch", (2,))) == 0
    assert apart(ours, page.stencil("torch", (1,))) == 0
    for kernel in (2, 3, 4):
        settings = {"image": noise(1, 1, 9, 9), "weight": noise(1, 1, kernel, kernel)}
        plain = page.convolved("torch", **settings, padding="same")
        assert apart(plain, page.convolved("Paddle", **settings, padding="SAME")) < 1e-14
    strided = {"image": noise(1, 1, 9, 9), "weight": noise(1, 1, 3, 3), "stride": 2}
    with pytest.raises(RuntimeError, match="strided"):
        page.convolved("torch", **strided, padding="same")
    assert page.convolved("Paddle", **strided, padding="SAME").shape == (1, 1, 5, 5)


@pytest.mark.parametrize("name", page.DRAWINGS)
def test_picture_is_committed_and_small(name):
    assert 1_000 < (page.PICTURES / name).stat().st_size < 100_000
