"""What both frameworks' `Inference` answers, against their own functions called by hand."""

import numpy as np
import pytest

from common.evaluation.protocol import mean_probabilities, predict
from common.settings.run import Evaluate


def torch_side():
    torch = pytest.importorskip("torch")
    from torch.nn import functional as F

    from torch_ref.train import TorchInference

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.nn.Dropout(0.5))

    def by_hand(image, size, corners):
        with torch.no_grad():
            seen = F.interpolate(torch.tensor(image), size, mode="bilinear", align_corners=corners)
            logits = net.eval()(seen)
            back = F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=corners)
            return torch.softmax(back, 1).numpy()

    return TorchInference(net), by_hand


def paddle_side():
    paddle = pytest.importorskip("paddle")
    from paddle.nn import functional as F

    from paddle_impl.train import PaddleInference

    paddle.seed(0)
    net = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 4, 3, stride=2, padding=1), paddle.nn.Dropout(0.5)
    )

    def by_hand(image, size, corners):
        net.eval()
        with paddle.no_grad():
            how = {"mode": "bilinear", "align_corners": corners}
            logits = net(F.interpolate(paddle.to_tensor(image), list(size), **how))
            return F.softmax(F.interpolate(logits, list(image.shape[2:]), **how), axis=1).numpy()

    return PaddleInference(net), by_hand


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("side", [torch_side, paddle_side])
def test_scales_and_flip_are_averaged_as_by_hand(side, corners):
    net, by_hand = side()
    image = np.random.default_rng(0).standard_normal((2, 3, 12, 17)).astype(np.float32)
    options = Evaluate(scales=(0.5, 1.5), flip=True, align_corners=corners)
    mirror = np.ascontiguousarray(image[..., ::-1])
    parts = []
    for size in ((6, 8), (18, 25)):
        parts += [by_hand(image, size, corners), by_hand(mirror, size, corners)[..., ::-1]]
    expected = np.mean(parts, axis=0)
    np.testing.assert_allclose(mean_probabilities(net, image, options), expected, rtol=1e-5)
    one = Evaluate(scale=0.5, align_corners=corners)
    assert np.array_equal(predict(net, image, one), parts[0].argmax(1))
