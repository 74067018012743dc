"""What a config may say: one section a class, every key with its type, range and default.

Defaults that are numbers of a paper stand in `configs/_base_/`; here stand those that hold for any.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from common.data.classes import Classes, bit_palette
from common.data.transforms.images import VOID
from common.errors import ConfigError
from common.pairs import PAIRS, WITHOUT_DATA
from common.settings.data import DATASETS, INSTANCES, AnyData, OwnData
from common.settings.instances import GRIDS, ObjectsTarget, SoloTarget
from common.settings.own import InOptimizer, OwnLoss, OwnMetric, OwnModel, OwnOptimizer, OwnSchedule
from common.settings.panoptic import (
    ARGMAX,
    LABEL,
    AnyPost,
    AnyTarget,
    ArgmaxPost,
    LabelTarget,
    require_one_kind,
    task_of,
)
from common.settings.recipe import (
    AnyLoss,
    AnyMetric,
    AnyOptimizer,
    AnySchedule,
    SoloLossOptions,
    TaskMetric,
)
from common.settings.schedules import Decay
from common.settings.section import Above0, NotNegative, Positive, Row, Section, Size
from common.settings.train import Freeze, Processes, Train, Weights
from common.settings.volumes import VOLUMETRIC, VolumeKeys, require_volumes
from common.settings.volumes import Shape as VolumeShape

Batched = tuple[Positive, Positive, Positive, Positive]  # N, C, H, W
BatchedVolumes = tuple[Positive, Positive, Positive, Positive, Positive]  # N, C, D, H, W

SEMANTIC = "semantic"  # the task of nets that are taught by labels
KNOWN_BY = {"panoptic": "things", "instances": "holds_objects"}  # what sets of a task have


class Model(Section):
    """A row of the table of nets, and options of its factory."""

    kind: Literal["row"] = "row"
    name: Row
    num_classes: Positive = 19  # where a config does not say it: those of its data set
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _segments(cls, name: str) -> str:
        if PAIRS[name].task == "classification":
            raise ValueError(f"{name} is a net of classification; configs train segmentation")
        if PAIRS[name].task in WITHOUT_DATA:
            raise ValueError(
                f"{name} is of the task {PAIRS[name].task}, of which there is no data set here: "
                "align it with --model, and train it in a loop of your own"
            )
        return name

    @property
    def overrides(self) -> dict[str, Any]:
        """Keyword arguments for `build_model`."""
        return {**self.options, PAIRS[self.name].classes_option: self.net_classes}

    @property
    def net_classes(self) -> int:
        """Classes of the net itself: those of the data set, and what it has beside them."""
        return self.num_classes + PAIRS[self.name].more_classes

    @property
    def narrow(self) -> bool:
        """Whether its channels are not as many as those of published checkpoints."""
        return self.options.get("width", 1.0) != 1.0

    @property
    def task(self) -> str:
        """What it is for: a row of `EVALUATORS`."""
        return PAIRS[self.name].task

    @property
    def minimum_batch(self) -> int:
        """Images that training needs at least."""
        return PAIRS[self.name].minimum_batch


AnyModel = Annotated[Model | OwnModel, Field(discriminator="kind")]


_Scale = Annotated[float, Field(gt=0, le=4)]


class Evaluate(Section):
    """The normalised image resized by `scale`, the logits resized to the label, argmax.

    With `scales` or `flip` the softmax is averaged over them. With `window_hw` over windows, too,
    that slide by `stride` of their size; padded with the mean where the image is smaller.
    `pad_to_multiple`: the image is padded with the mean, below and at the right, until its sides
    are multiples, and the classes are cut to its size. `post`: what becomes of a net's maps.
    """

    scale: _Scale = 1.0
    scales: Annotated[tuple[_Scale, ...], Field(min_length=1)] | None = None  # instead of scale
    align_corners: bool = False  # of both resizes
    window_hw: Size | None = None  # height, width
    stride: Annotated[float, Field(gt=0, le=1)] = 2 / 3
    flip: bool = False  # the mirror image, too
    pad_to_multiple: Positive = 1
    pad_beyond: NotNegative = 0  # pixels that sides have beyond a multiple: 33 is 32 and 1
    batch_size: Positive = 1
    absent: Literal["nan", "skip", "zero", "one"] = "nan"  # IoU of a class that occurs nowhere
    post: AnyPost = ArgmaxPost(name=ARGMAX)

    @model_validator(mode="after")
    def _one_protocol(self) -> "Evaluate":
        if self.scales and self.scale != 1:
            raise ValueError(
                f"scales stand instead of scale, which is {self.scale:g}: take one of them out "
                "(evaluate.scale=1, or evaluate.scales=null)"
            )
        if self.pad_to_multiple > 1 and (self.window_hw or self.all_scales != (1,)):
            raise ValueError("pad_to_multiple goes with scale 1, and without window_hw")
        if self.pad_beyond >= self.pad_to_multiple and self.pad_beyond:
            raise ValueError(
                f"pad_beyond is {self.pad_beyond}: set less than pad_to_multiple, which is "
                f"{self.pad_to_multiple}"
            )
        return self

    @property
    def all_scales(self) -> tuple[float, ...]:
        """The scales at which the net sees an image."""
        return self.scales or (self.scale,)


class Log(Section):
    """What a run writes for viewers, beside its log.jsonl."""

    tensorboard: bool = True
    visualdl: bool = False
    images: NotNegative = 4  # of a validation: photo, label and prediction


class Reproduce(Section):
    """What the demo does with this config (tools/reproduce.py)."""

    input_shape: Batched | BatchedVolumes = (2, 3, 64, 96)
    fast_shape: Batched | BatchedVolumes = (2, 3, 64, 64)  # with --fast
    seeds: Positive = 1  # nets of each side in the init rung; 1: by the size of the net
    training_steps: Positive = 20  # forced steps of the training alignment
    train_both: bool = False  # the reference too, from the same weights (--both)
    train_threshold: Above0 = 0.0015  # between both scores: the guide's 0.15 %
    toy_train: Positive = 60
    toy_val: Positive = 20
    toy_size_hw: Size = (256, 512)
    toy_shape: VolumeShape = (32, 64, 64)  # of volumes: depth, height, width


class Settings(Section):
    """One run."""

    name: str
    seed: NotNegative = 0
    output: str = "runs/{name}_{framework}"  # folder of the run
    model: AnyModel
    weights: Weights = Weights()
    data: AnyData
    target: AnyTarget = LabelTarget(name=LABEL)
    loss: AnyLoss
    optimizer: AnyOptimizer
    schedule: AnySchedule
    metric: AnyMetric = TaskMetric(name="task")
    train: Train
    freeze: Freeze = Freeze()
    processes: Processes = Processes()
    evaluate: Evaluate = Evaluate()
    log: Log = Log()
    reproduce: Reproduce = Reproduce()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        iterations, schedule = self.train.iterations, self.schedule
        if isinstance(schedule, Decay) and schedule.end(iterations) < iterations:
            raise ValueError(
                f"schedule.max_steps is {schedule.max_steps}, fewer than train.iterations "
                f"({iterations}); leave it out to follow train.iterations"
            )
        if schedule.name == "plateau" and not self.train.eval_interval:
            raise ValueError(
                "schedule.name is plateau, which follows the validations, and there are none: "
                "train.eval_interval is 0"
            )
        self._check_task()
        self._check_early_stop()
        self._check_schedule()
        self._check_weights()
        self._check_batch()
        return self

    def classes(self) -> Classes:
        """Return names and colours of the net's classes; where no set names them, their numbers.

        Raises ConfigError where the data set has another number of classes than the net.
        """
        known, count = self.data.classes(), self.model.num_classes
        if known is None:
            return Classes(tuple(f"class {index}" for index in range(count)), bit_palette(count))
        if len(known) != count:
            raise ConfigError(
                f"model.num_classes is {count}, but {self.data.dataset} has {len(known)} classes; "
                "set it to that"
            )
        return known

    def _check_task(self) -> None:
        """Nets of a task are taught and read by what that task has."""
        task, evaluate = self.model.task, self.evaluate
        if task == VOLUMETRIC or isinstance(self.data, VolumeKeys):
            require_volumes(self)
            return
        chosen = {"target.name": self.target.name, "evaluate.post.name": evaluate.post.name}
        plain = {"target.name": LABEL, "evaluate.post.name": ARGMAX}
        for key, value in chosen.items():
            if task_of(value) != task:
                other = "another" if task != SEMANTIC else plain[key]
                raise ValueError(
                    f"{key} is {value}, and {self.model.name} is a net of {task} segmentation: "
                    f"set {other}"
                )
        if not isinstance(self.loss, OwnLoss):
            require_one_kind(self.loss, self.target, evaluate.post)
        averaged = evaluate.window_hw or evaluate.flip or evaluate.all_scales != (1,)
        self._check_data_of_task()
        if task != SEMANTIC and averaged:
            raise ValueError(
                "evaluate.scale, scales, flip and window_hw average probabilities of classes, and "
                f"{self.model.name} has maps of segments: take them out of the config"
            )

    def _check_data_of_task(self) -> None:
        """A set of segments is one of labels, too; one of objects is not."""
        task, held = self.model.task, self.data.task
        sets = [
            name for name, row in DATASETS.items() if hasattr(row.source, KNOWN_BY.get(task, ""))
        ]
        if task != SEMANTIC and held != task:
            what = "objects" if task == INSTANCES else "segments"
            raise ValueError(
                f"data.dataset is {self.data.dataset}, which has no {what}, and "
                f"{self.model.name} is a net of {task} segmentation: set one of {', '.join(sets)}"
            )
        if task == SEMANTIC and held == INSTANCES:
            raise ValueError(
                f"data.dataset is {self.data.dataset}, whose objects are no label of every pixel, "
                f"and {self.model.name} is a net of semantic segmentation: set coco, whose labels "
                "have background"
            )
        if isinstance(self.target, ObjectsTarget) and self.evaluate.batch_size > 1:
            raise ValueError(
                f"evaluate.batch_size is {self.evaluate.batch_size}, and {self.model.name} resizes "
                "every image by itself, without padding: set 1"
            )
        if isinstance(self.model, Model) and isinstance(self.target, SoloTarget):
            self._check_grids(self.target)

    def _check_grids(self, target: SoloTarget) -> None:
        """Raise ValueError where the net of a row has other grids than it is taught."""
        grids = self.model.options.get("num_grids")
        if tuple(grids or GRIDS) != target.num_grids:
            raise ValueError(
                f"target.num_grids is {list(target.num_grids)}, and model.options.num_grids "
                f"is {list(grids or GRIDS)}: set both to one"
            )

    def _check_early_stop(self) -> None:
        stop = self.train.early_stop
        if stop is None:
            return
        if not self.train.eval_interval:
            raise ValueError(
                "train.early_stop follows the validations, and there are none: "
                "train.eval_interval is 0"
            )
        if stop.metric == "metric" and not isinstance(self.metric, OwnMetric):
            raise ValueError(
                "train.early_stop.metric is metric, which is the user's own, and the section "
                "metric names none"
            )

    def _check_schedule(self) -> None:
        own = isinstance(self.optimizer, OwnOptimizer)
        if isinstance(self.schedule, InOptimizer):
            if not own:
                raise ValueError(
                    f"schedule.name is in_optimizer, and {self.optimizer.name} holds no scheduler: "
                    "name a schedule, or an optimizer of your own"
                )
        elif isinstance(self.schedule, OwnSchedule):
            if not (own or self.schedule.both) and self.schedule.base_lr is None:
                raise ValueError(
                    f"schedule.base_lr is not set: {self.optimizer.name} begins at it, and the "
                    "schedulers change what they find there"
                )
        else:
            try:
                self.learning_rate(0)
            except ConfigError as error:
                raise ValueError(f"schedule: {error}") from None

    def _check_weights(self) -> None:
        path, into = self.weights.path or "", self.weights.into and "weights.into"
        of_table = self.weights.row and "weights.row"
        own = isinstance(self.model, OwnModel) and not path.endswith(".pdparams")
        if own and (of_table or into):
            raise ValueError(
                f"{of_table or into} goes with nets of the table; of a net of your own give a "
                "checkpoint of the whole net, and model.rules where it names things otherwise"
            )

    def _check_batch(self) -> None:
        least = self.model.minimum_batch
        if self.data.batch_size < least:
            raise ValueError(
                f"data.batch_size is {self.data.batch_size}: {self.model.name} pools to a 1x1 map, "
                "where BatchNorm would see one value per channel, whose variance is 0; set at "
                f"least {least} images a micro-batch"
            )
        if self.min_kept is not None and self.data.crop_hw is not None:
            pixels = self.data.batch_size * self.data.crop_hw[0] * self.data.crop_hw[1]
            if self.min_kept >= pixels:
                raise ValueError(
                    f"loss.{self._ohem_key}min_kept is {self.min_kept}, but a micro-batch has only "
                    f"{pixels} pixels; leave it out for a sixteenth of them ({pixels // 16})"
                )

    @property
    def _ohem_key(self) -> str:
        return "ohem." if self.loss.name == "stdc" else ""

    @property
    def min_kept(self) -> int | None:
        """Pixels of a micro-batch that OHEM keeps at least; None without OHEM or without crops.

        The authors' 16 * 1024 * 512 // 16 per card (STDC-Seg, train.py).
        """
        ohem = self.loss.ohem if self.loss.name == "stdc" else self.loss
        if not hasattr(ohem, "min_kept"):
            return None
        if ohem.min_kept or self.data.crop_hw is None:
            return ohem.min_kept
        height, width = self.data.crop_hw
        return max(self.data.batch_size * height * width // 16, 1)

    @property
    def micro_batches(self) -> int:
        """Batches whose gradients make one update, on all processes together."""
        return self.data.cards * self.data.iter_size

    @property
    def total_batch(self) -> int:
        """Images of one iteration."""
        return self.data.batch_size * self.micro_batches

    def folder(self, framework: str) -> str:
        """`output` with {name} and {framework} filled in."""
        return self.output.replace("{name}", self.name).replace("{framework}", framework)

    @property
    def loss_options(self) -> dict[str, Any]:
        """Keyword arguments for the criterion, with the minimum count computed.

        Data of the user's own may have another label than 255 for pixels that do not count.
        """
        options = self.loss.options
        if isinstance(self.loss, SoloLossOptions):
            options["num_classes"] = self.model.num_classes
        options.pop("weight_formula", None)  # of weights that are computed before
        void = getattr(self.data, "ignore_index", VOID)
        if isinstance(self.data, OwnData) and void != VOID:
            places = (
                (options["ohem"], options["detail"]) if self.loss.name == "stdc" else (options,)
            )
            for place in places:
                place["ignore_index"] = void
        if self.min_kept is not None:
            (options["ohem"] if self.loss.name == "stdc" else options)["min_kept"] = self.min_kept
        return options

    def learning_rate(self, step: int, reductions: int = 0) -> float:
        """The schedule's rate of update `step`, counted from 0 (heads: times their multiplier).

        reductions: of a plateau so far. Of a schedule of our own; others are callables of a side.
        """
        if isinstance(self.schedule, OwnSchedule | InOptimizer):
            raise ConfigError(f"schedule.name is {self.schedule.name}: ask a side for its rates")
        if self.schedule.base_lr == 0:
            return 0.0
        return float(self.schedule.rate(step, self.train.iterations, reductions))

    def resized(self, shape: tuple[int, ...]) -> "Settings":
        """This recipe on single batches and crops of `shape` [N, 3, H, W], or [N, C, D, H, W].

        Raises ConfigError where a run of that shape cannot be.
        """
        size = {"batch_size": shape[0], "cards": 1, "iter_size": 1, **self.data.cut_to(shape)}
        loss = self.loss
        if loss.name == "stdc":
            loss = loss.model_copy(update={"ohem": loss.ohem.model_copy(update={"min_kept": None})})
        elif loss.name == "ohem":
            loss = loss.model_copy(update={"min_kept": None})
        data = self.data.model_copy(update=size)
        small = self.model_copy(update={"data": data, "loss": loss})
        try:
            return Settings.model_validate(small.model_dump())
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"reproduce: inputs of shape {list(shape)} do not fit this config: {why}"
            ) from None
