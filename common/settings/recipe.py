"""Loss and optimizer of a config: one class for each row of the tables they name; the choices.

`name` says which; the other keys are the row's own options.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from common.param_groups import (
    ADAMW_WEIGHT_DECAY,
    FCN_BIAS_LR_MULTIPLIER,
    FCN_MOMENTUM,
    HEAD_LR_MULTIPLIER,
    MOMENTUM,
    PSPNET_WEIGHT_DECAY,
    WEIGHT_DECAY,
)
from common.settings.own import InOptimizer, OwnLoss, OwnMetric, OwnOptimizer, OwnSchedule
from common.settings.schedules import (
    Constant,
    Cosine,
    MultiStep,
    OneCycle,
    Plateau,
    Poly,
    StepDecay,
    WarmupPoly,
)
from common.settings.section import Above0, AtLeast0, Named, NotNegative, Pattern, Positive, Section
from common.settings.volumes import VolumeLossOptions

Momentum = Annotated[float, Field(ge=0, lt=1)]


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


class StdcLossOptions(Named):
    """STDC's whole loss."""

    name: Literal["stdc"]
    ohem: Ohem = Ohem()
    detail: Detail = Detail()


class OhemLossOptions(Ohem, Named):
    """`OhemCrossEntropy` alone, for a net with one output."""

    name: Literal["ohem"]


class PlainLossOptions(Named):
    """A criterion without options."""

    name: Literal["summed_cross_entropy", "multi_scale_cross_entropy"]


def _weights(given: Any) -> Any:
    if given is None or given == FROM_DATA:
        return given
    numbers = isinstance(given, list | tuple) and all(type(one) in (int, float) for one in given)
    if not numbers or not all(0 <= one < math.inf for one in given) or not any(given):
        raise ValueError(
            f"expected a number of at least 0 for each class, or {FROM_DATA}, got {given!r:.60}"
        )
    return tuple(float(one) for one in given)


FROM_DATA = "from_data"
Weights = Annotated[Any, AfterValidator(_weights)]  # tuple of floats, FROM_DATA or None


class ClassWeights(Section):
    """Weights of the classes in a criterion of pixels."""

    weights: Weights = None  # a number for each class, or from_data: by the pixels of their labels
    weight_formula: Literal["median_frequency", "enet"] | None = None  # none: median_frequency

    @model_validator(mode="after")
    def _formula_of_data(self) -> Self:
        if self.weight_formula and self.weights != FROM_DATA:
            raise ValueError(f"weight_formula goes with weights: {FROM_DATA}")
        return self

    @property
    def formula(self) -> str:
        """A row of `common.data.class_weights.FORMULAS`."""
        return self.weight_formula or "median_frequency"


class CrossEntropyOptions(ClassWeights, Named):
    """Cross-entropy of one class map, weighted and smoothed where a config says so."""

    name: Literal["cross_entropy", "upsampled_cross_entropy"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class UNetLossOptions(Named):
    """Cross-entropy and Dice."""

    name: Literal["unet"]
    pooled_classes: bool = True  # an effect of the authors' code


class AuxiliaryLossOptions(ClassWeights, Named):
    """Cross-entropy of two heads."""

    name: Literal["auxiliary_cross_entropy"]
    aux_weight: AtLeast0 = 0.4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Dice(Section):
    """Options of `DiceLoss`."""

    smooth: Above0 = 1.0
    squared: bool = False  # squares in the denominator, as in V-Net
    per_image: bool = False
    classes: Literal["all", "present"] = "all"
    aux_weight: AtLeast0 = 0.4  # of a net's other class maps
    maps: Positive | None = None  # outputs that are class maps, the first ones; none: all


class DiceOptions(Dice, Named):
    """Dice alone."""

    name: Literal["dice"]


class CrossEntropyDiceOptions(Dice, Named):
    """Cross-entropy and Dice."""

    name: Literal["cross_entropy_dice"]
    cross_entropy_weight: AtLeast0 = 1.0
    dice_weight: AtLeast0 = 1.0


class FocalOptions(ClassWeights, Named):
    """Focal loss."""

    name: Literal["focal"]
    gamma: AtLeast0 = 2.0
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    aux_weight: AtLeast0 = 0.4  # of a net's other class maps
    maps: Positive | None = None  # outputs that are class maps, the first ones; none: all

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.alpha is not None and self.weights is not None:
            raise ValueError("alpha and weights are both set: weights stand in place of alpha")
        return self


class LovaszOptions(Named):
    """Lovasz-softmax."""

    name: Literal["lovasz_softmax"]
    classes: Literal["all", "present"] = "present"
    per_image: bool = False
    aux_weight: AtLeast0 = 0.4  # of a net's other class maps
    maps: Positive | None = None  # outputs that are class maps, the first ones; none: all


class PanopticTerms(Section):
    """Options of `PanopticDeepLabLoss`."""

    top_k: Annotated[float, Field(gt=0, le=1)] | None = 0.2  # none: plain cross-entropy
    semantic_weight: AtLeast0 = 1.0
    center_weight: AtLeast0 = 200.0
    offset_weight: AtLeast0 = 0.01


class PanopticDeepLabOptions(PanopticTerms, Named):
    """Classes, centers and offsets."""

    name: Literal["panoptic_deeplab"]


class ViPDeepLabOptions(PanopticTerms, Named):
    """The same, offsets to the next frame, and depths."""

    name: Literal["vip_deeplab"]
    next_offset_weight: AtLeast0 = 0.01
    depth_weight: AtLeast0 = 0.1
    ignore_depth: float = 0.0


class MaxDeepLabOptions(Named):
    """Slots are matched with objects; then masks, classes, mask ids, instances and pixels."""

    name: Literal["max_deeplab"]
    style: Literal["simplified", "paper"] = "simplified"
    things: tuple[NotNegative, ...] = ()  # classes that are things; for style paper
    ignore_label: int = 255  # void in the semantic target; for style paper
    crowds_push: bool = True  # an effect of the authors' code, see `MaxDeepLabLoss`; style paper

    @model_validator(mode="after")
    def _paper_has_things(self) -> Self:
        if self.style == "paper" and not self.things:
            raise ValueError(
                "style paper needs things, the classes of the data set that are things"
            )
        return self


class SoloLossOptions(Named):
    """Dice of the masks of cells that hold an object, and focal loss of the classes of all."""

    name: Literal["solo"]
    mask_weight: AtLeast0 = 3.0
    class_weight: AtLeast0 = 1.0


class MaskRCNNLossOptions(Named):
    """The sum of the five losses that the net itself computes."""

    name: Literal["mask_rcnn"]


class Clip(Section):
    """Gradients are cut to `limit` before a step.

    By value each element is, by norm each tensor, by global_norm all that the optimizer holds; in
    torch's formulas on both sides.
    """

    by: Literal["value", "norm", "global_norm"]
    limit: Above0


class Optimizer(Named):
    """What every optimizer with momentum here has."""

    momentum: Momentum = MOMENTUM
    weight_decay: AtLeast0 = PSPNET_WEIGHT_DECAY
    clip: Clip | None = None


class StdcSGD(Optimizer):
    """STDC's groups."""

    name: Literal["stdc_sgd"]
    weight_decay: AtLeast0 = WEIGHT_DECAY
    head_lr_multiplier: AtLeast0 = HEAD_LR_MULTIPLIER
    train_backbone_norm: bool = False


class FCNSGD(Optimizer):
    """FCN's groups: bilinear deconvolutions are frozen."""

    name: Literal["fcn_sgd"]
    momentum: Momentum = FCN_MOMENTUM
    weight_decay: AtLeast0 = WEIGHT_DECAY
    bias_lr_multiplier: AtLeast0 = FCN_BIAS_LR_MULTIPLIER


class UNetRMSprop(Named):
    """RMSprop with momentum, gradients cut to a common norm; everything in one group."""

    name: Literal["unet_rmsprop"]
    momentum: Momentum = 0.999
    weight_decay: AtLeast0 = 1e-8
    alpha: Momentum = 0.99
    epsilon: Above0 = 1e-8
    max_norm: Above0 = 1.0


class GroupOptions(Section):
    """Parameters in whose names `match` is found; the first group that finds one has it."""

    match: Pattern
    lr_multiplier: AtLeast0 = 1.0
    weight_decay: AtLeast0 | None = None  # none: the optimizer's


class PlainSGD(Optimizer):
    """Everything in one group, but for those of `groups`."""

    name: Literal["sgd"]
    nesterov: bool = False
    groups: tuple[GroupOptions, ...] = ()

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov goes with a momentum, which is 0")
        return self


class AdamOptions(Named):
    """torch's Adam, whose decay is added to the gradient, and AdamW, whose decay is not."""

    name: Literal["adam", "adamw"]
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    epsilon: Above0 = 1e-8
    amsgrad: bool = False
    weight_decay: AtLeast0 | None = None  # none: torch's, 0 of adam and 0.01 of adamw
    clip: Clip | None = None
    groups: tuple[GroupOptions, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for what the row builds."""
        decay = {"adam": 0.0, "adamw": ADAMW_WEIGHT_DECAY}[self.name]
        set_ = decay if self.weight_decay is None else self.weight_decay
        return {**super().options, "weight_decay": set_}


class HeadSGD(Optimizer):
    """The groups of PSPNet or GloRe: heads learn faster."""

    name: Literal["pspnet_sgd", "glore_sgd"]
    head_lr_multiplier: AtLeast0 = HEAD_LR_MULTIPLIER


class DeepLabV2SGD(Optimizer):
    """DeepLabV2's groups: BatchNorms are frozen."""

    name: Literal["deeplabv2_sgd"]
    weight_decay: AtLeast0 = WEIGHT_DECAY
    aspp_lr_multiplier: AtLeast0 = HEAD_LR_MULTIPLIER


class TorchvisionSGD(Optimizer):
    """torchvision's groups: the auxiliary head learns faster."""

    name: Literal["torchvision_sgd"]
    aux_lr_multiplier: AtLeast0 = HEAD_LR_MULTIPLIER


class TaskMetric(Named):
    """The scores of the net's task, see `common.evaluation`; mean IoU says which is best."""

    name: Literal["task"]


AnyLoss = Annotated[
    StdcLossOptions
    | OhemLossOptions
    | PlainLossOptions
    | UNetLossOptions
    | AuxiliaryLossOptions
    | CrossEntropyOptions
    | DiceOptions
    | CrossEntropyDiceOptions
    | FocalOptions
    | LovaszOptions
    | PanopticDeepLabOptions
    | ViPDeepLabOptions
    | MaxDeepLabOptions
    | SoloLossOptions
    | VolumeLossOptions
    | MaskRCNNLossOptions
    | OwnLoss,
    Field(discriminator="name"),
]
AnyOptimizer = Annotated[
    StdcSGD
    | FCNSGD
    | UNetRMSprop
    | PlainSGD
    | AdamOptions
    | HeadSGD
    | DeepLabV2SGD
    | TorchvisionSGD
    | OwnOptimizer,
    Field(discriminator="name"),
]
AnySchedule = Annotated[
    Constant
    | Poly
    | WarmupPoly
    | Plateau
    | Cosine
    | StepDecay
    | MultiStep
    | OneCycle
    | OwnSchedule
    | InOptimizer,
    Field(discriminator="name"),
]
AnyMetric = Annotated[TaskMetric | OwnMetric, Field(discriminator="name")]
