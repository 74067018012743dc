"""How a net is trained: what it starts from, what stays, how long, how it computes, on how many."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from common.settings.section import (
    Above0,
    AtLeast0,
    Expression,
    NotNegative,
    Pattern,
    Positive,
    Row,
    Section,
)


class Weights(Section):
    """Weights to start from; without a path the net starts as its authors initialise it."""

    path: str | None = None  # a .pth or .tar of PyTorch, or a .pdparams
    row: Row | None = None  # of the table, where the file is that of another net
    into: str = ""  # the part of the net that they fill, e.g. cp.backbone; "" = all that it can
    key: str | None = None  # which state dict, where the file holds several
    new_head: bool = False  # what the number of classes decides stays at its initialisation

    @field_validator("into", mode="before")
    @classmethod
    def _nothing_is_the_whole(cls, into: Any) -> Any:
        return "" if into is None else into  # weights.into= on a command line

    @model_validator(mode="after")
    def _head_of_a_whole_net(self) -> "Weights":
        if self.new_head and self.into:
            raise ValueError(
                f"weights.new_head goes with the file of a whole net, and weights.into is "
                f"{self.into}: take out one of them (weights.into= for none)"
            )
        return self


class Freeze(Section):
    """What of the net stays as it is; of both, regular expressions that are found in its names."""

    parameters: tuple[Pattern, ...] = ()  # which get no gradient, so no update and no decay
    statistics: tuple[Pattern, ...] = ()  # of BatchNorms: these run on those that they have


class Ema(Section):
    """The exponential moving average of weights and buffers, which is validated and saved.

    With `warm_up` the decay of update t is at most (1 + t) / (10 + t), so that the first weights
    are soon forgotten.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.9999
    warm_up: bool = True


class EarlyStop(Section):
    """The run ends when more than `patience` validations were no better by `min_delta`.

    metric: a score of the validation, of which more is better; `metric` is the user's own.
    """

    metric: Literal["mean_iou", "pixel_accuracy", "dice", "pq", "ap", "metric"] = "mean_iou"
    patience: NotNegative
    min_delta: AtLeast0 = 0.0


class Amp(Section):
    """Mixed precision. A loss is scaled for float16 alone, as torch's GradScaler does it."""

    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    loss_scale: Above0 | None = None  # the first one; none: 65536
    growth_interval: Positive | None = None  # steps until it is doubled; none: 2000

    @model_validator(mode="after")
    def _scaled_for_float16(self) -> "Amp":
        given = [key for key in ("loss_scale", "growth_interval") if getattr(self, key) is not None]
        if given and self.dtype != "float16":
            raise ValueError(f"{given[0]} goes with dtype float16; bfloat16 needs no scaling")
        return self

    @property
    def scaling(self) -> dict[str, Any]:
        """Keyword arguments of torch's GradScaler."""
        return {
            "init_scale": self.loss_scale or 2.0**16,
            "growth_interval": self.growth_interval or 2000,
        }


class Train(Section):
    """How long, how often what is written, and how it computes.

    Intervals are in iterations, 0 = never.
    """

    iterations: Positive
    log_interval: Positive = 10
    eval_interval: NotNegative = 0
    checkpoint_interval: NotNegative = 0  # one is written at the end and when stopped, too
    keep: Positive = 2  # newest checkpoints kept
    ema: Ema | None = None
    early_stop: EarlyStop | None = None
    precision: Literal["float32", "amp_o1", "amp_o2"] = "float32"
    amp: Amp = Amp()
    tf32: bool | None = None  # of float32 on a GPU; none: as the framework has it
    channels_last: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _amp_is_on(self) -> "Train":
        if self.precision == "float32" and self.amp != Amp():
            raise ValueError("amp goes with precision amp_o1 or amp_o2, and precision is float32")
        return self


class Processes(Section):
    """Which BatchNorms see the images of all processes, and how long one waits for another.

    `sync_norm` is a regular expression that is looked for in the paths of the BatchNorms: `.` finds
    all. Without it each sees its own images, and the first process keeps its running statistics.
    """

    sync_norm: Expression | None = None
    timeout_s: Above0 = 1800.0
