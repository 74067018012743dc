"""Nets of volumes in a config: their data, their loss, how they are asked."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from common.data.classes import Classes, bit_palette
from common.settings.section import (
    Above0,
    AtLeast0,
    Named,
    NotNegative,
    Positive,
    Section,
    Share,
)
from common.volumes.augment import VolumeAugmentation
from common.volumes.normalise import VolumeNormalisation

VOLUMETRIC: Final = "volumetric"  # the task
VOLUME: Final = "volume"  # the name of its target, its loss and its way from logits to classes
CLASSES: Final = "classes"
MASKS: Final = "masks"  # a map of 0 and 1 for each class
OF_LABELS = ("CrossEntropyLoss", "WeightedCrossEntropyLoss")  # kinds of loss that take classes
Shape = tuple[Positive, Positive, Positive]  # depth, height, width
Halo = tuple[NotNegative, NotNegative, NotNegative]
Range = tuple[AtLeast0, AtLeast0]
Axis = Literal[0, 1, 2]  # depth, height, width


class VolumeTarget(Named):
    """The label of a patch, of the form that `data.label_form` says."""

    name: Literal["volume"]


class VolumePost(Named):
    """A volume is seen by patches that slide over it.

    A patch is seen with `halo_shape` more on each side, mirrored at the border of the volume, which
    is cut off again. Where patches overlap the later one stands, as in the authors' code, or their
    probabilities are averaged.
    """

    name: Literal["volume"]
    patch_shape: Shape | None = None  # none: data.patch_shape
    stride_shape: Shape | None = None  # none: the patch: they do not overlap
    halo_shape: Halo = (0, 0, 0)
    overlap: Literal["overwrite", "average"] = "overwrite"
    threshold: Share = 0.5  # of masks: above it a voxel is one


class VolumeLossOptions(Named):
    """One of the losses of pytorch-3dunet; each kind has options of its own."""

    name: Literal["volume"]
    kind: Literal[
        "BCEWithLogitsLoss",
        "BCEDiceLoss",
        "DiceLoss",
        "GeneralizedDiceLoss",
        "CrossEntropyLoss",
        "WeightedCrossEntropyLoss",
        "MSELoss",
        "L1Loss",
        "SmoothL1Loss",
    ]
    alpha: AtLeast0 | None = None
    normalization: Literal["sigmoid", "softmax", "none"] | None = None
    weight: tuple[AtLeast0, ...] | None = None
    pos_weight: Above0 | None = None
    ignore_index: int | None = None


class VolumeNormalisationOptions(Section):
    """How voxels become the net's input; see `common.volumes.normalise`."""

    method: Literal["standardise", "min_max", "percentile", "none"] = "standardise"
    over: Literal["volume", "patch"] = "volume"  # what mean, deviation and range are taken of
    channelwise: bool = False
    mean: float | None = None
    std: Above0 | None = None
    low: float | None = None  # of min_max in voxels' values, of percentile in percent
    high: float | None = None

    @model_validator(mode="after")
    def _given_together(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: set both, or neither")
        if self.mean is not None and self.method != "standardise":
            raise ValueError(f"mean and std go with standardise, and method is {self.method}")
        bounds = (self.low, self.high)
        if any(bound is not None for bound in bounds) and self.method in ("standardise", "none"):
            raise ValueError(
                f"low and high go with min_max or percentile, and method is {self.method}"
            )
        if None not in bounds and bounds[0] >= bounds[1]:  # type: ignore[operator]  # no None
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: the smaller is low")
        if self.method == "percentile" and not all(0 <= (b or 0) <= 100 for b in bounds):
            raise ValueError("low and high of percentile are percents, 0 to 100")
        return self

    def build(self) -> VolumeNormalisation:
        """The function."""
        return VolumeNormalisation(**self.model_dump())


def _another(plane: tuple[int, int]) -> tuple[int, int]:
    if plane[0] == plane[1]:
        raise ValueError(f"{list(plane)} is no plane: name two axes of 0 depth, 1 height, 2 width")
    return plane


class VolumeAugmentationOptions(Named):
    """What is done to patches; see `common.volumes.augment`."""

    name: Literal["volume", "none"]
    flip: Share = 0.0
    rotate90: bool = False
    degrees: Annotated[int, Field(ge=0, le=180)] = 0
    planes: Annotated[
        tuple[Annotated[tuple[Axis, Axis], AfterValidator(_another)], ...], Field(min_length=1)
    ] = ((2, 1),)
    order: Annotated[int, Field(ge=0, le=5)] = 0
    elastic: Share = 0.0
    elastic_alpha: AtLeast0 = 2000.0
    elastic_sigma: Above0 = 50.0
    elastic_depth: bool = True
    blur: Share = 0.0
    blur_sigma: Range = (0.1, 2.0)
    gaussian_noise: Share = 0.0
    gaussian_scale: Range = (0.0, 1.0)
    poisson_noise: Share = 0.0
    poisson_mean: tuple[Share, Share] = (0.0, 1.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name == "none" and self.model_dump(exclude_defaults=True, exclude={"name"}):
            raise ValueError("name is none, which has no options: set volume")
        for key in ("blur_sigma", "gaussian_scale", "poisson_mean"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key} is [{low:g}, {high:g}]: the smaller comes first")
        return self

    def build(self) -> VolumeAugmentation:
        """The function."""
        return VolumeAugmentation(**self.options)


class VolumeKeys(Section):
    """Keys of the data section that volumes have, and those that they have otherwise than photos.

    A split is a folder below `root` whose files of volumes are taken, or a pattern such as
    "train/*.h5". `raw_path` and `label_path` are names inside a file that holds several arrays;
    with `label_folder` the label of a volume is the file of its name in that folder below `root`.
    """

    class_names: Annotated[tuple[str, ...], Field(min_length=1)]
    label_form: Literal["classes", "masks"] = CLASSES
    raw_path: str = "raw"
    label_path: str = "label"
    label_folder: str | None = None
    objects: bool = False  # labels number objects: every one above 0 becomes 1
    ignore_label: int | None = None  # of the label: voxels that do not count
    patch_shape: Shape
    stride_shape: Shape | None = None  # of training patches on a grid; none: the patch
    sampling: Literal["grid", "random"] = "grid"
    patches_per_volume: Positive = 16  # of an epoch, with sampling random
    label_threshold: Share = 0.0  # share of labelled voxels above which a patch is taken
    slack_acceptance: Share = 0.0  # probability of taking another patch all the same
    keep_in_memory: bool = True  # each process its own; else a volume is read for each patch
    crop_hw: None = None
    normalisation: VolumeNormalisationOptions = VolumeNormalisationOptions()
    augmentation: VolumeAugmentationOptions = VolumeAugmentationOptions(name="none")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in ("scale", "val_short_side"):
            if key in self.model_fields_set and getattr(self, key) not in (1, None):
                raise ValueError(f"{key} is of photos: volumes are taken as they are")
        if self.sampling == "random" and self.stride_shape is not None:
            raise ValueError("stride_shape goes with sampling grid, and sampling is random")
        if self.label_form == CLASSES and len(self.class_names) < 2:
            raise ValueError(
                "label_form is classes, of which there are at least two: name the background, "
                "too, or set label_form masks"
            )
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("class_names has a name twice")
        if self.objects and len(self.class_names) != (1 if self.label_form == MASKS else 2):
            raise ValueError("objects makes foreground and background: name two classes, or a mask")
        if self.augmentation.rotate90 and self.patch_shape[1] != self.patch_shape[2]:
            raise ValueError("augmentation.rotate90 needs patches as high as wide")
        return self

    @property
    def source_options(self) -> dict[str, Any]:
        """Keyword arguments of `VolumeSet`."""
        of_set = ("class_names", "label_form", "raw_path", "label_path", "label_folder")
        return self.model_dump(include={*of_set, "objects", "ignore_label", "keep_in_memory"})

    def classes(self) -> Classes:
        """Return names and colours; a mask has not the black of a background."""
        count = len(self.class_names)
        if self.label_form == CLASSES:
            return Classes(self.class_names, bit_palette(count))
        colors = bit_palette(count + 1)
        colors[:count] = colors[1 : count + 1].copy()
        return Classes(self.class_names, colors)

    def cut_to(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return what is changed so that samples are [C, D, H, W] of a `shape` [N, C, D, H, W]."""
        return {"patch_shape": shape[2:], "stride_shape": None}


def values_of_labels(settings: Any) -> int:
    """Return how many values a label has: 0 and 1 of masks, else one for each of the classes.

    settings: of a run, whose class names these here.
    """
    data = settings.data
    masks = isinstance(data, VolumeKeys) and data.label_form == MASKS
    return 2 if masks else settings.model.net_classes


def require_volumes(settings: Any) -> None:
    """Raise ValueError where a net of volumes, its data, loss and target do not go together."""
    name, data, evaluate = settings.model.name, settings.data, settings.evaluate
    if not isinstance(data, VolumeKeys):
        raise ValueError(
            f"data.dataset is {data.dataset}, which holds images, and {name} is a net of volumes: "
            "set data.dataset=volumes"
        )
    if settings.model.task != VOLUMETRIC:
        raise ValueError(
            f"data.dataset is volumes, and {name} is a net of {settings.model.task} segmentation: "
            "set a net of volumes, such as unet3d"
        )
    for key, given in (
        ("target.name", settings.target.name),
        ("evaluate.post.name", evaluate.post.name),
    ):
        if given != VOLUME:
            raise ValueError(
                f"{key} is {given}, and {name} is a net of volumes: set {key}={VOLUME}"
            )
    if (
        evaluate.window_hw
        or evaluate.flip
        or evaluate.all_scales != (1,)
        or evaluate.pad_to_multiple > 1
    ):
        raise ValueError(
            "evaluate.scale, scales, flip, window_hw and pad_to_multiple are of images: set "
            "patch_shape, stride_shape and halo_shape of evaluate.post"
        )
    if evaluate.batch_size != 1:
        raise ValueError("evaluate.batch_size is of images: volumes are evaluated one by one")
    _require_no_gaps(evaluate.post, data)
    _require_loss(settings.loss, data)
    if len(settings.reproduce.input_shape) != 5 or len(settings.reproduce.fast_shape) != 5:
        raise ValueError(
            "reproduce.input_shape and fast_shape have five numbers of volumes: batch, channels, "
            "depth, height, width"
        )


def _require_no_gaps(post: Any, data: VolumeKeys) -> None:
    patch = post.patch_shape or data.patch_shape
    stride = post.stride_shape or patch
    if any(step > side for step, side in zip(stride, patch, strict=True)):
        raise ValueError(
            f"evaluate.post.stride_shape is {list(stride)}, and patches are {list(patch)}: voxels "
            "between them would not be seen; set at most the patch"
        )


def _require_loss(loss: Any, data: VolumeKeys) -> None:
    if loss.name == "own":
        return
    if loss.name != VOLUME:
        raise ValueError(f"loss.name is {loss.name}, which is of images: set loss.name={VOLUME}")
    takes = CLASSES if loss.kind in OF_LABELS else MASKS
    if takes != data.label_form:
        raise ValueError(
            f"loss.kind is {loss.kind}, which takes {takes}, and data.label_form is "
            f"{data.label_form}: set data.label_form={takes}, or another loss"
        )
    wanted = None if data.ignore_label is None else 255
    if loss.ignore_index != wanted:
        raise ValueError(
            f"loss.ignore_index is {loss.ignore_index}, and data.ignore_label is "
            f"{data.ignore_label}: voxels that do not count are 255 in what a loss gets, so set "
            f"loss.ignore_index to {'null' if wanted is None else wanted}"
        )
