"""The training net in eager Paddle, and what it consists of."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import nn

from commands.deploy.measure.ways import Task
from commands.deploy.subject_paddle import subject_of
from commands.subjects.named.config import read_config
from common.nets import members
from common.training.net_side import main_logits


def prepare(task: Task, image: np.ndarray) -> tuple[Callable[[], Any], tuple[int, int]]:
    """Return what runs the net on `image`, its trainable values, and its products."""
    net = subject_of(read_config(task.config, task.overrides), task.weights).build()
    tensor = paddle.to_tensor(image)

    def run() -> Any:
        with paddle.no_grad():
            return main_logits(net(tensor)).numpy()

    return run, (parameters(net), macs(net, run))


def parameters(net: nn.Layer) -> int:
    """Return the number of trainable values; statistics are none."""
    return sum(math.prod(p.shape) for p in members.parameters(net) if not p.stop_gradient)


def macs(net: nn.Layer, run: Callable[[], Any]) -> int:
    """Return how many products `run` makes in convolutions and linear layers of `net`."""
    total = [0]

    def add(layer: nn.Layer, inputs: Any, output: paddle.Tensor) -> None:
        taken, made = math.prod(inputs[0].shape), math.prod(output.shape)
        weight = layer.weight.shape
        if isinstance(layer, nn.Linear):
            total[0] += made * weight[0]
        elif isinstance(layer, nn.Conv2DTranspose):  # weight [in, out / groups, kh, kw]
            total[0] += taken * math.prod(weight[1:])
        else:  # weight [out, in / groups, ...]
            total[0] += made * math.prod(weight[1:])

    kinds = (nn.Conv1D, nn.Conv2D, nn.Conv2DTranspose, nn.Linear)
    hooks = [
        layer.register_forward_post_hook(add)
        for layer in members.modules(net)
        if isinstance(layer, kinds)
    ]
    run()
    for hook in hooks:
        hook.remove()
    return total[0]
