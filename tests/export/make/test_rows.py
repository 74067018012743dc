"""Every row of the table that segments is exported and equal; traps of Paddle have a test each."""

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")

from common.pairs import PAIRS
from export.make.job_paddle import export_net
from export.make.onnx_paddle import is_possible
from export.make.resizes_paddle import exact_resizes
from tests.export.small import small_subject
from tests.paths import ROOT

FORMATS = ("paddle", "onnx") if is_possible() else ("paddle",)
ROWS = [name for name, pair in PAIRS.items() if pair.task == "semantic"]
# PSPNet pools to windows of unequal size, which went wrong silently; GloRe sums across a transpose,
# and a graph with that was refused.
TRAPS = ("pspnet50", "glore_r50")
F = paddle.nn.functional
pytestmark = pytest.mark.timeout(1200)  # s: the deepest rows, on a machine with other work


def config_of(row):
    name = row.removesuffix("_seg")
    return f"{name}_toy" if (ROOT / f"configs/{name}_toy.yml").is_file() else name


@pytest.mark.parametrize(
    "row", [row if row in TRAPS else pytest.param(row, marks=pytest.mark.prove) for row in ROWS]
)
def test_a_row_is_exported(row, tmp_path):
    subject = small_subject(tmp_path, config_of(row))
    size = (
        {"height": 65, "width": 97} if subject.size_step == (8, 1) else {"height": 64, "width": 96}
    )
    account = export_net(subject.build, subject.deployment(**size), tmp_path / "out", FORMATS)
    assert account["equal"], account["differences"]
    assert account["batch_norms"]["fold_error"] < 1e-9


def test_resizes_of_large_maps_are_exported(tmp_path, monkeypatch):
    """Without the layout of a convolution: a product for each channel."""
    monkeypatch.setattr("export.make.resizes_paddle.LARGE", 0)
    subject = small_subject(tmp_path, "unet_bilinear_toy")
    deployment = subject.deployment(height=64, width=96)
    account = export_net(subject.build, deployment, tmp_path / "out", FORMATS)
    assert account["equal"], account["differences"]


@pytest.mark.prove
@pytest.mark.parametrize("row", [row for row in ROWS if not row.startswith("pspnet")])
def test_a_row_is_exported_for_free_sizes(row, tmp_path):
    subject = small_subject(tmp_path, config_of(row))
    free = subject.deployment(height=None, width=None)
    account = export_net(subject.build, free, tmp_path / "out", FORMATS)
    assert account["equal"], account["differences"]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.interpolate(x, [13, 9], mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, [3, 9], mode="bilinear"),
        lambda x: F.interpolate(x, [896, 704], mode="bilinear"),  # large
        lambda x: F.interpolate(x, scale_factor=2.5, mode="bilinear"),
        lambda x: F.interpolate(x, [13, 9], mode="nearest"),
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
        lambda x: F.interpolate(x, [9, 9], mode="bicubic"),
        lambda x: F.adaptive_avg_pool2d(x, [3, 4]),
        lambda x: F.adaptive_avg_pool2d(x, 6),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.avg_pool2d(x, x.shape[2:]),
        lambda x: F.avg_pool2d(x, 2, stride=1),
        lambda x: F.conv1d(x.flatten(2), WEIGHT, BIAS),
        lambda x: F.conv1d(x.flatten(2), WEIGHT, BIAS, stride=2),
    ],
)
def test_what_stands_for_a_function_computes_the_same(call):
    """In float64: Paddle's own bilinear resize holds its ratio in float32."""
    image = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 7, 11)))
    expected = call(image).numpy()
    with exact_resizes():
        given = call(image).numpy()
    assert given.shape == expected.shape
    assert np.abs(given - expected).max() < 3e-6
    assert call(image).numpy().tobytes() == expected.tobytes()  # Paddle's own are back


WEIGHT = paddle.to_tensor(np.random.default_rng(1).standard_normal((5, 3, 1)))
BIAS = paddle.to_tensor(np.random.default_rng(2).standard_normal(5))
