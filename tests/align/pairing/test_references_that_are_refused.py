"""References whose calls cannot be watched: refused in one line, with what to do instead."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError


@pytest.mark.parametrize("align", [align_forward, align_backward])
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: torch.jit.script(torch.nn.Linear(4, 4)), r"the reference's 0 .*Python classes"),
        (
            lambda: torch.compile(torch.nn.Linear(4, 4)),
            r"the reference's 0 \(OptimizedModule\) is compiled .* give the module that was",
        ),
        (
            lambda: torch.nn.Linear(4, 4, device="meta"),
            r"the reference's 0 .*meta device.* without",
        ),
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


def lazy():
    layers = (torch.nn.LazyConv2d(4, 3), torch.nn.LazyBatchNorm2d(), torch.nn.LazyConv2d(2, 1))
    return torch.nn.Sequential(*layers)


def test_a_lazy_net_that_was_loaded_is_judged_and_left_lazy():
    """A checkpoint gives lazy modules their weights; the first run makes them of other classes."""
    known = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1)
    )
    reference = lazy()
    reference.load_state_dict(known.state_dict())
    layers = paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4), paddle.nn.Conv2D(4, 2, 1)
    port = paddle.nn.Sequential(*layers)
    fill_port(LiveReference(reference), port)
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    for report in (
        align_weights(reference, port),
        align_forward(reference, port, [image]),
        align_backward(reference, port, [image]),
    ):
        assert report.exit_code == 0, report.verdict
        assert [type(module).__name__ for module in reference] == [
            "LazyConv2d",
            "LazyBatchNorm2d",
            "LazyConv2d",
        ]
    port[1]._epsilon = 1e-3
    assert align_forward(reference, port, [image]).exit_code == 1
    known.eval()
    reference.eval()  # and its own first run goes as it would have gone
    given = torch.from_numpy(image).float()
    assert torch.equal(reference(given), known(given))
    assert type(reference[0]) is torch.nn.Conv2d


def test_code_compiled_in_place_is_judged_as_it_is_written():
    reference = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    reference.compile(backend="eager")
    port = paddle.nn.Sequential(paddle.nn.Linear(4, 4), paddle.nn.ReLU())
    fill_port(LiveReference(reference), port)
    assert align_forward(reference, port, [np.ones((2, 4))]).exit_code == 0
    assert reference._compiled_call_impl is not None
