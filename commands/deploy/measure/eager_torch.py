"""The reference in eager PyTorch, with seeded weights: they do not change the time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from commands.deploy.measure.ways import Task
from commands.subjects.named.config import read_config
from commands.subjects.named.frameworks import parts_of
from common.training.net_side import main_logits


def prepare(task: Task, image: np.ndarray) -> Callable[[], Any]:
    """Return what runs the net on `image`."""
    torch.set_num_threads(task.threads)
    settings = read_config(task.config, task.overrides)
    net = parts_of(settings, "torch").seeded_net(settings.seed).eval()
    tensor = torch.from_numpy(image)
    if task.way == "torch_channels_last":
        net = net.to(memory_format=torch.channels_last)
        tensor = tensor.contiguous(memory_format=torch.channels_last)

    def run() -> Any:
        with torch.inference_mode():
            return main_logits(net(tensor)).contiguous().numpy()

    return run
