"""References whose calls cannot be watched: refused in one line, with what to do instead."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward
from common.errors import UserError


@pytest.mark.parametrize("align", [align_forward, align_backward])
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: torch.jit.script(torch.nn.Linear(4, 4)), r"the reference's 0 .*Python classes"),
        (lambda: torch.nn.LazyLinear(4), r"the reference's 0 \(LazyLinear\).* run the net once"),
    ],
)
def test_refused_in_words(layer, words, align):
    reference = torch.nn.Sequential(layer(), torch.nn.ReLU())
    port = paddle.nn.Sequential(paddle.nn.Linear(4, 4), paddle.nn.ReLU())
    with pytest.raises(UserError, match=words):
        align(reference, port, [np.ones((2, 4))])
    assert torch.get_default_dtype() == torch.float32
    assert paddle.get_default_dtype() == "float32"
