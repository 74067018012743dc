"""What importing a room and a run of alignment load: no framework, and nothing dear for nothing."""

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("room", ["common", "convert", "align"])
def test_importing_a_room_loads_no_framework_and_nothing_as_slow(room):
    slow = "{'torch', 'paddle', 'scipy.stats'}"
    code = f"import {room}, sys; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


# torch's compiler alone would take 70 MB and half a second.
def test_neither_torchs_compiler_nor_sympy_is_loaded():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "align" in loaded
    assert not loaded & {"sympy", "torch._dynamo", "torch._inductor"}
