"""Lines of source lead to the user's code, never into a framework's containers."""

import numpy as np
import pytest

from align.report.report import Report
from align.report.run import Run
from align.report.sources import is_container, is_library, short_source, users_line


@pytest.mark.parametrize(
    ("source", "library", "container"),
    [
        ("/x/site-packages/torch/nn/modules/container.py:237", True, True),
        ("/x/site-packages/torch/nn/modules/module.py:380", True, True),
        ("/x/dist-packages/paddle/nn/layer/container.py:81", True, True),
        ("/x/site-packages/paddle/nn/layer/layers.py:1500", True, True),
        ("/x/site-packages/torch/nn/modules/conv.py:552", True, False),
        ("torch.nn.modules.container.Sequential", True, True),
        ("/x/site-packages/torchvision/models/resnet.py:140", False, False),  # somebody's net
        ("/x/container.py:3", False, False),
        ("torch_ref/models/unet.py:7", False, False),
    ],
)
def test_what_is_a_frameworks_own(source, library, container):
    assert is_library(source) == library
    assert is_container(source) == container


def test_the_closest_code_of_the_user_is_found():
    torch = "/x/site-packages/torch/nn/modules/"
    sources = {
        "": "net.py:1",
        "body": "block.py:5",
        "body.0": f"{torch}container.py:237",
        "body.0.1": f"{torch}conv.py:552",
    }
    assert users_line("body.0.1", sources.get) == ("body", "block.py:5")
    assert users_line("body", sources.get) == ("body", "block.py:5")
    assert users_line("lost.0", sources.get) == ("", "net.py:1")
    assert users_line("a", {"a": "torch.nn.Conv2d"}.get) is None
    assert short_source(f"{torch}conv.py:552") == "torch/nn/modules/conv.py:552"


def test_sources_of_a_report_are_the_users_lines():
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")
    from align import align_forward

    class Reference(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Sequential(torch.nn.LeakyReLU(0.1)))

        def forward(self, x):
            return self.body(x)

    class Port(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.body = paddle.nn.Sequential(paddle.nn.Sequential(paddle.nn.LeakyReLU(0.2)))

        def forward(self, x):
            return self.body(x)

    report: Report = align_forward(Reference(), Port(), [np.linspace(-1, 1, 6).reshape(2, 3)])
    assert report.exit_code == 1
    ours, theirs = Port.forward.__code__, Reference.forward.__code__
    for found in Run.of(report).to_dict()["reports"][0]["divergences"]:
        assert found["layer"] == "body.0.0"
        assert found["paddle_source"].endswith(f"test_sources.py:{ours.co_firstlineno}")
        assert found["torch_source"].endswith(f"test_sources.py:{theirs.co_firstlineno}")
    for path in ("body", "body.0"):
        layer = report.layers[path]
        assert "test_sources.py" in layer.paddle_source
        assert "test_sources.py" in layer.torch_source
    assert "activation.py" in report.layers["body.0.0"].paddle_source  # what it runs itself
