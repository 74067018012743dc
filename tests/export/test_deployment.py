"""deploy.yaml says how a model is fed, in PaddleSeg's names and in ours."""

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


def test_the_names_of_paddleseg(tmp_path):
    GIVEN.write(tmp_path / "deploy.yaml")
    deploy = yaml.safe_load((tmp_path / "deploy.yaml").read_text("utf-8"))["Deploy"]
    assert deploy["model"] == "model.json"
    assert deploy["input_shape"] == [-1, 3, 64, -1]
    assert (deploy["output_op"], deploy["output_dtype"]) == ("argmax", "int64")
    (normalize,) = deploy["transforms"]  # it divides by 255 first
    assert normalize["type"] == "Normalize"
    np.testing.assert_allclose(np.multiply(normalize["mean"], 255), GIVEN.mean)


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
