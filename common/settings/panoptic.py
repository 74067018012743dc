"""What a net is taught, and what becomes of its maps: sections of a config that tasks differ in.

`name` says which row of `common.panoptic.makers.TARGETS` or `common.panoptic.post.POST`; the other
keys are the row's own options.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from common.settings.instances import ObjectsPost, ObjectsTarget, SoloPost, SoloTarget
from common.settings.section import Named, NotNegative, Positive, Share
from common.settings.volumes import VolumePost, VolumeTarget

LABEL: Final = "label"  # the names of what semantic nets have
ARGMAX: Final = "argmax"
TAKES: Final = {  # losses that take another target than the label
    "panoptic_deeplab": "panoptic_deeplab",
    "vip_deeplab": "panoptic_deeplab",
    "max_deeplab": "max_deeplab",
    "solo": "solo",
    "mask_rcnn": "objects",
}
TASKS_OF: Final = {  # what a target, or what becomes of outputs, is of; others are panoptic
    "label": "semantic",
    "argmax": "semantic",
    "solo": "instances",
    "objects": "instances",
    "volume": "volumetric",
}


class LabelTarget(Named):
    """The label as it is, as nets of semantic segmentation are taught."""

    name: Literal["label"]


class PanopticDeepLabTarget(Named):
    """Classes, a heat map of centres and the way to them, each with weights by pixel."""

    name: Literal["panoptic_deeplab"]
    centre_rounding: Literal["int", "round"] = "int"  # round: as detectron2
    sigma: Positive = 8  # of a centre's Gaussian, in pixels
    ignore_stuff_in_offset: bool = True  # as all configs of both authors
    small_instance_area: NotNegative = 0  # pixels below which a thing is small; 0: none is
    small_instance_weight: Positive = 1  # of a small thing's pixels in the loss of classes
    ignore_crowd_in_semantic: bool = False


class MaxDeepLabTarget(Named):
    """Masks and classes of the segments."""

    name: Literal["max_deeplab"]
    style: Literal["simplified", "paper"] = "simplified"
    max_objects: Positive | None = None  # of an image; none: 50, of the paper 128
    crowds_are_objects: bool = False


class ArgmaxPost(Named):
    """The class of the largest logit: all that a semantic net needs."""

    name: Literal["argmax"]


class _PanopticPost(Named):
    """Ids of segments are class * label_divisor + number."""

    label_divisor: Positive = 1000


class PanopticDeepLabPost(_PanopticPost):
    """Pixels are grouped around centres; a group has the class of most of its pixels."""

    name: Literal["panoptic_deeplab"]
    threshold: Share = 0.1  # of the heat map: below it there is no centre
    nms_kernel: Positive = 7  # pixels, odd: a centre is the highest of as many a side
    top_k: Positive = 200  # centres
    stuff_area: NotNegative = 2048  # pixels that a class of stuff has at least

    @model_validator(mode="after")
    def _kernel_has_a_middle(self) -> Self:
        if self.nms_kernel % 2 == 0:
            raise ValueError(
                f"nms_kernel is {self.nms_kernel}: set an odd number, which has a middle"
            )
        return self


class MaxDeepLabPost(_PanopticPost):
    """A pixel is of the mask that is largest there, where both are sure enough."""

    name: Literal["max_deeplab"]
    thing_area_limit: NotNegative = 100  # pixels that a thing has at least
    stuff_area_limit: NotNegative = 1600
    pixel_confidence_threshold: Share = 0.4
    transformer_class_confidence_threshold: Share = 0.7


AnyTarget = Annotated[
    LabelTarget
    | PanopticDeepLabTarget
    | MaxDeepLabTarget
    | SoloTarget
    | ObjectsTarget
    | VolumeTarget,
    Field(discriminator="name"),
]
AnyPost = Annotated[
    ArgmaxPost | PanopticDeepLabPost | MaxDeepLabPost | SoloPost | ObjectsPost | VolumePost,
    Field(discriminator="name"),
]


def task_of(name: str) -> str:
    """Return the task that a target, or a way from outputs to predictions, is of."""
    return TASKS_OF.get(name, "panoptic")


def require_one_kind(loss: Named, target: Named, post: Named) -> None:
    """Raise ValueError where a loss of ours takes another target, or maps are read otherwise.

    A loss tells what maps a net returns, so also how they are read.
    """
    takes = TAKES.get(loss.name, LABEL)
    if target.name != takes:  # the net says whether it is taught labels, so the loss gives way
        other = "cross_entropy" if target.name == LABEL else target.name
        raise ValueError(
            f"loss.name is {loss.name}, which takes the target {takes}, and target.name is "
            f"{target.name}: set another loss, such as {other}"
        )
    styles = [section.style for section in (loss, target) if hasattr(section, "style")]
    if len(set(styles)) > 1:
        raise ValueError(
            f"loss.style is {styles[0]}, and target.style is {styles[1]}: set both to one"
        )
    if takes != LABEL and post.name != takes:
        raise ValueError(
            f"evaluate.post.name is {post.name}, and loss.name is {loss.name}, whose maps are "
            f"read by {takes}: set evaluate.post.name={takes}"
        )
