"""Which resizes Paddle computes exactly, against the kernel itself."""

import numpy as np
import pytest

from common.resizes import is_exact

HALF = {"mode": "bilinear", "align_corners": False}
CORNERS = {"mode": "bilinear", "align_corners": True}


@pytest.mark.parametrize(
    ("size", "settings", "exact"),
    [
        (8, {**HALF, "size": 64}, True),
        (96, {**HALF, "size": 64}, True),  # 1.5 is no power of two, and is held
        (7, {**HALF, "size": 10}, False),
        (4097, {**HALF, "size": 4096}, False),  # the ratio is held, its multiples are not
        (9, {**CORNERS, "size": 33}, True),
        (8, {**CORNERS, "size": 64}, False),
        (64, {**HALF, "scale_factor": 0.4}, True),
        (64, {**HALF, "scale_factor": 0.6}, False),
    ],
)
def test_exact_is_what_the_kernel_computes_exactly(size, settings, exact):
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    image = np.random.default_rng(0).standard_normal((1, 1, size, 5))
    if "size" in settings:
        settings = {**settings, "size": [settings["size"], 5]}
    theirs = torch.nn.functional.interpolate(torch.from_numpy(image), **settings).numpy()
    ours = paddle.nn.functional.interpolate(paddle.to_tensor(image), **settings).numpy()
    distance = np.abs(theirs - ours).max() / np.abs(theirs).max()
    assert distance < 1e-14 if exact else distance > 1e-9
    assert is_exact(image.shape[2:], theirs.shape[2:], settings) is exact


def test_what_the_call_does_not_use_does_not_count():
    assert is_exact((8, 12), (63, 95), {})
    assert is_exact((8, 12), (63, 95), {"mode": "nearest"})
    scale = {**HALF, "scale_factor": 0.6}
    assert not is_exact((8, 10), (4, 6), scale)
    assert is_exact((8, 12), (4, 6), {**scale, "recompute_scale_factor": True})
    assert is_exact((7, 11), (4, 6), {**scale, "align_corners": True})


def test_each_dimension_counts():
    assert not is_exact((8, 7), (16, 10), HALF)
    assert not is_exact((7, 8), (10, 16), HALF)
    assert not is_exact((8, 10), (16, 6), {**HALF, "scale_factor": (2.0, 0.6)})


def test_a_scale_factor_that_paddle_2_6_rounds_is_inexact():
    assert not is_exact((210,), (30,), {**HALF, "scale_factor": 1 / 7})
    assert is_exact((210,), (30,), HALF)
