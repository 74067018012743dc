"""What rounding explains is equal, and nothing else."""

import numpy as np
import pytest

from export.make.compare import allowed_share, compare, margins, undecided_share

RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((1, 5, 8, 9))
TRAINING = (TRUTH + 1e-6 * RNG.standard_normal(TRUTH.shape)).astype(np.float32)


@pytest.mark.parametrize(("off", "equal"), [(2e-6, True), (1e-3, False)])
def test_logits(off, equal):
    given = (TRUTH + off).astype(np.float32)
    found = compare("paddle", "noise", given, TRUTH, TRAINING, "logits")
    assert found.equal is equal
    assert found.error == pytest.approx(off / np.abs(TRUTH).max(), rel=0.1)


def test_what_is_not_finite_or_of_another_shape_is_never_equal():
    for given in (np.full(TRUTH.shape, np.nan, np.float32), TRUTH[..., 1:]):
        assert not compare("paddle", "noise", given, TRUTH, TRAINING, "logits").equal


def test_classes_differ_only_where_two_are_as_good():
    near = TRUTH.copy()
    near[0, :2, 0, 0] = 9, 9 - 1e-7
    classes = near.argmax(1)
    classes[0, 0, 0] = 1
    found = compare("paddle", "noise", classes, near, near.astype(np.float32), "argmax")
    assert (found.equal, found.classes_differ, found.unexplained) == (True, 1, 0)
    classes[0, 3, 3] = (classes[0, 3, 3] + 1) % 5
    found = compare("paddle", "noise", classes, near, near.astype(np.float32), "argmax")
    assert (found.equal, found.unexplained) == (False, 1)
    assert margins(near)[0, 0, 0] == pytest.approx(1e-7)


def test_what_rounding_explains_is_known_before_anything_is_compared():
    noisy = (TRUTH * (1 + 1e-3)).astype(np.float32)
    assert allowed_share(TRUTH, TRAINING, "logits") < 1e-4
    assert allowed_share(TRUTH, noisy, "logits") == pytest.approx(1e-2, rel=0.1)
    steep = TRUTH * 20  # softmax makes more of the same rounding
    off = steep + 1e-3 * np.random.default_rng(1).standard_normal(TRUTH.shape)
    assert allowed_share(steep, off, "logits") < 1e-3 < allowed_share(steep, off, "softmax")
    far = TRUTH + 1e7  # all classes are as good as another
    assert undecided_share(TRUTH, TRAINING) < 0.1 < 0.9 < undecided_share(far, far)
