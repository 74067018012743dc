"""The net as it is exported: one input, one output, resized and reduced as asked for."""

from pathlib import Path
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.training.net_side import main_logits
from export.deployment import Deployment
from export.make.resizes_paddle import exact_resizes, resample


class Exported(nn.Layer):
    """`net`, its main logits alone, then what `deployment` says of the output."""

    def __init__(self, net: nn.Layer, deployment: Deployment) -> None:
        super().__init__()
        self.net = net
        self.deployment = deployment
        self.eval()

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """Return logits, probabilities [N, C, H, W] or classes [N, H, W] of `image`."""
        logits = main_logits(self.net(image))
        return finished(logits, image, self.deployment)


@paddle.jit.not_to_static
def finished(logits: paddle.Tensor, image: paddle.Tensor, deployment: Deployment) -> paddle.Tensor:
    """Return what `deployment` says is returned, of the logits of a net."""
    if not deployment.net_size:
        size = list(deployment.output_hw or sizes(image)[2:])
        if deployment.output_hw or list(logits.shape[2:]) != list(image.shape[2:]):
            logits = resample(logits, size, deployment.align_corners)
    if deployment.output == "softmax":
        return F.softmax(logits, axis=1)
    return logits.argmax(axis=1) if deployment.output == "argmax" else logits


def sizes(x: paddle.Tensor) -> list[Any]:
    """Return the shape of `x`: numbers, and tensors where a length is free."""
    from export.make.resizes_paddle import lengths

    return lengths(x)


def save(net: nn.Layer, deployment: Deployment, folder: Path, stem: str = "model") -> Path:
    """Write the inference model of `net` into `folder`; return its file, .json or .pdmodel.

    The file of weights stands beside it.
    """
    shape = [None if size == -1 else size for size in deployment.input_shape]
    spec = [paddle.static.InputSpec(shape, "float32", "image")]
    with exact_resizes():
        paddle.jit.save(Exported(net, deployment), str(folder / stem), input_spec=spec)
    for suffix in (".json", ".pdmodel"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise FileNotFoundError(f"{folder}: paddle.jit.save wrote no model")
