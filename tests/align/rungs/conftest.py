"""What tests of rungs share: a pair of nets with the same weights, and its input."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def stdc1_pair():
    """STDC1-Seg on both sides with seeded weights. A test that breaks it mends it."""
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from commands.subjects.rows import seeded_pair

    return seeded_pair("stdc1_seg", seed=0)


@pytest.fixture
def stdc_input() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 64, 96))
