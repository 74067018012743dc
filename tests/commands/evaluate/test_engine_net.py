"""An exported net of one size is never scored at another than the protocol says."""

import numpy as np
import pytest

from commands.evaluate.engine_net import OfFolder
from common.errors import UserError
from common.evaluation.protocol import predict
from common.settings.run import Evaluate
from export.deployment import Deployment
from export.engine import Engine


class Bright(Engine):
    """Two classes: dark and bright."""

    name = "fake"

    def __init__(self, height, width, step=(1, 0)):
        about = Deployment("net", "model.json", None, height=height, width=width, size_step=step)
        super().__init__(about, about.input_shape)

    def _run(self, images):
        return np.stack([-images[:, 0], images[:, 0]], 1)


IMAGE = np.random.default_rng(0).standard_normal((1, 3, 24, 40), dtype=np.float32)


@pytest.mark.parametrize(
    ("engine", "protocol"),
    [
        (Bright(24, 40), {}),
        (Bright(12, 20), {"scale": 0.5}),
        (Bright(12, 20), {"window_hw": (12, 20)}),
        (Bright(None, None), {"scale": 0.75}),
        (Bright(25, 41, (8, 1)), {}),  # the next size that it takes
    ],
)
def test_sizes_of_the_protocol_are_asked_for(engine, protocol):
    found = predict(OfFolder(engine, exact=True), IMAGE, Evaluate(**protocol))
    assert found.shape == (1, 24, 40)


@pytest.mark.parametrize("protocol", [{}, {"scale": 0.75}, {"window_hw": (12, 12)}, {"flip": True}])
def test_another_size_is_no_score(protocol):
    net = OfFolder(Bright(12, 20), exact=True)
    with pytest.raises(UserError, match=r"takes images of 20x12 alone.*--scale or --window 20x12"):
        predict(net, IMAGE, Evaluate(**protocol))


def test_a_photo_is_resized_where_no_score_is_asked_for():
    assert predict(OfFolder(Bright(12, 20)), IMAGE, Evaluate()).shape == (1, 24, 40)
