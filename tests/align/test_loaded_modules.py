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
    code = f"import sys; from {room} import *; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_process_that_watches_another_loads_nothing_slow():
    """Every command with nets is two processes, and the outer one should cost nothing."""
    code = (
        "import sys, commands.guard, align.nets.progress, align\n"
        "slow = {'numpy', 'pydantic', 'rich', 'scipy', 'yaml', 'torch', 'paddle'}\n"
        "print(slow & set(sys.modules), 'align_forward' in dir(align), hasattr(align, 'no_such'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["set()", "True", "False"], done.stderr


# torch's compiler alone would take 70 MB and half a second.
def test_neither_torchs_compiler_nor_sympy_is_loaded():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "align" in loaded
    assert not loaded & {"sympy", "torch._dynamo", "torch._inductor"}
