"""Whole numbers of the reference's stand in for the port's in the port's own dtype."""

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from align.force.framework_paddle import PaddleFramework


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_places_of_a_pool_keep_the_ports_dtype(dtype):
    places = np.arange(4, dtype="int64")
    leaf = PaddleFramework(True).leaf(places, paddle.zeros([4], dtype=dtype))
    assert leaf.dtype == getattr(paddle, dtype)
    assert leaf.numpy().tolist() == [0, 1, 2, 3]
    assert PaddleFramework(True).leaf(places, None).dtype == paddle.int64
