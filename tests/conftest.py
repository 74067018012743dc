"""What tests share: quiet frameworks on one thread, and pairs of nets with the same weights."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)


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
