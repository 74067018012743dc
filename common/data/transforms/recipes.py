"""The augmentation of each recipe, in its authors' order: functions that return transforms.

All take `crop_hw` (height, width; None: whole images) and `fill`, the colour (RGB, 0..255) that
padding has; the rest are the recipe's own numbers.
"""

from collections.abc import Callable, Sequence

from common.data.transforms.arrays import (
    AsArrays,
    Blur,
    ChosenScale,
    Color,
    Fitted,
    Flip,
    PadAndCrop,
    Rotate,
    UniformScale,
)
from common.data.transforms.fast import ScaledCrop, Warp
from common.data.transforms.images import (
    ChosenShortSide,
    ColorJitter,
    HorizontalFlip,
    RandomCrop,
    RandomScale,
    RandomShortSide,
    Transform,
)
from common.data.transforms.mixing import Jitter, Mosaic
from common.errors import ConfigError

# MichaelFan01/STDC-Seg, train.py, randomscale.
STDC_SCALES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5)
# kazuto1011/deeplab-pytorch, configs/voc12.yaml.
KAZUTO_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
# detectron2, projects/Panoptic-DeepLab/configs/Cityscapes-PanopticSegmentation/
# Base-PanopticDeepLab-OS16.yaml, MIN_SIZE_TRAIN.
DETECTRON2_SIDES = (
    *(512, 640, 704, 832, 896, 1024, 1152, 1216, 1344, 1408, 1536, 1664, 1728, 1856, 1920, 2048),
)
BLACK = (0.0, 0.0, 0.0)
CropSize = tuple[int, int]
AUTHORS, FAST = "authors", "fast"  # orders
STEPS = ("mosaic", "jitter", "flip", "scale", "rotate", "blur", "crop")  # of `custom`


def none(crop_hw: CropSize | None, fill: Color) -> tuple[Transform, ...]:
    """Nothing, as wkentaro/pytorch-fcn and milesial/Pytorch-UNet; at most a crop."""
    return (AsArrays(), PadAndCrop(crop_hw, fill)) if crop_hw else ()


def stdc(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    brightness: float = 0.5,
    contrast: float = 0.5,
    saturation: float = 0.5,
    flip: float = 0.5,
    scales: Sequence[float] = STDC_SCALES,
    order: str = AUTHORS,
) -> tuple[Transform, ...]:
    """Return MichaelFan01/STDC-Seg, cityscapes.py; theirs is crop_hw = (512, 1024).

    Contrast depends on the mean of the whole frame, so jitter comes before the crop. Small frames
    are enlarged; what a longer window leaves then is padded with the mean. `order`: "fast" resizes
    nothing but the window and jitters it alone, whose contrast is then about its own mean.
    """
    if order == FAST:
        cut = ScaledCrop(tuple(scales), _needed(crop_hw), fill)
        return (cut, HorizontalFlip(flip), ColorJitter(brightness, contrast, saturation))
    return (
        ColorJitter(brightness, contrast, saturation),
        HorizontalFlip(flip),
        RandomScale(tuple(scales)),
        RandomCrop(_needed(crop_hw), fill),
    )


def semseg(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    scale_range: tuple[float, float] = (0.5, 2.0),
    degrees: float = 10.0,
    rotate: float = 0.5,
    blur: float = 0.5,
    flip: float = 0.5,
    order: str = AUTHORS,
) -> tuple[Transform, ...]:
    """Return hszhao/semseg, tool/train.py; padding is the mean.

    `order`: "fast" resamples the window once, and blurs it alone.
    """
    if order == FAST:
        size = _needed(crop_hw)
        warp = Warp(size, fill, scale_range, None, degrees, rotate, flip, centred=True)
        return (warp, Blur(5, blur))
    return (
        AsArrays(),
        UniformScale(*scale_range),
        Rotate(degrees, fill, rotate),
        Blur(5, blur),
        Flip(flip),
        PadAndCrop(_needed(crop_hw), fill, centred=True),
    )


def kazuto(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    scales: Sequence[float] = KAZUTO_SCALES,
    flip: float = 0.5,
    order: str = AUTHORS,
) -> tuple[Transform, ...]:
    """Return kazuto1011/deeplab-pytorch, libs/datasets/base.py; padding is the mean.

    `order`: "fast" resamples the window once; what is mirrored is padded at the right, too.
    """
    if order == FAST:
        return (Warp(_needed(crop_hw), fill, scales=tuple(scales), flip=flip),)
    crop = PadAndCrop(_needed(crop_hw), fill)
    return (AsArrays(), ChosenScale(tuple(scales)), crop, Flip(flip))


def torchvision(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    short_side: tuple[int, int] = (260, 1040),
    flip: float = 0.5,
    order: str = AUTHORS,
) -> tuple[Transform, ...]:
    """Return torchvision, references/segmentation/presets.py: base size 520, x 0.5 to 2.

    Padding is black, not the mean. `order`: "fast" resamples the window once.
    """
    if order == FAST:
        return (Warp(_needed(crop_hw), BLACK, flip=flip, short_side=short_side),)
    crop = PadAndCrop(_needed(crop_hw), BLACK)
    return (RandomShortSide(*short_side), HorizontalFlip(flip), AsArrays(), crop)


def custom(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    order: Sequence[str] | str = STEPS,
    mosaic: float = 0.0,
    jitter: float = 1.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    flip: float = 0.0,
    scale_range: tuple[float, float] | None = None,
    scales: Sequence[float] | None = None,
    degrees: float = 0.0,
    rotate: float = 0.5,
    blur: float = 0.0,
    blur_size: int = 5,
    pad: str = "corner",
) -> tuple[Transform, ...]:
    """Return the steps that are on, in `order`; `fast`: geometry in one resampling, then the rest.

    Nothing is on by itself but the crop. Padding is the mean, below and at the right, or on all
    sides with `pad` "centre".
    """
    size, centred = _needed(crop_hw), pad == "centre"
    rates, strengths = None if scales is None else tuple(scales), (brightness, contrast, saturation)
    scale = ChosenScale(rates) if rates else UniformScale(*scale_range) if scale_range else None
    steps: dict[str, Transform | None] = {
        "mosaic": Mosaic(fill, mosaic) if mosaic else None,
        "jitter": Jitter(*strengths, hue, jitter) if any((*strengths, hue)) else None,
        "flip": Flip(flip) if flip else None,
        "scale": scale,
        "rotate": Rotate(degrees, fill, rotate) if degrees else None,
        "blur": Blur(blur_size, blur) if blur else None,
        "crop": PadAndCrop(size, fill, centred),
    }
    if order == FAST:
        warp = Warp(size, fill, scale_range, rates, degrees, rotate, flip, centred)
        chosen = [steps["mosaic"], warp, steps["jitter"], steps["blur"]]
        return tuple(step for step in chosen if step)
    return (AsArrays(), *(step for name in order if (step := steps[name])))


def panoptic_deeplab(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    fitted: tuple[int, int, int] | None = None,
    scale_range: tuple[float, float] = (0.5, 2.0),
    scale_step: float = 0.1,
    flip: float = 0.5,
    order: str = AUTHORS,
) -> tuple[Transform, ...]:
    """Return bowenc0221/panoptic-deeplab, segmentation/data/transforms/build.py.

    fitted: shortest side, longest side and factor of `Fitted`, which comes first. Padding is the
    mean, cut to whole numbers, with the frame at a drawn place in it. `order`: "fast" resamples the
    window once, after that.
    """
    size, whole = _needed(crop_hw), (float(int(fill[0])), float(int(fill[1])), float(int(fill[2])))
    first = (AsArrays(), Fitted(*fitted)) if fitted else ()
    scale = UniformScale(*scale_range, scale_step, whole=True)
    if order == FAST:
        ways = {"scales": scale.factors} if scale_step else {"scale_range": scale_range}
        return (*first, Warp(size, whole, flip=flip, anywhere=True, **ways))
    crop = PadAndCrop(size, whole, anywhere=True)
    return (*(first or (AsArrays(),)), scale, crop, Flip(flip))


def detectron2(
    crop_hw: CropSize | None,
    fill: Color,
    *,
    short_sides: Sequence[int] = DETECTRON2_SIDES,
    longest: int = 4096,
    flip: float = 0.5,
    order: str = AUTHORS,
) -> tuple[Transform, ...]:
    """Return detectron2, projects/Panoptic-DeepLab/panoptic_deeplab/dataset_mapper.py.

    What is smaller than the crop is padded below and at the right with the mean, as its nets do.
    `order`: "fast" resamples the window once.
    """
    sides, size = tuple(short_sides), _needed(crop_hw)
    if order == FAST:
        return (Warp(size, fill, flip=flip, short_sides=sides, longest=longest),)
    return (ChosenShortSide(sides, longest), AsArrays(), PadAndCrop(size, fill), Flip(flip))


AUGMENTATIONS: dict[str, Callable[..., tuple[Transform, ...]]] = {
    "none": none,
    "stdc": stdc,
    "semseg": semseg,
    "kazuto": kazuto,
    "torchvision": torchvision,
    "custom": custom,
    "panoptic_deeplab": panoptic_deeplab,
    "detectron2": detectron2,
}


def _needed(crop_hw: CropSize | None) -> CropSize:
    if crop_hw is None:
        raise ConfigError("this augmentation changes sizes, so data.crop_hw must be set")
    return crop_hw
