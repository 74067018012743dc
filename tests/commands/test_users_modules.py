"""A repository whose modules are called as ours are: everyone gets their own."""

import json

import numpy as np
import pytest

from tests.nursery import as_typed, run

pytest.importorskip("torch")
pytest.importorskip("paddle")

FILES = {
    # What every side's net is made of, and what is read late.
    "common.py": "WIDTH = 6\ndef scale():\n    return 2.0\n",
    "convert.py": "GAIN = 3.0\n",
    "align/__init__.py": "from .shapes import SHAPE\n",
    "align/shapes.py": "from common import WIDTH\nSHAPE = (4, WIDTH)\n",
    "commands.py": "raise RuntimeError('nobody imports this')\n",
    "torch_ref/__init__.py": "",
    "torch_ref/net.py": """
import torch
from align import SHAPE
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(*SHAPE)
    def forward(self, x):
        import common
        from convert import GAIN
        x = torch.nn.functional.dropout(x, 0.5, self.training)
        return self.layer(x) * common.scale() * GAIN
""",
    "paddle_impl/__init__.py": "from .net import Net\n",
    "paddle_impl/net.py": """
import importlib
import paddle
from align.shapes import SHAPE
from paddle.nn.functional import dropout
class Net(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.layer = paddle.nn.Linear(*SHAPE)
    def forward(self, x):
        x = dropout(x, 0.5, training=self.training)
        return self.layer(x) * importlib.import_module("common").scale() * FACTOR
from convert import GAIN as FACTOR
""",
    "utils/__init__.py": "LR = 0.1\n",
    "models/__init__.py": "from torch_ref.net import Net as Theirs\n",
    "models/port.py": "from paddle_impl import Net as Ours\n",
    "report.py": "def loss(outputs, label):\n    return ((outputs - label) ** 2).mean()\n",
    "train.py": """
import paddle, torch
from utils import LR
from report import loss
def sgd(parameters):
    return torch.optim.SGD(parameters, lr=LR)
def paddles(parameters):
    return paddle.optimizer.SGD(LR, parameters=parameters)
""",
    "tools/__init__.py": "",
}
PAIR = ["--torch", "models:Theirs", "--paddle", "models.port:Ours"]


@pytest.fixture
def repository(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_forward_backward_and_a_step(repository):
    for tool, mode in (("align_forward", ["--train"]), ("align_backward", [])):
        given = [*PAIR, *mode, "--input-shape", 2, 4, "--report", "out"]
        done = run(tool, *given, cwd=repository)
        assert done.returncode == 0, done.stdout + done.stderr
    rng = np.random.default_rng(0)
    np.savez(repository / "batch.npz", rng.normal(size=(2, 4)), rng.normal(size=(2, 6)))
    losses = ["--torch-loss", "train:loss", "--paddle-loss", "report:loss"]
    optimizers = ["--torch-optimizer", "train:sgd", "--paddle-optimizer", "train:paddles"]
    given = [*PAIR, *losses, *optimizers, "--inputs", "batch.npz"]
    done = run("align_training", *given, cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fault_is_found_in_the_users_file(repository):
    net = repository / "paddle_impl" / "net.py"
    net.write_text(net.read_text().replace("* FACTOR", "* 3.1"))
    done = run("align_forward", *PAIR, "--input-shape", 2, 4, cwd=repository)
    assert done.returncode == 1
    assert "not aligned" in done.stdout


def test_a_module_that_is_called_as_a_room(repository):
    (repository / "torch_ref" / "__init__.py").unlink()  # a folder without one is a package, too
    given = ["--torch", "torch_ref.net:Net", "--paddle", "paddle_impl:Net"]
    done = as_typed("align_forward", *given, "--input-shape", 2, 4, "--json", cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr
    # Of what frameworks print while they load, nothing stands there.
    assert json.loads(done.stdout)[0]["stage"] == "forward"


def test_who_has_none_of_that_name_gets_ours(tmp_path):
    """A user's script may import this library."""
    (tmp_path / "common.py").write_text("")
    (tmp_path / "mine.py").write_text(
        "import align, torch\nassert align.align_forward\nNet = lambda: torch.nn.Linear(4, 6)\n"
    )
    (tmp_path / "port.py").write_text("import paddle\nNet = lambda: paddle.nn.Linear(4, 6)\n")
    given = ["--torch", "mine:Net", "--paddle", "port:Net", "--input-shape", 2, 4]
    done = run("align_forward", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
