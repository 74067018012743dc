"""`tools/benchmark.py`: one table of all ways, and what it counts."""

import json

import pytest

paddle = pytest.importorskip("paddle")

from commands.deploy.measure.eager_paddle import macs, parameters
from tests.nursery import run
from tests.paths import ROOT


def test_products_and_parameters_are_counted():
    net = paddle.nn.Sequential(
        paddle.nn.Conv2D(4, 6, 3, stride=2, padding=1, groups=2),  # 4x5 results of 2 * 9 products
        paddle.nn.BatchNorm2D(6),
        paddle.nn.Conv2DTranspose(6, 2, 2, stride=2),  # 20 pixels of 6 channels, each 2 * 4
        paddle.nn.Linear(10, 3),
    )
    image = paddle.zeros([1, 4, 8, 10])
    assert macs(net, lambda: net(image)) == 6 * 20 * 18 + 6 * 20 * 8 + 2 * 8 * 3 * 10
    assert parameters(net) == (6 * 18 + 6) + 12 + (6 * 8 + 2) + 33


def test_the_table(tmp_path):
    given = [ROOT / "configs/unet_bilinear_toy.yml", "model.options.width=0.0625"]
    given += ["--size", 32, 48, "--ways", "paddle_eager", "paddle"]
    done = run("benchmark", *given, "--runs", 2, "--warm-up", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    eager, exported = result["rows"]
    assert (eager["way"], exported["way"]) == ("paddle_eager", "paddle")
    assert (eager["height"], eager["width"]) == (32, 48)
    assert eager["macs"] > eager["parameters"] > 0
    assert all(row["images_per_s"] > 0 and row["peak_mb"] > 50 for row in result["rows"])
