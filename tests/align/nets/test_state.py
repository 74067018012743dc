"""The state of a Paddle net is given back as often as it is asked for, to the bit."""

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from align.nets.prepare_paddle import prepared, state_kept, state_of


def values(net):
    return {
        key: (tensor.dtype, tensor.numpy().tobytes()) for key, tensor in net.state_dict().items()
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_code_writes_in_place_is_undone_every_time(dtype):
    net = paddle.nn.Linear(3, 2)
    net.register_buffer("third", paddle.full([2], 1 / 3, "float64"))  # no float32 holds it
    net.register_buffer("seen", paddle.zeros([2], "int64"))
    with prepared(net, dtype=dtype, train=False), paddle.no_grad():
        before, state = values(net), state_of(net)
        for _ in range(3):
            with state_kept(net, state):
                for tensor in (*net.parameters(), *net.buffers()):
                    tensor.add_(paddle.ones_like(tensor))
                net.later = np.ones(2)
                assert values(net) != before
            assert values(net) == before
            assert not hasattr(net, "later")
