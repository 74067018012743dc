"""Code that did not run: what only layers have is respelled, what syntax asks for is kept."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import recorded, written

NET = """
class Doubled:
    def __enter__(self):
        return self
    def __exit__(self, *error):
        return None
    def __call__(self, x):
        return x * 2
    def never(self):
        return None
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.twice = nn.Conv2d(3, 4, 1), Doubled()
    def freeze(self, other):
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        for p in self.parameters():
            p.requires_grad = False
        for p in other.parameters():
            p.requires_grad = True
        self.train(False)
        self.requires_grad_(False)
        return [p for p in self.conv.parameters() if p.requires_grad]
    def forward(self, x):
        if len(x) > 100:
            with self.twice as twice:
                x = twice(x)
            self.freeze(self.conv)
        return self.conv(x)
"""


def test_what_did_not_run_has_paddles_names(tmp_path):
    record, _ = recorded(tmp_path, {"unrun": HEAD + NET}, modes=("eval",))
    text = written(record)[0]["unrun.py"]
    assert "for m in self.sublayers(include_self=True):" in text
    assert "p.stop_gradient = True\n" in text
    assert "for p in weights_of(other):" in text
    assert "        self.eval()\n" in text
    assert "requires_grad_of_layer(self, False)" in text
    assert "if (not p.stop_gradient)]" in text


def test_methods_that_syntax_asks_for_are_kept(tmp_path):
    record, _ = recorded(tmp_path, {"unrun": HEAD + NET}, modes=("eval",))
    text = written(record)[0]["unrun.py"]
    assert all(f"def {name}(" in text for name in ("__enter__", "__exit__", "__call__"))
    assert "def never(" not in text
