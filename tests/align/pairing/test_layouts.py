"""Matrices that one side holds [in, out] and the other [out, in]: rules, shapes, products."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import ConfigError

NAME = r"^0\.weight$"


class Product(torch.nn.Module):
    """x @ weight, or with `turned` x @ weight.T, times a scale."""

    def __init__(self, size_in=4, size_out=4, turned=False):
        super().__init__()
        self.turned = turned
        shape = (size_out, size_in) if turned else (size_in, size_out)
        self.weight = torch.nn.Parameter(torch.randn(shape))
        self.bias = torch.nn.Parameter(torch.randn(size_out))

    def forward(self, x):
        return x @ (self.weight.T if self.turned else self.weight) + self.bias


class Port(paddle.nn.Layer):
    def __init__(self, turned=False):
        super().__init__()
        self.turned = turned
        self.weight, self.bias = self.create_parameter([4, 4]), self.create_parameter([4])

    def forward(self, x):
        return paddle.matmul(x, self.weight, transpose_y=self.turned) + self.bias


def linear(size_out=4):
    return paddle.nn.Sequential(paddle.nn.Linear(4, size_out))


X = np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("port", ["linear", "bare", "bare, turned"])
def test_an_alignment_sees_what_the_layers_compute(turned, port):
    def build():
        torch.manual_seed(0)
        ours = torch.nn.Sequential(Product(turned=turned))
        theirs = linear() if port == "linear" else paddle.nn.Sequential(Port("turned" in port))
        return ours, theirs

    ours, theirs = build()
    rules = None
    if port != "linear" and turned != ("turned" in port):
        rules = {"transpose": [NAME]}  # two classes of the user's: a rule says it
    fill_port(LiveReference(ours), theirs, rules)
    assert align_weights(ours, theirs, rules=rules).aligned
    assert align_forward(ours, theirs, [X], rules=rules).aligned
    assert align_backward(ours, theirs, [X], rules=rules).aligned
    weight = theirs[0].weight
    weight.set_value(weight.numpy().T.copy())
    wrong = align_forward(ours, theirs, [X], rules=rules)
    assert not wrong.aligned
    assert {d.layer for d in wrong.divergences} == {"0"}


def test_a_linear_of_torch_against_a_bare_parameter():
    torch.manual_seed(0)
    for turned in (False, True):
        ours, theirs = (
            torch.nn.Sequential(torch.nn.Linear(4, 4)),
            paddle.nn.Sequential(Port(turned)),
        )
        fill_port(LiveReference(ours), theirs)
        assert align_forward(ours, theirs, [X]).aligned
        assert align_backward(ours, theirs, [X]).aligned


def test_a_matrix_that_is_not_square_is_seen_by_its_shape():
    ours, theirs = torch.nn.Sequential(Product(4, 6)), linear(6)
    fill_port(LiveReference(ours), theirs)
    assert align_forward(ours, theirs, [X]).aligned
    assert align_backward(ours, theirs, [X]).aligned


def test_rules_hold_for_an_alignment_where_the_layer_does_not_show_it():
    class Odd(Product):
        def forward(self, x):
            return torch.tanh(super().forward(x))

    class OddPort(paddle.nn.Linear):
        def forward(self, x):
            return paddle.tanh(super().forward(x))

    torch.manual_seed(0)
    ours, theirs = torch.nn.Sequential(Odd()), paddle.nn.Sequential(OddPort(4, 4))
    fill_port(LiveReference(ours), theirs, {"keep": [NAME]})
    assert align_forward(ours, theirs, [X], rules={"keep": [NAME]}).aligned
    assert align_backward(ours, theirs, [X], rules={"keep": [NAME]}).aligned
    assert not align_weights(ours, theirs).aligned


def test_a_bfloat16_reference_fills_a_float32_port():
    ours, theirs = torch.nn.Sequential(torch.nn.Linear(4, 4)).bfloat16(), linear()
    fill_port(LiveReference(ours), theirs)
    assert np.array_equal(theirs[0].weight.numpy(), ours[0].weight.detach().float().numpy().T)


def test_a_rule_that_matches_nothing_is_an_error():
    ours, theirs = torch.nn.Sequential(torch.nn.Linear(4, 4)), linear()
    with pytest.raises(ConfigError, match="the rule keep: 'wieght' matches no tensor"):
        align_forward(ours, theirs, [X], rules={"keep": ["wieght"]})
