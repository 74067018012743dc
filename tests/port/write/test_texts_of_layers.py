"""Layers that a table of texts makes: `eval("nn.LeakyReLU(0.1)")`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

TEXT = """
import torch
from torch import nn

ROWS = [
    ("Block", [3, "width", "nn.LeakyReLU(0.1)"]),
    ("Block", ["width", 5, "nn.ReLU(inplace=True)"]),
]


class Block(nn.Module):
    def __init__(self, c1, c2, act):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, 1)
        self.act = act

    def forward(self, x):
        return self.act(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        width, layers = 4, []
        for name, args in ROWS:
            for j, a in enumerate(args := [*args]):
                args[j] = eval(a) if isinstance(a, str) else a
            layers.append(eval(name)(*args))
        self.layers = nn.Sequential(*layers, eval("nn.Conv2d(5, 2, kernel_size=1)"))

    def forward(self, x):
        return self.layers(x)
"""


def test_a_text_that_makes_a_layer_is_a_choice_by_the_text(tmp_path):
    record, net = recorded(tmp_path, {"users_texts": TEXT})
    files, port = written(record)
    assert [str(gap) for gap in port.gaps] == []
    text = files["users_texts.py"]
    leaky = "'nn.LeakyReLU(0.1)': lambda: nn.LeakyReLU(0.1)"
    table = f"{{{leaky}, 'nn.ReLU(inplace=True)': lambda: nn.ReLU()}}"
    assert f"args[j] = ({table}.get(a, lambda: None)() or eval(a)) if" in text
    assert "*layers, nn.Conv2D(5, 2, kernel_size=1))" in text
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_text_that_computes_with_torch_stays_a_gap(tmp_path):
    text = TEXT.replace('eval("nn.Conv2d(5, 2, kernel_size=1)")', "nn.ReLU()")
    text = text.replace(
        "width, layers = 4, []", 'width, layers = int(eval("torch.ones(4).sum()")), []'
    )
    record, _ = recorded(tmp_path, {"users_sums": text})
    assert "a text of torch's" in str(written(record)[1].gaps)
