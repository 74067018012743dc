"""What a config may say: one section a class, every key with its type, range and default.

Defaults that are numbers of a paper stand in `configs/_base_/`; here stand those that hold for any.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from common.data.transforms import ColorJitter, HorizontalFlip, RandomCrop, RandomScale, Transform
from common.errors import ConfigError
from common.pairs import PAIRS
from common.schedules import SCHEDULES

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Size = tuple[Positive, Positive]


class Section(BaseModel):
    """Frozen, and every key it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Model(Section):
    """A row of the table of nets, and options of its factory."""

    name: str
    num_classes: Positive = 19
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _in_table(cls, name: str) -> str:
        if name not in PAIRS:
            raise ValueError(f"no net is called {name!r}; the table has: {', '.join(PAIRS)}")
        return name

    @property
    def overrides(self) -> dict[str, Any]:
        """Keyword arguments for `build_model`."""
        return {**self.options, PAIRS[self.name].classes_option: self.num_classes}


class Weights(Section):
    """Weights to start from; without a path the net starts as its authors initialise it."""

    path: str | None = None  # a .pth or .tar of PyTorch, or a .pdparams
    into: str = ""  # the part of the net that they fill, e.g. cp.backbone; "" = all of it
    key: str | None = None  # which state dict, where the file holds several


class Augmentation(Section):
    """STDC's augmentation, in the authors' order; 0 or one scale of 1 turns a step off."""

    brightness: Annotated[float, Field(ge=0)] = 0.5
    contrast: Annotated[float, Field(ge=0)] = 0.5
    saturation: Annotated[float, Field(ge=0)] = 0.5
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    scales: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)


class Data(Section):
    """The data set, its augmentation and its batches."""

    dataset: Literal["cityscapes"] = "cityscapes"
    root: str
    labels: Literal["auto", "labelIds", "labelTrainIds"] = "auto"
    train_split: Literal["train", "val", "trainval"] = "train"
    val_split: Literal["train", "val"] = "val"
    crop_hw: Size  # height, width
    batch_size: Positive  # images on one card, which are also the images of one micro-batch
    cards: Positive = 1  # of the recipe; on fewer, gradients of as many micro-batches are averaged
    workers: NotNegative = 0  # processes that read ahead; 0 reads between the steps
    augmentation: Augmentation = Augmentation()

    @field_validator("batch_size")
    @classmethod
    def _normalisable(cls, size: int) -> int:
        if size < 2:
            raise ValueError(
                "a batch of 1 cannot be trained: the pooled 1x1 maps give BatchNorm one value per "
                "channel, whose variance is 0; set at least 2 images a micro-batch"
            )
        return size

    def transforms(self) -> tuple[Transform, ...]:
        """The training augmentation."""
        values = self.augmentation
        return (
            ColorJitter(values.brightness, values.contrast, values.saturation),
            HorizontalFlip(values.flip),
            RandomScale(values.scales),
            RandomCrop(self.crop_hw),
        )


class Ohem(Section):
    """Options of `OhemCrossEntropy`."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    min_kept: Positive | None = None  # per micro-batch; none: its pixels / 16, as the authors
    ignored_as_zeros: bool = True


class Detail(Section):
    """Options of `DetailLoss`; every True is an effect of the authors' code."""

    decaying_fuse_kernel: bool = True
    void_edges: bool = True
    strict_threshold: bool = True


class Loss(Section):
    """The criterion: STDC's whole loss."""

    name: Literal["stdc"] = "stdc"
    ohem: Ohem = Ohem()
    detail: Detail = Detail()


class Optimizer(Section):
    """SGD with STDC's parameter groups."""

    name: Literal["stdc_sgd"] = "stdc_sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    head_lr_multiplier: Annotated[float, Field(ge=0)] = 10.0
    train_backbone_norm: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for `build_optimizer`."""
        return self.model_dump(exclude={"name"})


class Schedule(Section):
    """The learning rate of every step; base_lr 0 is allowed and means a rate of 0 throughout."""

    name: Literal["warmup_poly", "poly"] = "warmup_poly"
    base_lr: Annotated[float, Field(ge=0)]
    warmup_start_lr: Annotated[float, Field(gt=0)] | None = None
    warmup_steps: NotNegative | None = None
    max_steps: Positive | None = None  # none: train.iterations
    power: Annotated[float, Field(gt=0)] = 0.9

    @model_validator(mode="after")
    def _complete(self) -> "Schedule":
        warmup = (self.warmup_start_lr, self.warmup_steps)
        if self.name == "poly" and warmup != (None, None):
            raise ValueError("poly has no warm-up; leave warmup_start_lr and warmup_steps out")
        if self.name == "warmup_poly" and None in warmup:
            raise ValueError("warmup_poly needs warmup_start_lr and warmup_steps")
        return self


class Train(Section):
    """How long, and how often what is written. Intervals are in iterations, 0 = never."""

    iterations: Positive
    log_interval: Positive = 10
    eval_interval: NotNegative = 0
    checkpoint_interval: NotNegative = 0  # one is written at the end and when stopped, too
    keep: Positive = 2  # newest checkpoints kept


class Evaluate(Section):
    """STDC's protocol: the normalised image resized by `scale`, logits resized to the label."""

    scale: Annotated[float, Field(gt=0, le=2)] = 0.5
    batch_size: Positive = 1
    absent: Literal["nan", "skip", "zero", "one"] = "nan"  # IoU of a class that occurs nowhere


class Reproduce(Section):
    """What the demo does with this config (tools/reproduce.py)."""

    input_shape: tuple[Positive, Positive, Positive, Positive] = (2, 3, 64, 96)
    seeds: Positive = 1
    training_steps: Positive = 20  # forced steps of the training alignment
    iterations: Positive = 300  # of the demo's training
    toy_train: Positive = 60
    toy_val: Positive = 20
    toy_size_hw: Size = (256, 512)


class Settings(Section):
    """One run."""

    name: str
    seed: NotNegative = 0
    output: str = "runs/{name}_{framework}"  # folder of the run
    model: Model
    weights: Weights = Weights()
    data: Data
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule
    train: Train
    evaluate: Evaluate = Evaluate()
    reproduce: Reproduce = Reproduce()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.max_steps < self.train.iterations:
            raise ValueError(
                f"schedule.max_steps is {self.max_steps}, fewer than train.iterations "
                f"({self.train.iterations}); leave it out to follow train.iterations"
            )
        try:
            self.learning_rate(0)
        except ConfigError as error:
            raise ValueError(f"schedule: {error}") from None
        pixels = self.data.batch_size * self.data.crop_hw[0] * self.data.crop_hw[1]
        if self.min_kept >= pixels:
            raise ValueError(
                f"loss.ohem.min_kept is {self.min_kept}, but a micro-batch has only {pixels} "
                f"pixels; leave it out for a sixteenth of them ({pixels // 16})"
            )
        return self

    @property
    def max_steps(self) -> int:
        """Step at which the schedule reaches its end."""
        return self.schedule.max_steps or self.train.iterations

    @property
    def min_kept(self) -> int:
        """Pixels of a micro-batch that OHEM keeps at least.

        The authors' 16 * 1024 * 512 // 16 per card (STDC-Seg, train.py).
        """
        height, width = self.data.crop_hw
        return self.loss.ohem.min_kept or max(self.data.batch_size * height * width // 16, 1)

    @property
    def total_batch(self) -> int:
        """Images of one iteration."""
        return self.data.batch_size * self.data.cards

    def folder(self, framework: str) -> str:
        """`output` with {name} and {framework} filled in."""
        return self.output.replace("{name}", self.name).replace("{framework}", framework)

    @property
    def loss_options(self) -> dict[str, Any]:
        """Keyword arguments for the criterion, with the minimum count computed."""
        options = self.loss.model_dump(exclude={"name"})
        options["ohem"]["min_kept"] = self.min_kept
        return options

    def learning_rate(self, step: int) -> float:
        """The schedule's rate of update `step`, counted from 0 (heads: times their multiplier)."""
        if self.schedule.base_lr == 0:
            return 0.0
        options = self.schedule.model_dump(exclude={"name", "max_steps"}, exclude_none=True)
        rate = SCHEDULES[self.schedule.name](step, max_steps=self.max_steps, **options)
        return float(rate)
