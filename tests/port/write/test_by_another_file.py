"""Things of torch that a file reaches by way of another one's imports are Paddle's, too."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

FILES = {
    "reaches": """from reached import blocks as b


class Net(b.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = b.Conv2d(3, 3, 1)
        self.norm = b.Norm(3)
        self.mix = b.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        if isinstance(self.mix, b.nn.Conv2d):
            x = b.torch.cat([x, self.norm(self.first(x))], dim=1)[:, 2:5]
        return b.F.interpolate(self.mix(x), scale_factor=2, mode="nearest")
""",
    "reached.blocks": "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    "from torch.nn import Conv2d\n\nNorm = nn.BatchNorm2d\n",
}


def test_what_another_file_imports_from_torch_is_paddles(tmp_path):
    record, net = recorded(tmp_path, FILES)
    files, port = written(record)
    text = files["reaches.py"]
    assert not port.gaps
    assert "class Net(nn.Layer):" in text
    assert "self.first = nn.Conv2D(3, 3, 1)" in text
    assert "self.norm = b.Norm(3)" in text  # a name of the user's
    assert "if isinstance(self.mix, nn.Conv2D):" in text
    assert "paddle.concat([x, self.norm(self.first(x))], axis=1)" in text
    np.testing.assert_allclose(*both_outputs(tmp_path, record, net), rtol=1e-5, atol=1e-6)
