"""Learning rates of a config: one class for each row of `common.schedules`, and a warm-up."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from common.errors import ConfigError
from common.schedules import SCHEDULES, grown, plateau
from common.settings.section import Above0, AtLeast0, Named, NotNegative, Positive, Section


class Warmup(Section):
    """A rate that grows before the schedule begins; this then counts its steps from 0.

    With `within` the schedule counts from the first step on, and its rate is multiplied by a share
    that grows to 1: detectron2's way (projects/DeepLab/deeplab/lr_scheduler.py, WarmupPolyLR).
    """

    steps: Positive
    start_lr: AtLeast0 = 0.0
    growth: Literal["linear", "geometric"] = "linear"
    within: bool = False

    @model_validator(mode="after")
    def _grows_from_something(self) -> Self:
        if self.growth == "geometric" and self.start_lr == 0:
            raise ValueError("start_lr is 0, from which nothing grows geometrically: set it above")
        return self


class Schedule(Named):
    """The learning rate of every step; base_lr 0 is allowed and means a rate of 0 throughout."""

    base_lr: AtLeast0

    def rate(self, step: int, iterations: int, reductions: int) -> float:
        """Return the rate of update `step`. iterations: of the run."""
        options = {**self.options, "max_steps": self.end(iterations)}
        return SCHEDULES[self.name](step, **options)

    def end(self, iterations: int) -> int:
        """Return the step at which the schedule ends."""
        return iterations


class Warmed(Schedule):
    """A schedule that may have a warm-up in front of it."""

    warmup: Warmup | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What is set; the warm-up where there is one."""
        return self.model_dump(exclude={"name"}, exclude_none=True)

    def rate(self, step: int, iterations: int, reductions: int) -> float:
        """Return the rate of update `step`. iterations: of the run.

        Raises ConfigError where the warm-up leaves nothing of the schedule.
        """
        end, warmup = self.end(iterations), self.warmup
        if warmup is None:
            return self.after(step, end, reductions)
        if warmup.steps >= end:
            raise ConfigError(
                f"warmup.steps is {warmup.steps}, and the schedule ends at step {end}; "
                "set fewer than that"
            )
        growth = warmup.model_dump(exclude={"within", "start_lr"})
        if warmup.within:
            rate, first = self.after(step, end, reductions), warmup.start_lr / self.base_lr
            share = grown(step, start_lr=first, end_lr=1.0, **growth)
            return rate * share if step < warmup.steps else rate
        rest = end - warmup.steps
        if step >= warmup.steps:
            return self.after(step - warmup.steps, rest, reductions)
        top = self.after(0, rest, reductions)
        return grown(step, start_lr=warmup.start_lr, end_lr=top, **growth)

    def after(self, step: int, length: int, reductions: int) -> float:
        """Return the rate `step` steps after the warm-up. length: of the schedule, in steps."""
        options = self.model_dump(exclude={"name", "warmup", "max_steps"})
        return SCHEDULES[self.name](step, max_steps=length, **options)


class Constant(Warmed):
    """One rate."""

    name: Literal["constant"]


class Decay(Schedule):
    """A rate that ends at `max_steps`, counted from the beginning of the run."""

    max_steps: Positive | None = None  # none: train.iterations

    def end(self, iterations: int) -> int:
        """Return the step at which the schedule ends."""
        return self.max_steps or iterations


class Poly(Decay, Warmed):
    """Polynomial decay; the rate changes `every` so many steps."""

    name: Literal["poly"]
    power: Above0 = 0.9
    every: Positive = 1


class WarmupPoly(Decay):
    """Geometric growth, then polynomial decay."""

    name: Literal["warmup_poly"]
    power: Above0 = 0.9
    warmup_start_lr: Above0
    warmup_steps: NotNegative


class Cosine(Decay, Warmed):
    """Half a cosine down to `end_lr`, or several: `first_cycle` steps long, then longer ones."""

    name: Literal["cosine"]
    end_lr: AtLeast0 = 0.0
    first_cycle: Positive | None = None  # none: one, to the end
    cycle_multiplier: Positive = 1


class StepDecay(Warmed):
    """The rate is multiplied by `gamma` every `size` steps."""

    name: Literal["step_decay"]
    size: Positive
    gamma: Above0 = 0.1


class MultiStep(Warmed):
    """The rate is multiplied by `gamma` at each of `milestones`."""

    name: Literal["multistep"]
    milestones: Annotated[tuple[Positive, ...], Field(min_length=1)]
    gamma: Above0 = 0.1


class OneCycle(Decay, Warmed):
    """One rise to base_lr, which takes the share `rise`, and one fall; the momentum stays."""

    name: Literal["one_cycle"]
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start_divisor: Above0 = 25.0
    end_divisor: Above0 = 1e4
    anneal: Literal["cosine", "linear"] = "cosine"


class Plateau(Warmed):
    """The rate is multiplied by `factor` when more than `patience` validations were no better.

    `follows` is the score that tells: mIoU, PQ of panoptic nets, mask AP of instances, or the Dice
    score of all classes but 0, averaged over the images (`common.metrics.ForegroundDice`).
    """

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: NotNegative = 10
    follows: Literal["mean_iou", "dice", "pq", "ap"] = "mean_iou"

    @property
    def reduction(self) -> dict[str, Any]:
        """Keyword arguments for `PlateauState.see`."""
        return self.model_dump(exclude={"name", "follows", "warmup"})

    def after(self, step: int, length: int, reductions: int) -> float:
        """Return the rate after so many reductions, whatever the step."""
        return plateau(reductions, base_lr=self.base_lr, factor=self.factor)
