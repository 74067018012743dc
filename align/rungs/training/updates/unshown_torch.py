"""Settings of optimizers that differ where the steps that ran do not show it.

RAdam's epsilon has no effect in its first steps, a momentum none in the first. So the reference's
optimizer makes many more steps, on a few numbers, once with each setting of the port: one under
which it comes to the same is none that differs (`nesterov` where the momentum is 0).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from align.judge.words import Cause
from align.rungs.training.updates.causes_torch import CANNOT, setting_in_words, wrong_settings
from align.rungs.training.updates.paddles import COUNTERPARTS

STEPS, VALUES = 60, 16
APART = 1e-9  # relative; what settings do that float32 rounds is less


def unshown_settings(
    kind: type, port: str, groups: Sequence[Mapping[str, Any]], own: Mapping[str, Any]
) -> Iterator[tuple[str, Cause]]:
    """Yield (name, cause) of each setting of the port's optimizer that would show some day.

    Args:
        kind: the class of torch of the reference's optimizer.
        port: the name of the port's class of Paddle.
        groups: the reference's settings, of each of its groups.
        own: the port's settings, in torch's words.
    """
    if port not in COUNTERPARTS.get(kind.__name__, frozenset()):
        return
    told: set[str] = set()
    for group in groups:
        for name, value in wrong_settings(group, own).items():
            if name not in told and _parts(kind, group, {**group, name: value}):
                told.add(name)
                cause = setting_in_words(name, value, group)
                yield name, cause.also(Cause("not_shown_by_steps"))


def _parts(kind: type, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether an optimizer comes to other weights with these settings."""
    try:
        ends = _end(kind, one), _end(kind, other)
    except CANNOT:
        return True  # torch takes no such value
    size = np.abs(ends[0]).max()
    return not bool(np.abs(ends[0] - ends[1]).max() <= APART * size)


def _end(kind: type, group: Mapping[str, Any]) -> np.ndarray:
    """Return the weights after `STEPS` steps on gradients of many sizes."""
    rng = np.random.default_rng(0)
    parameter = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(VALUES)))
    optimizer = kind([parameter], lr=group["lr"] or 0.01)
    settings = {name: v for name, v in group.items() if name not in ("params", "lr")}
    optimizer.param_groups[0].update(settings)
    for _ in range(STEPS):
        gradient = rng.standard_normal(VALUES) * 10.0 ** rng.uniform(-4, 0, VALUES)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    return parameter.detach().numpy()
