"""Axial-DeepLab: ImageNet's file fills the trunk, tables follow the image, equal pairs."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError
from common.pairs import PAIRS

ROW = "axial_deeplab_r50m"
SMALL = {"width": 1 / 16, "num_classes": 5, "table_size": 32}


def on_meta(row, **options):
    with torch.device("meta"):
        return torch_ref.build_model(row, **options)


def test_the_trunk_is_that_of_the_authors_file():
    file = json.loads((MANIFESTS / "axial50m_csrhddlam.json").read_text())["state_dict"]
    net = on_meta(ROW).state_dict()
    held = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.items()]
    trunk = [[k[9:], *rest] for k, *rest in held if k.startswith("backbone.")]
    assert trunk == [row for row in file if not row[0].startswith("fc.")]
    assert net["decoder.semantic_decoder.aspp.convs.0.0.weight"].shape == (256, 1536, 1, 1)
    assert net[PAIRS[ROW].classes_key].shape[0] == 19


def test_its_own_file_says_what_it_is():
    from convert.nets.recognise import recognise

    options = {"num_classes": 7, "table_size": 64}
    shapes = {k: tuple(v.shape) for k, v in on_meta(ROW, **options).state_dict().items()}
    found = recognise(shapes, ROW)
    assert found.options == options


@pytest.mark.parametrize("train", [False, True])
def test_the_pair_is_equal_on_an_image_that_the_tables_are_not_made_for(train):
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import whole_net

    # The last resize is inexact (DESIGN's table), and what is off there grows in the gradients.
    found = whole_net(ROW, 0, (2, 3, 32, 48), train, **SMALL)
    for what, error in found.items():
        assert error < (5e-6 if what.startswith("output") else 5e-5), (what, error)


def test_sizes_that_it_has_not():
    x = torch.zeros(1, 3, 40, 48)
    with pytest.raises(UserError, match=r"multiples of 16, got 40x48"):
        torch_ref.build_model(ROW, **SMALL)(x)
    with pytest.raises(ConfigError, match="choose 16 or 32"):
        on_meta(ROW, output_stride=8)


def test_a_trunks_file_fills_it(tmp_path):
    pytest.importorskip("paddle")
    import paddle_impl
    from convert.nets.describe_paddle import describe
    from convert.starting_weights import starting_weights
    from torch_ref.seeded import build_seeded

    trunk = build_seeded("axial_r50m", 0, width=1 / 16, image_size=32).state_dict()
    path = str(tmp_path / "imagenet.pth")
    torch.save(trunk, path)
    net = paddle_impl.build_model(ROW, **SMALL)
    made = starting_weights(path, ROW, describe(net), "paddle", row="axial_r50m", into="backbone")
    counters = sum(key.endswith("num_batches_tracked") for key in trunk)
    assert len(made.state) == len(trunk) - counters - 2  # fc's weight and bias
    table = "layer4.2.width_block.relative"
    np.testing.assert_array_equal(made.state[f"backbone.{table}"], trunk[table].numpy())


@pytest.mark.prove
def test_the_pair_is_aligned():
    pytest.importorskip("paddle")
    from align import align_backward, align_weights
    from commands.subjects.rows import seeded_pair

    pair = seeded_pair(ROW, 0, **SMALL)
    assert align_weights(*pair).exit_code == 0
    report = align_backward(*pair, [np.random.default_rng(0).standard_normal((2, 3, 32, 48))])
    assert report.exit_code == 0, report.verdict
