"""Sliding windows against a plain loop over pixels."""

import numpy as np
import pytest

from common.evaluation.sliding import sliding_rows, windows


def test_windows_are_semsegs():
    """hszhao/semseg, tool/test.py, scale_process: 1024 x 2048, crop 713, stride ceil(2/3)."""
    found = windows((1024, 2048), (713, 713), 2 / 3)
    assert [rows.start for rows, _ in found[::4]] == [0, 311]
    assert [columns.start for _, columns in found[:4]] == [0, 476, 952, 1335]
    assert windows((713, 713), (713, 713), 2 / 3) == [(slice(0, 713), slice(0, 713))]


@pytest.mark.parametrize(
    ("size", "window"), [((9, 14), (5, 6)), ((4, 5), (9, 8)), ((9, 5), (9, 8)), ((23, 7), (4, 5))]
)
@pytest.mark.parametrize("stride", [2 / 3, 0.4, 1.0])
def test_probabilities_are_means_over_windows(size, window, stride):
    image = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)

    def probabilities(part):  # of a window: depends on where in it a pixel is
        assert part.shape[2:] == window
        ramp = np.arange(window[0] * window[1]).reshape(window)
        return np.stack([part[:, 0] + ramp, part[:, 1] * 2], axis=1)

    strips = list(sliding_rows(probabilities, image, window, stride))
    top, left = (max(w - s, 0) // 2 for s, w in zip(size, window, strict=True))
    height, width = (max(pair) for pair in zip(size, window, strict=True))
    padded = np.zeros((2, 3, height, width), np.float32)
    padded[:, :, top : top + size[0], left : left + size[1]] = image
    total, count = np.zeros((2, 2, height, width)), np.zeros((height, width))
    for rows, columns in windows((height, width), window, stride):
        total[..., rows, columns] += probabilities(padded[..., rows, columns])
        count[rows, columns] += 1
    expected = (total / count)[..., top : top + size[0], left : left + size[1]]
    np.testing.assert_allclose(np.concatenate(strips, 2), expected, rtol=1e-5)
    assert max(strip.shape[2] for strip in strips) <= window[0]  # what is in memory
