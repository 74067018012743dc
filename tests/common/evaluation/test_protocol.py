"""What is averaged where: scales, mirror images and windows, against the same by hand."""

import itertools

import numpy as np
import pytest

from common.errors import UserError
from common.evaluation.protocol import mean_probabilities, predict
from common.evaluation.resizing import argmax_of, resize, resized_argmax, softmax
from common.settings.run import Evaluate


class Net:
    """A net that tells left from right, and how large it sees an image."""

    def __init__(self):
        self.seen = []

    def logits(self, image):
        ramp = np.linspace(-1, 1, image.shape[3], dtype=np.float32)
        return np.stack([image[:, 0] + ramp, image[:, 1] * 2, image[:, 2] - ramp], axis=1)

    def classes(self, image, seen_hw, align_corners):
        return argmax_of(self.probabilities(image, seen_hw, align_corners))

    def probabilities(self, image, seen_hw, align_corners):
        self.seen.append(seen_hw)
        logits = self.logits(resize(image, seen_hw, align_corners))
        return softmax(resize(logits, image.shape[2:], align_corners))


def image(size=(10, 13), count=1):
    return np.random.default_rng(0).standard_normal((count, 3, *size)).astype(np.float32)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.75)])
def test_scales_and_mirror_images_are_averaged_after_the_softmax(scales, flip, corners):
    given, net = image(count=2), Net()
    parts = []
    for scale, mirrored in itertools.product(scales, (False, True)[: 1 + flip]):
        seen = (int(10 * scale), int(13 * scale))
        view = given[..., ::-1] if mirrored else given
        logits = net.logits(resize(np.ascontiguousarray(view), seen, corners))
        found = np.exp(resize(logits, (10, 13), corners).astype(np.float64))
        found /= found.sum(1, keepdims=True)
        parts.append(found[..., ::-1] if mirrored else found)
    options = Evaluate(scales=scales, flip=flip, align_corners=corners)
    got = mean_probabilities(net, given, options)
    np.testing.assert_allclose(got, np.mean(parts, axis=0), rtol=1e-5)
    assert np.array_equal(predict(net, given, options), np.mean(parts, axis=0).argmax(1))


def test_windows_slide_over_every_scale():
    given, net = image((8, 12)), Net()
    options = Evaluate(scales=(0.5, 1.5), window_hw=(4, 5), flip=True)
    got = mean_probabilities(net, given, options)
    parts = [
        resize(
            mean_probabilities(
                net, resize(given, size, False), Evaluate(window_hw=(4, 5), flip=True)
            ),
            (8, 12),
            False,
        )
        for size in ((4, 6), (12, 18))
    ]
    np.testing.assert_allclose(got, np.mean(parts, axis=0), rtol=1e-5)
    assert set(net.seen) == {(4, 5)}


def test_one_scale_asks_for_classes_alone():
    net = Net()
    found = predict(net, image(), Evaluate(scale=0.5, align_corners=True))
    assert net.seen == [(5, 6)]
    assert found.shape == (1, 10, 13)
    assert found.dtype == np.int64
    # Strips of windows, and the same as a whole.
    options = Evaluate(window_hw=(4, 5), flip=True)
    whole = argmax_of(mean_probabilities(Net(), image(), options))
    assert np.array_equal(predict(Net(), image(), options), whole)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(
    ("size", "out"), [((5, 7), (11, 29)), ((12, 9), (5, 4)), ((1, 1), (4, 5)), ((6, 8), (3, 4))]
)
def test_resizing_is_the_frameworks(size, out, corners):
    torch = pytest.importorskip("torch")
    for dtype in (np.float32, np.float64):
        given = np.random.default_rng(1).standard_normal((2, 4, *size)).astype(dtype)
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(given), size=out, mode="bilinear", align_corners=corners
        ).numpy()
        np.testing.assert_allclose(resize(given, out, corners), expected, rtol=0, atol=3e-6)
        assert np.array_equal(resized_argmax(given, out, corners), expected.argmax(1))


def test_large_maps_are_resized_in_strips():
    logits = np.random.default_rng(0).standard_normal((1, 3, 40, 50)).astype(np.float32)
    whole = argmax_of(resize(logits.astype(np.float64), (201, 99), False))
    assert (resized_argmax(logits, (201, 99), False) == whole).mean() > 0.999


def test_the_first_of_equal_scores_wins_and_nan_is_an_error():
    scores = np.random.default_rng(0).integers(0, 3, (2, 4, 5, 6)).astype(np.float32)
    assert np.array_equal(argmax_of(scores), scores.argmax(1))
    scores[0, 2, 0, 0] = np.nan
    with pytest.raises(UserError, match="NaN"):
        argmax_of(scores)
