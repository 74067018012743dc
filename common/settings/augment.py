"""The augmentation of a config: those of papers, of users, and one of steps of one's own choice."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from common.data.transforms.recipes import (
    DETECTRON2_SIDES,
    FAST,
    KAZUTO_SCALES,
    STDC_SCALES,
    STEPS,
)
from common.settings.instances import InstancesAugmentation
from common.settings.own import OwnAugmentation
from common.settings.section import Above0, AtLeast0, Named, Positive, Share

Scales = Annotated[tuple[Above0, ...], Field(min_length=1)]
Order = Literal["authors", "fast"]  # fast: what costs is done to the pixels of the crop alone


class PanopticDeeplabAugmentation(Named):
    """Panoptic-DeepLab's."""

    name: Literal["panoptic_deeplab"]
    fitted: tuple[Positive, Positive, Positive] | None = None  # shortest, longest, factor; first
    scale_range: tuple[Above0, Above0] = (0.5, 2.0)
    scale_step: AtLeast0 = 0.1  # between factors; 0: any factor of the range
    flip: Share = 0.5
    order: Order = "authors"


class Detectron2Augmentation(Named):
    """Panoptic-DeepLab's of detectron2."""

    name: Literal["detectron2"]
    short_sides: Annotated[tuple[Positive, ...], Field(min_length=1)] = DETECTRON2_SIDES
    longest: Positive = 4096  # pixels
    flip: Share = 0.5
    order: Order = "authors"


class NoAugmentation(Named):
    """Whole images, or crops of them."""

    name: Literal["none"]


class StdcAugmentation(Named):
    """STDC's; 0 or one scale of 1 turns a step off."""

    name: Literal["stdc"]
    brightness: AtLeast0 = 0.5
    contrast: AtLeast0 = 0.5
    saturation: AtLeast0 = 0.5
    flip: Share = 0.5
    scales: Scales = STDC_SCALES
    order: Order = "authors"


class SemsegAugmentation(Named):
    """PSPNet's."""

    name: Literal["semseg"]
    scale_range: tuple[Above0, Above0] = (0.5, 2.0)
    degrees: AtLeast0 = 10.0
    rotate: Share = 0.5
    blur: Share = 0.5
    flip: Share = 0.5
    order: Order = "authors"


class KazutoAugmentation(Named):
    """DeepLab's."""

    name: Literal["kazuto"]
    scales: Scales = KAZUTO_SCALES
    flip: Share = 0.5
    order: Order = "authors"


class TorchvisionAugmentation(Named):
    """torchvision's."""

    name: Literal["torchvision"]
    short_side: tuple[Positive, Positive] = (260, 1040)
    flip: Share = 0.5
    order: Order = "authors"


def _order(given: Any) -> Any:
    if given == FAST:
        return given
    steps = tuple(given) if isinstance(given, list | tuple) else ()
    if sorted(map(str, steps)) != sorted(STEPS):
        raise ValueError(
            f"expected {FAST}, or each of {', '.join(STEPS)} once, in the order in which they are "
            f"to come, got {given!r:.80}"
        )
    if steps.index("crop") < steps.index("scale"):
        raise ValueError("scale comes behind crop, so that crops would differ in size")
    return steps


class CustomAugmentation(Named):
    """Steps of one's own choice; what is 0 or not set is not done, and the crop always is."""

    name: Literal["custom"]
    order: Annotated[Any, AfterValidator(_order)] = STEPS  # or fast: geometry first, at once
    mosaic: Share = 0.0  # probability of four frames in one
    jitter: Share = 1.0  # probability of the four that follow
    brightness: AtLeast0 = 0.0
    contrast: AtLeast0 = 0.0
    saturation: AtLeast0 = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of the circle
    flip: Share = 0.0
    scale_range: tuple[Above0, Above0] | None = None
    scales: Scales | None = None
    degrees: AtLeast0 = 0.0
    rotate: Share = 0.5  # probability of a rotation, where degrees are set
    blur: Share = 0.0
    blur_size: Positive = 5  # pixels, odd
    pad: Literal["corner", "centre"] = "corner"  # where a frame lies that is smaller than the crop

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scale_range and self.scales:
            raise ValueError("scale_range and scales are both set: take out one of them")
        if self.blur_size % 2 == 0:
            raise ValueError(f"blur_size is {self.blur_size}: a blur has an odd number of pixels")
        return self


AnyAugmentation = Annotated[
    NoAugmentation
    | StdcAugmentation
    | SemsegAugmentation
    | KazutoAugmentation
    | TorchvisionAugmentation
    | CustomAugmentation
    | PanopticDeeplabAugmentation
    | Detectron2Augmentation
    | InstancesAugmentation
    | OwnAugmentation,
    Field(discriminator="name"),
]
