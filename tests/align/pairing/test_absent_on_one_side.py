"""Tensors that one side alone has, said by a rules file: aligned on every rung."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import ConversionError


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.old = tnn.Linear(3, 2), tnn.Linear(2, 2)
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.fc(x)


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.fc, self.gain = pnn.Linear(3, 2), pnn.Linear(2, 2)
        self.register_buffer("count", paddle.zeros([1]))

    def forward(self, x):
        return self.fc(x)


RULES = {
    "absent": [{"match": "^(gain|count)", "reason": "an adapter that is not trained yet"}],
    "drops": [{"match": "^(old|seen)", "reason": "used by the reference's logging only"}],
}
RUNGS = {
    "weights": lambda *nets: align_weights(*nets, rules=RULES),
    "forward": lambda *nets: align_forward(*nets, [np.ones((4, 3))], train=True, rules=RULES),
    "backward": lambda *nets: align_backward(*nets, [np.ones((4, 3))], rules=RULES),
}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("wrong", [False, True])
def test_what_the_rules_excuse_is_no_finding_and_all_else_is(rung, wrong):
    theirs, ours = Reference(), Port()
    fill_port(LiveReference(theirs), ours, RULES)
    if wrong:
        ours.fc.weight.set_value(ours.fc.weight * 1.5)
    report = RUNGS[rung](theirs, ours)
    assert report.exit_code == int(wrong), report.verdict
    assert {divergence.layer for divergence in report.divergences} == ({"fc"} if wrong else set())


def test_without_the_rules_they_are_an_error():
    with pytest.raises(ConversionError, match="gain"):
        fill_port(LiveReference(Reference()), Port())
