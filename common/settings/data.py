"""The data section of a config: data set, normalisation, augmentation, batches.

To add a data set: its class in `common/data/sets/`, and here the keys that it alone has (a subclass
of `Data`), a row of `DATASETS`, and its name in `AnyData`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from common.data.classes import Classes
from common.data.dataset import DataSource
from common.data.sets.ade20k import Ade20k
from common.data.sets.carvana import Carvana
from common.data.sets.cityscapes import Cityscapes
from common.data.sets.clothing import ClothingCoParsing
from common.data.sets.coco import Coco
from common.data.sets.folder_pair import FolderPair
from common.data.sets.image_list import ImageList
from common.data.sets.pascal_context import PascalContext
from common.data.sets.voc import PascalVOC
from common.data.transforms.images import (
    MEAN,
    STD,
    FixedScale,
    Normalisation,
    RandomShortSide,
    Transform,
)
from common.data.transforms.recipes import (
    AUGMENTATIONS,
)
from common.instances.sets.coco import NAMES_BY_ID, THINGS, CocoInstances, palette_of_objects
from common.instances.sets.transforms import ResizeEdges, training_transforms
from common.panoptic.sets.cityscapes import CityscapesPanoptic
from common.panoptic.sets.coco import CocoPanoptic
from common.settings.augment import AnyAugmentation, NoAugmentation
from common.settings.instances import InstancesAugmentation
from common.settings.labels import LabelOptions
from common.settings.own import OWN, OwnOfBoth
from common.settings.section import (
    Above0,
    NotNegative,
    Positive,
    Section,
    Size,
)
from common.settings.volumes import VolumeKeys
from common.volumes.set import VolumeSet

INSTANCES = "instances"  # the augmentation of sets of objects
Triple = tuple[float, float, float]


class NormalisationOptions(Section):
    """How pixels become the net's input; mean and std in the order and range stated here."""

    channels: Literal["rgb", "bgr"] = "rgb"
    pixel_range: Literal[1, 255] = 1  # 1: divided by 255 first
    mean: Triple = MEAN
    std: tuple[Above0, Above0, Above0] = STD

    def build(self) -> Normalisation:
        """The function."""
        return Normalisation(**self.model_dump())


class Data(Section):
    """What every data set has, its augmentation and its batches."""

    dataset: str  # a row of DATASETS
    root: str
    train_split: str = "train"
    val_split: str = "val"
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0  # of image and label, in validation too
    val_short_side: Positive | None = None  # pixels, in validation; none: as it is
    crop_hw: Size | None = None  # height, width; none: whole images
    batch_size: Positive  # images on one card, which are also the images of one micro-batch
    iter_size: Positive = 1  # batches whose gradients are averaged on each card of the recipe
    cards: Positive = 1  # of the recipe; on fewer, gradients of as many micro-batches are averaged
    workers: NotNegative = 0  # processes that read ahead; 0 reads between the steps
    skip_broken: bool = False  # training images that cannot be read are left out, and named
    normalisation: NormalisationOptions = NormalisationOptions()
    augmentation: AnyAugmentation

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.crop_hw is None and self.augmentation.name not in ("none", INSTANCES, OWN):
            raise ValueError(f"crop_hw is not set, and the {self.augmentation.name} recipe crops")
        for key in ("scale_range", "short_side"):
            low, high = getattr(self.augmentation, key, None) or (0, 0)
            if low > high:
                raise ValueError(f"augmentation.{key} is [{low}, {high}]: the smaller comes first")
        return self

    @property
    def source_options(self) -> dict[str, Any]:
        """Keyword arguments of the data set's own; what is not set is left to its class."""
        own = type(self).model_fields.keys() - Data.model_fields.keys()
        return self.model_dump(include=own, exclude_none=True)

    def classes(self) -> Classes | None:
        """Return the classes of the data set; None where they are known once it is opened."""
        source = DATASETS[self.dataset].source
        return Classes(source.class_names, source.colors)

    @property
    def things(self) -> tuple[int, ...]:
        """The classes of which a set knows the segments one by one; none of a set of labels."""
        row = DATASETS.get(self.dataset)
        return tuple(getattr(row.source, "things", ())) if row else ()

    @property
    def task(self) -> str:
        """What a set knows beyond labels: "panoptic", "instances"; else "semantic"."""
        row = DATASETS.get(self.dataset)
        objects = row is not None and hasattr(row.source, "holds_objects")
        return "panoptic" if self.things else "instances" if objects else "semantic"

    @property
    def categories(self) -> tuple[int, ...]:
        """What files of a panoptic set call its classes: a number for each."""
        class_of = DATASETS[self.dataset].source.class_of  # type: ignore[attr-defined]  # of those
        by_class = {index: category for category, index in reversed(class_of.items())}
        return tuple(by_class[index] for index in range(len(by_class)))

    def transforms(self, augment: Transform | None = None) -> tuple[Transform, ...]:
        """The training augmentation; `augment` is the own one, after which the crop is cut."""
        fill = self.normalisation.build().mean_color
        if augment is not None:
            return (*self._scaled(), augment, *AUGMENTATIONS["none"](self.crop_hw, fill))
        build = AUGMENTATIONS[self.augmentation.name]
        return (*self._scaled(), *build(self.crop_hw, fill, **self.augmentation.options))

    def validation_transforms(self) -> tuple[Transform, ...]:
        """What is done to images and labels of the validation."""
        short = self.val_short_side
        return (*self._scaled(), *([RandomShortSide(short, short)] if short else []))

    def cut_to(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return what is changed so that samples are of a `shape` [N, C, H, W]."""
        return {"crop_hw": shape[2:]}

    def _scaled(self) -> tuple[Transform, ...]:
        return () if self.scale == 1 else (FixedScale(self.scale),)


class CityscapesData(Data):
    """Cityscapes, real or rendered."""

    dataset: Literal["cityscapes"]
    labels: Literal["auto", "labelIds", "labelTrainIds"] | None = None  # none: auto


class VocData(Data):
    """Pascal VOC 2012, with or without the labels of SBD."""

    dataset: Literal["voc"]


class CocoData(Data):
    """COCO 2017 in the classes of Pascal VOC."""

    dataset: Literal["coco"]


class CarvanaData(Data):
    """Carvana, whose validation images are drawn."""

    dataset: Literal["carvana"]
    val_share: Annotated[float, Field(gt=0, lt=1)] | None = None  # none: the authors'
    split_seed: NotNegative | None = None  # none: 0


class ClothingData(Data):
    """Clothing co-parsing, whose validation photos are drawn."""

    dataset: Literal["clothing_co_parsing"]
    val_share: Annotated[float, Field(gt=0, lt=1)] | None = None  # none: 0.1
    split_seed: NotNegative | None = None  # none: 0


class Ade20kData(Data):
    """ADE20K's scene parsing challenge."""

    dataset: Literal["ade20k"]


class PascalContextData(Data):
    """The 59 classes of Pascal-Context."""

    dataset: Literal["pascal_context"]


class CityscapesPanopticData(Data):
    """Cityscapes with its segments."""

    dataset: Literal["cityscapes_panoptic"]


class CocoPanopticData(Data):
    """COCO panoptic 2017."""

    dataset: Literal["coco_panoptic"]


class CocoInstancesData(Data):
    """COCO instances 2017, or a set of one's own in its format."""

    dataset: Literal["coco_instances"]
    names: Annotated[tuple[str, ...], Field(min_length=1, max_length=254)] | None = None
    keep_empty: bool | None = None  # images without objects are trained on, too; none: false
    by_id: bool | None = None  # COCO's 90 ids are the classes, 10 of them of nothing; none: false
    augmentation: InstancesAugmentation  # others take labels alone

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        if self.names and len(set(self.names)) < len(self.names):
            raise ValueError("data.names has a name twice")
        if self.names and self.by_id:
            raise ValueError("data.by_id is of COCO's own ids: take out data.names, or data.by_id")
        for key in ("scale", "val_short_side"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"data.{key} is of labels: objects are resized by data.augmentation, "
                    "validation images to the last of its short_sides"
                )
        return self

    def classes(self) -> Classes:
        """Return COCO's classes, or those that the config names, in VOC's colours."""
        if self.by_id:
            return Classes(NAMES_BY_ID, palette_of_objects(len(NAMES_BY_ID)))
        if self.names is None:
            return Classes(CocoInstances.class_names, CocoInstances.colors)
        return Classes(self.names, palette_of_objects(len(self.names)))

    @property
    def categories(self) -> tuple[int, ...]:
        """COCO's ids of the classes; 1, 2, ... of those that the config names, and with by_id."""
        if self.names is None and not self.by_id:
            return tuple(row.id for row in THINGS)
        return tuple(range(1, len(self.classes()) + 1))

    def transforms(self, augment: Any = None) -> tuple[Any, ...]:
        """The training augmentation, of images and objects."""
        return training_transforms(self.crop_hw, **self.augmentation.options)

    def validation_transforms(self) -> tuple[Any, ...]:
        """Images are resized so that the shorter edge is the last of `short_sides`."""
        sides, longest = self.augmentation.short_sides, self.augmentation.longest
        return () if sides is None else (ResizeEdges(sides[-1:], longest),)


class VolumesData(VolumeKeys, Data):  # type: ignore[misc]  # voxels are normalised otherwise
    """Volumes of one's own, whose classes the config names."""

    dataset: Literal["volumes"]


class PhotosData(LabelOptions, Data):
    """Photos and labels of one's own: what the values of the labels mean stands in the config."""

    root: str

    @property
    def source_options(self) -> dict[str, Any]:
        """Keyword arguments of the data set: its own keys, and the labelling."""
        own = type(self).model_fields.keys() - PhotosData.model_fields.keys()
        return {
            "labelling": self.labelling(),
            **self.model_dump(include=own, exclude_none=True),
        }

    def classes(self) -> Classes:
        """Return the classes that the config or its file names."""
        return self.labelling().classes


class ListData(PhotosData):
    """Photos that a text file lists."""

    dataset: Literal["list"]
    train_path: str | None = None  # none: train.txt
    val_path: str | None = None  # none: val.txt
    test_path: str | None = None
    separator: Annotated[str, Field(min_length=1)] | None = None  # none: a space


class FoldersData(PhotosData):
    """A folder of photos and one of labels."""

    dataset: Literal["folders"]
    image_folder: str | None = None  # none: images
    label_folder: str | None = None  # none: labels
    label_suffix: str | None = None  # of a label's name behind its photo's; none: none
    train_list: str | None = None
    val_list: str | None = None
    val_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    split_seed: NotNegative | None = None  # none: 0


class OwnData(OwnOfBoth, Data):
    """Callables that are called with `split` (and `root`, where it is set) and return a data set.

    A data set has `__len__`, and `__getitem__` that returns (image, label): uint8 [H, W, 3] RGB,
    which is augmented and normalised here, or float32 [3, H, W], ready for the net; label [H, W].
    """

    dataset: Literal["own"]
    root: str | None = None  # type: ignore[assignment]  # of its own data set a user knows the place
    ignore_index: Annotated[int, Field(ge=0, le=255)] = (
        255  # of the label: pixels that do not count
    )
    augmentation: AnyAugmentation = NoAugmentation(name="none")

    def classes(self) -> None:
        """Return None: the user's object may name them."""
        return


AnyData = Annotated[
    CityscapesData
    | VocData
    | CocoData
    | CarvanaData
    | Ade20kData
    | PascalContextData
    | ClothingData
    | CityscapesPanopticData
    | CocoPanopticData
    | CocoInstancesData
    | VolumesData
    | ListData
    | FoldersData
    | OwnData,
    Field(discriminator="dataset"),
]


@dataclass(frozen=True)
class DataSetRow:
    """A row of the table of data sets.

    Attributes:
        source: class that reads it; called with root, split and the options of `settings`. Its
            classes are its own, or those of a `labelling` that it is called with.
        settings: the data section of a config that names it.
        folders: what `data.root` holds, in the words of the guide.
        splits: which splits there are, in the words of the guide.
    """

    source: type[DataSource]
    settings: type[Data]
    folders: str
    splits: str


DATASETS: dict[str, DataSetRow] = {
    "cityscapes": DataSetRow(
        Cityscapes,
        CityscapesData,
        "`leftImg8bit/`, `gtFine/`",
        "`train`, `val`, `test`, `trainval`",
    ),
    "voc": DataSetRow(
        PascalVOC,
        VocData,
        "`JPEGImages/`, `SegmentationClass/` (SBD: `SegmentationClassAug/`), "
        "`ImageSets/Segmentation/`",
        "every list there",
    ),
    "coco": DataSetRow(
        Coco,
        CocoData,
        "`train2017/`, `val2017/`, `annotations/instances_*2017.json`",
        "`train`, `val`",
    ),
    "carvana": DataSetRow(Carvana, CarvanaData, "`imgs/`, `masks/`", "`train`, `val`"),
    "ade20k": DataSetRow(
        Ade20k,
        Ade20kData,
        "`images/training/`, `annotations/training/`; `validation/` of both",
        "`train`, `val`",
    ),
    "pascal_context": DataSetRow(
        PascalContext,
        PascalContextData,
        "`JPEGImages/`, `ImageSets/`, and `SegmentationClassContext/`, `Context/`, "
        "`trainval/*.mat` or `trainval_merged.json`",
        "`train`, `val`, every list there",
    ),
    "clothing_co_parsing": DataSetRow(
        ClothingCoParsing,
        ClothingData,
        "`photos/`, `annotations/pixel-level/*.mat`",
        "`train`, `val`",
    ),
    "cityscapes_panoptic": DataSetRow(
        CityscapesPanoptic,
        CityscapesPanopticData,
        "`leftImg8bit/`, `gtFine/`, in it `cityscapes_panoptic_*.json` and their folders, else "
        "`*_instanceIds.png`",
        "`train`, `val`, `trainval`",
    ),
    "coco_panoptic": DataSetRow(
        CocoPanoptic,
        CocoPanopticData,
        "`train2017/`, `val2017/`, `annotations/panoptic_*2017.json` and their folders",
        "`train`, `val`",
    ),
    "coco_instances": DataSetRow(
        CocoInstances,
        CocoInstancesData,
        "`train2017/`, `val2017/`, `annotations/instances_*2017.json`; of your own classes with "
        "`data.names`",
        "`train`, `val`",
    ),
    "volumes": DataSetRow(
        VolumeSet,
        VolumesData,
        "a folder a split, of HDF5 (`raw`, `label`), NIfTI or NumPy",
        "every sub-folder, every pattern (`train/*.h5`)",
    ),
    "list": DataSetRow(
        ImageList,
        ListData,
        "`train.txt`, `val.txt`: an image and its label a line",
        "`train`, `val`",
    ),
    "folders": DataSetRow(
        FolderPair,
        FoldersData,
        "`images/`, `labels/`: files of the same names",
        "`train`, `val`, every sub-folder",
    ),
}
