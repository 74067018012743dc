"""What a run of alignment loads: torch's compiler alone would take 70 MB and half a second."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

RUN = """
import sys
import numpy as np, torch, paddle
before = set(sys.modules)
from align import align_backward
nets = torch.nn.Linear(3, 2), paddle.nn.Linear(3, 2)
nets[1].weight.set_value(nets[0].weight.detach().numpy().T)
nets[1].bias.set_value(nets[0].bias.detach().numpy())
assert align_backward(*nets, [np.ones((4, 3))]).aligned
print(*{name.partition(".")[0] for name in sys.modules.keys() - before})
print(*{".".join(name.split(".")[:2]) for name in sys.modules.keys() - before})
"""


def test_neither_torchs_compiler_nor_sympy_is_loaded():
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "align" in loaded
    assert not loaded & {"sympy", "torch._dynamo", "torch._inductor"}
