"""The subjects of the suite by name; each call builds a fresh one."""

from collections.abc import Callable

import numpy as np

from common.schedules import warmup_poly
from tests.faults import pixels, recipes, small_nets, strangers, strangers_recipes, students
from tests.faults.core import Subject


def stdc_subject(seed: int = 0) -> Subject:
    """STDC1-Seg at 64x96 with the recipe's loss, optimizer and schedule."""
    from commands.subjects.rows import seeded_pair
    from paddle_impl import losses as paddle_losses
    from paddle_impl import optim as paddle_optim
    from torch_ref import losses as torch_losses
    from torch_ref import optim as torch_optim

    s = Subject(*seeded_pair("stdc1_seg", seed))
    rng = np.random.default_rng(seed)
    s.inputs = [rng.standard_normal((2, 3, 64, 96))]
    s.label = rng.integers(0, 19, (2, 64, 96)).repeat(4, 2)[:, :, :96]
    s.label[:, :5] = 255
    shapes = [(2, 19, 64, 96)] * 3 + [(2, 1, 8, 12)]
    s.outputs = tuple(rng.standard_normal(shape) * 2 for shape in shapes)
    s.torch_loss, s.paddle_loss = torch_losses.StdcLoss(), paddle_losses.StdcLoss()
    s.torch_optimizer = lambda _: torch_optim.stdc_sgd(s.torch_net, s.torch_loss, base_lr=0.01)
    s.paddle_optimizer = lambda _: paddle_optim.stdc_sgd(s.paddle_net, s.paddle_loss, base_lr=0.01)
    s.torch_schedule = s.paddle_schedule = lambda step: warmup_poly(
        step, base_lr=0.01, warmup_start_lr=1e-5, warmup_steps=2, max_steps=9, power=0.9
    )
    s.stages = ("weights", "forward", "train", "loss", "backward", "step")
    return s


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "stdc": stdc_subject,
    "small": small_nets.small_subject,
    "attention": small_nets.attention_subject,
    "zoo": small_nets.zoo_subject,
    "recurrent": small_nets.recurrent_subject,
    "pyramid": students.pyramid_subject,
    "decoder": students.decoder_subject,
    "sgd": recipes.sgd_subject,
    "clip": recipes.clip_subject,
    "plain": recipes.plain_subject,
    "dampened": recipes.dampened_subject,
    "adam": recipes.adam_subject,
    "adamw": recipes.adamw_subject,
    "adagrad": recipes.adagrad_subject,
    "rmsprop": recipes.rmsprop_subject,
    "data": pixels.data_subject,
    "metric": pixels.metric_subject,
    "mean metric": pixels.mean_subject,
    "init": pixels.init_subject,
    **strangers.SUBJECTS,
    **strangers_recipes.SUBJECTS,
}
