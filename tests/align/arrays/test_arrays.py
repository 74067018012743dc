"""Tensors cross as arrays with their values, whatever their strides."""

import weakref

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from align.arrays.arrays_paddle import shared, to_array, to_tensor


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.transpose([0, 2, 1]),
        lambda x: x[:, 1:, ::2],
        lambda x: x.sum(),
        lambda x: x[:0],
        lambda x: x > 0,
        lambda x: x.astype("int32"),
    ],
    ids=["whole", "transposed", "sliced", "0-d", "empty", "bool", "int"],
)
def test_values_survive(view):
    tensor = view(to_tensor(np.random.default_rng(0).standard_normal((2, 3, 4))))
    array = to_array(tensor)
    assert array.dtype.name == str(tensor.dtype).removeprefix("paddle.")
    np.testing.assert_array_equal(array, tensor.numpy())


def test_array_outlives_its_tensor():
    tensor = to_tensor(np.ones((4, 5)))
    array = to_array(tensor)
    del tensor
    to_tensor(np.zeros((4, 5)))
    assert (array == 1).all()


def test_memory_that_paddle_has_twice_is_let_go():
    array = np.ones((3, 4))
    alive = weakref.ref(array)
    tensors = [shared(array), shared(array)]
    assert all((tensor.numpy() == 1.0).all() for tensor in tensors)
    del array, tensors
    assert alive() is None
