"""What a config says of instances: their augmentation, what nets are taught, what is read of them.

`name` says which row of `common.instances.teach.TEACH` or `common.instances.post.POST`; the other
keys are the row's own options.
"""

from typing import Annotated, Literal

from pydantic import Field

from common.settings.section import Above0, AtLeast0, Named, NotNegative, Positive, Share

Five = tuple[Positive, Positive, Positive, Positive, Positive]
_Range = tuple[AtLeast0, AtLeast0]
GRIDS, STRIDES = (40, 36, 24, 16, 12), (8, 8, 16, 32, 32)
RANGES = ((1.0, 96.0), (48.0, 192.0), (96.0, 384.0), (192.0, 768.0), (384.0, 2048.0))


class InstancesAugmentation(Named):
    """Edges, and mirror images; `data.crop_hw`, where it is set, is what images are shrunk to."""

    name: Literal["instances"]
    # One is drawn; none: images keep their size, for nets that resize them themselves.
    short_sides: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = (800,)
    longest: Positive = 1333  # pixels
    flip: Share = 0.5


class SoloTarget(Named):
    """A class for every cell of five grids, and the masks of those that hold an object."""

    name: Literal["solo"]
    num_grids: Five = GRIDS  # cells on a side, as of the net
    scale_ranges: tuple[_Range, _Range, _Range, _Range, _Range] = RANGES  # roots of boxes' areas
    strides: Five = STRIDES
    mask_stride: Positive | None = None  # of SOLOv2's masks: 4; none: SOLO


class ObjectsTarget(Named):
    """The objects as they are: boxes, labels and masks."""

    name: Literal["objects"]


class SoloPost(Named):
    """Cells above a score, then matrix NMS."""

    name: Literal["solo"]
    strides: Five = STRIDES
    score_thr: Share = 0.1
    mask_thr: Share = 0.5
    filter_thr: Share = 0.05
    nms_pre: NotNegative = 500  # objects before matrix NMS at most; 0: all
    kernel: Literal["gaussian", "linear"] = "gaussian"
    sigma: Above0 = 2.0
    max_per_img: NotNegative = 100


class ObjectsPost(Named):
    """What a net with a box head finds; a pixel is of an object from `mask_thr` on."""

    name: Literal["objects"]
    mask_thr: Share = 0.5
