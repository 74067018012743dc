"""First weights drawn into parts of a tensor: Paddle 2.6's `set_value` writes beside them."""

import pytest

paddle = pytest.importorskip("paddle")

from port.helpers import first_weights_paddle as first

PARTS = {
    "turned": lambda w: w.t(),
    "rows of a turned one": lambda w: w.t()[:2],
    "columns": lambda w: w[:, :2],
    "each second row": lambda w: w[::2],
}
FILLED = {
    "a number": lambda part: first.constant_(part, 7.0),
    "normal": lambda part: first.normal_(part, 7.0, 0.1),
    "uniform": lambda part: first.uniform_(part, 6.0, 8.0),
    "cut": lambda part: first.trunc_normal_(part, 7.0, 0.1, 6.0, 8.0),
}


@pytest.mark.parametrize("filled", FILLED)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_filled_and_nothing_beside_it(part, filled):
    weight = paddle.nn.Linear(3, 4).weight
    first.constant_(weight, 0.0)
    FILLED[filled](PARTS[part](weight))
    marks = paddle.zeros([3, 4])
    PARTS[part](marks).fill_(1.0)
    assert ((weight.numpy() > 5) == (marks.numpy() == 1)).all()
    assert not weight.stop_gradient


def test_a_matrix_is_orthogonal_in_its_part():
    weight = paddle.nn.Linear(6, 4).weight
    first.constant_(weight, 0.0)
    part = first.orthogonal_(weight[1:4, ::2])
    assert float((paddle.matmul(part.t(), part) - paddle.eye(2)).abs().max()) < 1e-5
    assert float(weight[0].abs().max()) == float(weight[:, 1].abs().max()) == 0
