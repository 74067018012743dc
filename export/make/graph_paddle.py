"""The net as it is exported: one input, one output, resized and reduced as asked for."""

import re
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import UserError
from common.streams import set_aside
from common.training.net_side import main_logits
from export.deployment import Deployment
from export.make.resizes_paddle import exact_resizes, is_fixed, lengths, resample


class Exported(nn.Layer):
    """`net`, its main logits alone, then what `deployment` says of the output.

    Where height and width are fixed, the code of the net runs as it is while it is traced. Where
    they are free, Paddle rewrites it first, so that `x.shape` is what arrives.
    """

    def __init__(self, net: nn.Layer, deployment: Deployment) -> None:
        super().__init__()
        self.net = net
        self.deployment = deployment
        self.eval()

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """Return logits, probabilities [N, C, H, W] or classes [N, H, W] of `image`."""
        if self.deployment.height and self.deployment.width:
            return self._as_it_is(image)
        return finished(main_logits(self.net(image)), image, self.deployment)

    @paddle.jit.not_to_static
    def _as_it_is(self, image: paddle.Tensor) -> paddle.Tensor:
        if self.deployment.early_argmax:
            return early_classes(self.net, image, self.deployment)
        return finished(main_logits(self.net(image)), image, self.deployment)


@paddle.jit.not_to_static
def finished(logits: paddle.Tensor, image: paddle.Tensor, deployment: Deployment) -> paddle.Tensor:
    """Return what `deployment` says is returned, of the logits of a net."""
    if not deployment.net_size:
        size = list(lengths(image)[2:])
        if not is_fixed(*size) or list(logits.shape[2:]) != size:
            logits = resample(logits, size, deployment.align_corners)
    if deployment.output == "softmax":
        return F.softmax(logits, axis=1)
    return logits.argmax(axis=1) if deployment.output == "argmax" else logits


def early_classes(net: nn.Layer, image: paddle.Tensor, deployment: Deployment) -> paddle.Tensor:
    """Return classes [N, H, W] that were chosen before the last resize, then made larger.

    With output "logits": the logits that they were chosen from, made larger the same way.
    """
    logits, corners = small_logits(net, image, deployment)
    made = logits.argmax(axis=1, keepdim=True) if deployment.output == "argmax" else logits
    for axis, count in zip((2, 3), image.shape[2:], strict=True):
        places = paddle.to_tensor(nearest_of_bilinear(made.shape[axis], count, corners))
        made = paddle.index_select(made, places, axis=axis)
    return made.squeeze(1) if deployment.output == "argmax" else made


def small_logits(
    net: nn.Layer, image: paddle.Tensor, deployment: Deployment
) -> tuple[paddle.Tensor, bool]:
    """Return the logits as they are in front of the last resize, and its align_corners.

    Raises UserError where the net returns something that no bilinear resize made.
    """
    with exact_resizes(remembered=True) as resizes:
        logits = main_logits(net(image))
        found = resizes.source_of(logits)
    if found is not None:
        return found
    if list(logits.shape[2:]) == list(image.shape[2:]):
        raise UserError(
            f"--early-argmax: the logits of {deployment.net} come at the size of the image, with "
            "no bilinear resize at the end; leave it out"
        )
    return logits, deployment.align_corners


def nearest_of_bilinear(length: int, count: int, align_corners: bool) -> np.ndarray:
    """Return which of `length` places has the largest weight in each of `count`: int64."""
    if align_corners:
        place = np.arange(count) * ((length - 1) / max(count - 1, 1))
    else:
        place = (np.arange(count) + 0.5) * (length / count) - 0.5
    return np.clip(np.floor(place + 0.5), 0, length - 1).astype(np.int64)


def save(net: nn.Layer, deployment: Deployment, folder: Path, stem: str = "model") -> Path:
    """Write the inference model of `net` into `folder`; return its file, .json or .pdmodel.

    The file of weights stands beside it. Raises UserError where the code of the net cannot be
    traced for free sizes, with the line.
    """
    shape = [None if size == -1 else size for size in deployment.input_shape]
    spec = [paddle.static.InputSpec(shape, "float32", "image")]
    try:
        with exact_resizes(), set_aside():
            paddle.jit.save(Exported(net, deployment), str(folder / stem), input_spec=spec)
    except Exception as error:
        if deployment.height and deployment.width:
            raise
        raise UserError(_why_not_free(error, deployment)) from None
    for suffix in (".json", ".pdmodel"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise FileNotFoundError(f"{folder}: paddle.jit.save wrote no model")


def _why_not_free(error: Exception, deployment: Deployment) -> str:
    """Say which line of a net needs sizes that are known."""
    lines = [line.strip() for line in str(error).splitlines()]
    marked = [number for number, line in enumerate(lines) if "<--- HERE" in line]
    line = lines[marked[-1] - 1] if marked else ""
    files = re.findall(r'File "(.+)", line (\d+)', str(error))
    where = f" in `{line}`" if line else ""
    file = " ({}:{})".format(*files[-1]) if files else ""
    told = re.sub(r"Value\([^()]*(\([^()]*\)[^()]*)*\)", "?", lines[-1] if lines else "")
    step, plus = deployment.size_step
    sizes = f", each of the form {step}k + {plus}" if step > 1 else ""
    return (
        f"{deployment.net} cannot be exported for free sizes: its code needs numbers{where}{file}: "
        f"{told}. "
        f"Give --size HEIGHT WIDTH{sizes}, once for every size that you need"
    )
