"""deploy.yaml says how a model is fed, in PaddleSeg's names and in ours."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from common.data.transforms.images import Normalisation
from common.errors import UnreadableError
from export.deployment import Deployment, read_deployment

GIVEN = Deployment(
    "net",
    "model.json",
    "model.pdiparams",
    batch=None,
    height=64,
    size_step=(8, 1),
    channels="bgr",
    pixel_range=255,
    mean=(104.0, 116.5, 122.75),
    std=(1.0, 2.0, 3.0),
    output="argmax",
    class_names=("road", "道路"),
    colors=((1, 2, 3), (4, 5, 6)),
)


def test_what_is_written_is_read(tmp_path):
    GIVEN.write(tmp_path / "deploy.yaml")
    assert read_deployment(tmp_path) == (GIVEN, tmp_path)
    assert read_deployment(tmp_path / "deploy.yaml") == (GIVEN, tmp_path)


# What PaddleSeg reads, at d7975e7: paddleseg/deploy/infer.py:23 (model, params and transforms of
# Deploy; every transform is a class with its arguments), paddleseg/transforms/transforms.py:147
# and :426, deploy/cpp/src/test_seg.cc:36.
READ = {"Resize": {"target_size"}, "Normalize": {"mean", "std"}}


def deploy_of(deployment, folder):
    deployment.write(folder / "deploy.yaml")
    return yaml.load((folder / "deploy.yaml").read_text("utf-8"), yaml.FullLoader)["Deploy"]


@pytest.mark.parametrize("size", [(64, 96), (None, None), (64, None)])
def test_paddleseg_reads_what_is_written(tmp_path, size):
    given = replace(GIVEN, channels="rgb", height=size[0], width=size[1])
    deploy = deploy_of(given, tmp_path)
    assert (deploy["model"], deploy["params"]) == ("model.json", "model.pdiparams")
    assert deploy["input_shape"] == [-1, 3, size[0] or -1, size[1] or -1]
    assert (deploy["output_op"], deploy["output_dtype"]) == ("argmax", "int64")
    for transform in deploy["transforms"]:
        assert set(transform) == {"type", *READ[transform["type"]]}
    *resizes, normalize = deploy["transforms"]
    # Without it a photo of another size goes into a net of a fixed one.
    assert [row["target_size"] for row in resizes] == ([[96, 64]] if None not in size else [])
    assert all(type(value) is float for value in [*normalize["mean"], *normalize["std"]])
    np.testing.assert_allclose(np.multiply(normalize["mean"], 255), GIVEN.mean)


def test_paddleseg_does_not_feed_rgb_to_a_net_that_takes_bgr(tmp_path):
    """Its loader has no such class, and stops there: manager.py, `__getitem__`."""
    first, *_ = deploy_of(GIVEN, tmp_path)["transforms"]
    assert first == {"type": "RGB2BGR"}


@pytest.mark.parametrize(("channels", "pixel_range"), [("rgb", 1), ("bgr", 255)])
def test_it_normalises_as_training_does(channels, pixel_range):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    options = {"channels": channels, "pixel_range": pixel_range}
    options |= {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    given = Deployment("net", "model.json", None, **options).normalise(image)
    assert given.tobytes() == Normalisation(**options)(Image.fromarray(image)).tobytes()


@pytest.mark.parametrize("text", ["Deploy: {}", "- [", "torch2paddle: {net: a}", "\u0000"])
def test_what_is_no_export_is_said(tmp_path, text):
    (tmp_path / "deploy.yaml").write_text(text)
    with pytest.raises(UnreadableError, match=r"deploy\.yaml"):
        read_deployment(tmp_path)
