"""Learning rates as plain functions of the step. No state: a resumed run asks for any step.

Steps count from 0, and the rate of step i is set before the i-th update. Only `plateau` follows
the validations: what it knows of them is a `PlateauState`, which belongs into a checkpoint.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from common.documents import STRICT
from common.errors import ConfigError


def constant(step: int, *, base_lr: float, max_steps: int) -> float:
    """Return `base_lr`, whatever the step.

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    """
    _check_positive(base_lr=base_lr, max_steps=max_steps)
    _check_step(step, max_steps)
    return base_lr


def poly(step: int, *, base_lr: float, max_steps: int, power: float, every: int = 1) -> float:
    """Return `base_lr * (1 - step / max_steps) ** power`: base_lr at step 0, 0 at max_steps.

    every: the rate changes at multiples of that many steps only (kazuto1011/deeplab-pytorch,
    libs/utils/lr_scheduler.py).

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    """
    _check_positive(base_lr=base_lr, max_steps=max_steps, power=power, every=every)
    _check_step(step, max_steps)
    return base_lr * (1 - step // every * every / max_steps) ** power


def warmup_poly(
    step: int,
    *,
    base_lr: float,
    warmup_start_lr: float,
    warmup_steps: int,
    max_steps: int,
    power: float,
) -> float:
    """Return STDC's rate: geometric growth up to and at `warmup_steps`, then poly over the rest.

    The rate grows by one constant factor a step, from `warmup_start_lr` at step 0 to `base_lr` at
    `warmup_steps`, and falls to 0 at `max_steps`. `warmup_steps=0` means no warm-up.

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    Source: MichaelFan01/STDC-Seg, optimizer_loss.py.
    """
    _check_positive(base_lr=base_lr, warmup_start_lr=warmup_start_lr, power=power)
    if not 0 <= warmup_steps < max_steps:
        raise ConfigError(
            f"warmup_steps is {warmup_steps}, max_steps {max_steps}; "
            "set 0 <= warmup_steps < max_steps"
        )
    _check_step(step, max_steps)
    if step <= warmup_steps and warmup_steps > 0:
        # The factor of one step first, as the authors do: equal to their list to the last bit.
        return warmup_start_lr * ((base_lr / warmup_start_lr) ** (1 / warmup_steps)) ** step
    return base_lr * (1 - (step - warmup_steps) / (max_steps - warmup_steps)) ** power


def cosine(
    step: int,
    *,
    base_lr: float,
    max_steps: int,
    end_lr: float = 0.0,
    first_cycle: int | None = None,
    cycle_multiplier: int = 1,
) -> float:
    """Return half a cosine from `base_lr` down to `end_lr` at `max_steps`.

    first_cycle: steps after which the rate begins anew at base_lr; each further cycle takes
    `cycle_multiplier` times as many as the one before it. As torch's CosineAnnealingLR, and
    CosineAnnealingWarmRestarts.

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    """
    _check_positive(base_lr=base_lr, max_steps=max_steps)
    _check_end(base_lr, end_lr)
    _check_step(step, max_steps)
    at, length = step, max_steps
    if first_cycle is not None:
        _check_positive(first_cycle=first_cycle, cycle_multiplier=cycle_multiplier)
        length = first_cycle
        while at >= length:
            at, length = at - length, length * cycle_multiplier
    return end_lr + (base_lr - end_lr) * (1 + math.cos(math.pi * at / length)) / 2


def step_decay(step: int, *, base_lr: float, max_steps: int, size: int, gamma: float) -> float:
    """Return `base_lr`, multiplied by `gamma` every `size` steps: torch's StepLR.

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    """
    _check_positive(base_lr=base_lr, max_steps=max_steps, size=size, gamma=gamma)
    _check_step(step, max_steps)
    return base_lr * gamma ** (step // size)


def multistep(
    step: int, *, base_lr: float, max_steps: int, milestones: Sequence[int], gamma: float
) -> float:
    """Return `base_lr`, multiplied by `gamma` from each of `milestones` on: torch's MultiStepLR.

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    """
    _check_positive(base_lr=base_lr, max_steps=max_steps, gamma=gamma)
    _check_step(step, max_steps)
    if list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"milestones are {list(milestones)}: give growing steps, each once")
    return base_lr * gamma ** bisect_right(milestones, step)


def one_cycle(
    step: int,
    *,
    base_lr: float,
    max_steps: int,
    rise: float = 0.3,
    start_divisor: float = 25.0,
    end_divisor: float = 1e4,
    anneal: Literal["cosine", "linear"] = "cosine",
) -> float:
    """Return the rate of one rise to `base_lr` and one fall, as torch's OneCycleLR.

    It starts at base_lr / start_divisor, is base_lr after the share `rise` of the steps, and ends
    at its first value / end_divisor in the last step, `max_steps` - 1. The momentum stays (torch's
    `cycle_momentum=False`).

    Raises ConfigError for a step outside 0..max_steps or a setting outside its range.
    """
    _check_positive(base_lr=base_lr, start_divisor=start_divisor, end_divisor=end_divisor)
    _check_step(step, max_steps)
    top, last = rise * max_steps - 1, max_steps - 1
    if not 0 < top < last:
        raise ConfigError(
            f"rise is {rise} of {max_steps} steps: neither the rise nor the fall may be empty"
        )
    start = base_lr / start_divisor
    rates, share = (start, base_lr), step / top
    if step > top:
        rates, share = (base_lr, start / end_divisor), min((step - top) / (last - top), 1.0)
    if anneal == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return rates[0] + (rates[1] - rates[0]) * share


def grown(
    step: int,
    *,
    start_lr: float,
    end_lr: float,
    steps: int,
    growth: Literal["linear", "geometric"],
) -> float:
    """Return the rate of a warm-up: `start_lr` at step 0, `end_lr` at step `steps`.

    Raises ConfigError for a setting outside its range.
    """
    if growth == "linear":
        return start_lr + (end_lr - start_lr) * step / steps
    _check_positive(start_lr=start_lr, end_lr=end_lr)
    return float(start_lr * (end_lr / start_lr) ** (step / steps))


def ema_decay(updates: int, decay: float, warm_up: bool) -> float:
    """Return what an exponential moving average keeps that has seen so many updates.

    With `warm_up` at most (1 + updates) / (10 + updates), as TensorFlow's
    ExponentialMovingAverage(num_updates=).
    """
    return min(decay, (1 + updates) / (10 + updates)) if warm_up else decay


@dataclass
class PlateauState:
    """What `plateau` knows of a run's validations.

    Attributes:
        best: highest score so far; None before the first.
        bad: validations since that were no better.
        reductions: how often the rate was reduced.
    """

    __pydantic_config__: ClassVar = STRICT

    best: float | None = None
    bad: int = 0
    reductions: int = 0

    def see(self, score: float, *, base_lr: float, factor: float, patience: int) -> None:
        """Take note of a validation; a score that is NaN is no better.

        As torch.optim.lr_scheduler.ReduceLROnPlateau(mode="max"): better is above
        best * (1 + 1e-4), and a reduction by no more than 1e-8 is not made.
        """
        if score == score and (self.best is None or score > self.best * (1 + 1e-4)):
            self.best, self.bad = score, 0
        else:
            self.bad += 1
        if self.bad > patience:
            self.bad = 0
            rates = [
                plateau(count, base_lr=base_lr, factor=factor)
                for count in (self.reductions, self.reductions + 1)
            ]
            self.reductions += rates[0] - rates[1] > 1e-8


def plateau(reductions: int, *, base_lr: float, factor: float) -> float:
    """Return `base_lr` multiplied by `factor` that many times.

    Raises ConfigError for a setting outside its range.
    """
    _check_positive(base_lr=base_lr, factor=factor)
    for _ in range(reductions):
        base_lr *= factor
    return base_lr


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "poly": poly,
    "warmup_poly": warmup_poly,
    "cosine": cosine,
    "step_decay": step_decay,
    "multistep": multistep,
    "one_cycle": one_cycle,
}


def _check_positive(**settings: float) -> None:
    for name, value in settings.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{name} is {value}; set a finite number above 0")


def _check_end(base_lr: float, end_lr: float) -> None:
    if not 0 <= end_lr <= base_lr:
        raise ConfigError(f"end_lr is {end_lr}; set 0 <= end_lr <= base_lr ({base_lr})")


def _check_step(step: int, max_steps: int) -> None:
    # Past the end a fractional power of a negative number would be complex.
    if not 0 <= step <= max_steps:
        raise ConfigError(f"step {step} is outside 0..{max_steps}; raise max_steps or stop there")
