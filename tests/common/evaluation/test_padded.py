"""Whole images whose sides a net cannot take: padded, or named."""

import numpy as np
import pytest

from common.errors import UserError
from common.evaluation.evaluate import predicted
from common.evaluation.sliding import padded
from common.settings.run import Evaluate


def test_sides_become_multiples_below_and_at_the_right():
    image = np.ones((1, 3, 5, 8), np.float32)
    made = padded(image, 4)
    assert made.shape == (1, 3, 8, 8)
    assert made[:, :, :5].all()
    assert not made[:, :, 5:].any()
    assert padded(image, 1) is image
    assert padded(image, 4, 1).shape == (1, 3, 5, 9)
    assert padded(image[:, :, :4], 4, 1).shape == (1, 3, 5, 9)
    with pytest.raises(ValueError, match="pad_beyond is 4: set less than pad_to_multiple"):
        Evaluate(pad_to_multiple=4, pad_beyond=4)


@pytest.mark.parametrize("other", [{"scale": 0.5}, {"window_hw": (8, 8)}])
def test_padding_goes_with_whole_images_alone(other):
    with pytest.raises(ValueError, match="pad_to_multiple goes with scale 1"):
        Evaluate(pad_to_multiple=32, **other)


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_classes_are_cut_to_the_images_size(framework):
    library = pytest.importorskip(framework)
    net = (library.nn.Conv2d if framework == "torch" else library.nn.Conv2D)(3, 2, 1)
    if framework == "torch":
        from torch_ref.train import predict
    else:
        from paddle_impl.train import predict
    image = np.random.default_rng(0).standard_normal((1, 3, 5, 8)).astype(np.float32)
    plain, cut = (predict(net, image, Evaluate(pad_to_multiple=n)) for n in (1, 4))
    assert cut.shape == (1, 5, 8)
    assert (plain == cut).all()


def test_an_image_that_the_net_cannot_take_is_named():
    def predict(image, options):
        raise ValueError("not a multiple of 32")

    with pytest.raises(UserError, match=r"validation image 4, of size 5 x 8 .* multiple of 32"):
        predicted(predict, np.zeros((1, 3, 5, 8)), Evaluate(), 4)
