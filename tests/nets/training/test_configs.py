"""Every net of segmentation has its authors' config and a toy one, and both train on both sides."""

import inspect
from typing import get_args

import numpy as np
import pytest

from commands.reproduce.pictures import PAINTERS
from common.data.toy import write_toy_cityscapes
from common.data.transforms.recipes import AUGMENTATIONS
from common.errors import ConfigError
from common.evaluation.evaluator import EVALUATORS
from common.pairs import PAIRS, WITHOUT_DATA
from common.schedules import SCHEDULES
from common.settings.augment import AnyAugmentation
from common.settings.data import DATASETS, INSTANCES, AnyData, Data, PhotosData
from common.settings.load import load_settings
from common.settings.own import OWN
from common.settings.recipe import AnyLoss, AnyOptimizer, AnySchedule
from common.settings.volumes import VolumeKeys
from tests.paths import CONFIGS

# STDC's configs are older than the rule that a config is called as its row.
NAMES = {"stdc1_seg": "stdc1", "stdc2_seg": "stdc2"}
# One of each family for `make test`; the others are steps of `make prove`.
MORE = {"panoptic_deeplab_r50_coco", "panoptic_deeplab_d2_r52_coco"}  # a row's second data set
MORE |= {"solo_r50_fpn_3x", "solov2_r50_fpn_3x"}  # and a second recipe
# Rows that are trained as another: model.name says which.
NO_RECIPE = {"mask_rcnn_r50_fpn_v2", "mask_rcnn_r50_fpn_d2"}
TOY_SETS = {"semantic": "cityscapes", "panoptic": "cityscapes_panoptic"}
TOY_SETS["instances"] = "coco_instances"
# What a toy may have beside the options of its paper: sizes, and BatchNorms that learn anew.
TOY_OPTIONS = {"width", "bn_kept", "num_grids", "stacked_convs", "frozen_stages", "norm_eval"}
TOY_OPTIONS |= {"norm", "trainable_backbone_layers", "min_size", "max_size", "anchor_sizes"}
TOY_OPTIONS |= {"canonical_scale", "rpn_batch_size_per_image", "box_batch_size_per_image"}
TOY_OPTIONS |= {
    f"rpn_{when}_nms_top_n_{of}" for when in ("pre", "post") for of in ("train", "test")
}
ROWS = {
    NAMES.get(row, row): row
    for row, pair in PAIRS.items()
    if pair.task in EVALUATORS and row not in NO_RECIPE
}
QUICK = ("unet", "fcn8s", "pspnet50", "deeplabv3plus_r50")


def configs():
    images = [name for name in sorted(ROWS) if PAIRS[ROWS[name]].task != "volumetric"]
    marks = {name: () if name in QUICK else (pytest.mark.prove,) for name in images}
    return [pytest.param(name, id=name, marks=own) for name, own in marks.items()]


def test_which_rows_have_configs():
    wanted = {f"{name}{end}" for name in ROWS for end in ("", "_toy")}
    assert {path.stem for path in CONFIGS.glob("*.yml")} == wanted | MORE
    no_configs = {"classification", *WITHOUT_DATA}
    assert {pair.task for pair in PAIRS.values()} == {*EVALUATORS, *no_configs}
    assert set(PAINTERS) == set(EVALUATORS)
    backbones = {row for row, pair in PAIRS.items() if pair.task == "classification"}
    assert backbones == {
        *("stdc1_cls", "stdc2_cls", "vgg16", "vgg16_bn", "resnet50", "resnet101"),
        *("axial_r26s", "axial_r50s", "axial_r50m", "axial_r50l"),
    }


@pytest.mark.parametrize("name", ROWS)
def test_both_configs_load_and_are_of_one_recipe(name):
    paper, toy = (load_settings(CONFIGS / f"{name}{end}.yml") for end in ("", "_toy"))
    for config, end in ((paper, ""), (toy, "_toy")):
        assert (config.name, config.model.name) == (f"{name}{end}", ROWS[name])
        shape = config.reproduce.input_shape
        small = config.resized(shape).data
        assert (small.crop_hw or small.patch_shape) == shape[2:]
    if PAIRS[ROWS[name]].task == "volumetric":
        return
    assert toy.data.dataset == TOY_SETS[PAIRS[ROWS[name]].task]
    assert toy.model.num_classes == (3 if toy.model.task == "instances" else 19)
    assert (toy.target.name, toy.evaluate.post.name) == (
        paper.target.name,
        paper.evaluate.post.name,
    )
    paper_pixels, toy_pixels = (c.data.normalisation.model_dump() for c in (paper, toy))
    if PAIRS[ROWS[name]].module == "fcn" and paper_pixels["pixel_range"] == 255:
        toy_pixels["std"] = paper_pixels["std"]  # from scratch, which VGG's range is not made for
    assert toy_pixels == paper_pixels
    assert toy.data.augmentation.name == paper.data.augmentation.name
    assert (toy.loss, toy.optimizer.name) == (paper.loss, paper.optimizer.name)
    assert paper.model.num_classes == len(paper.data.classes())
    assert set(toy.model.options) <= {*paper.model.options, *TOY_OPTIONS}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # (data set, crop, batch, optimizer, rate of the first and of the last step)
        ("fcn32s", ("voc", None, 1, "fcn_sgd", 1e-10, 1e-10)),
        ("fcn8s", ("voc", None, 1, "fcn_sgd", 1e-14, 1e-14)),
        ("fcn8s_atonce", ("voc", None, 1, "fcn_sgd", 1e-10, 1e-10)),
        ("unet", ("carvana", None, 1, "unet_rmsprop", 1e-5, 1e-5)),
        ("pspnet101", ("cityscapes", (713, 713), 16, "pspnet_sgd", 0.01, 7.7e-7)),
        ("deeplabv2_r101_msc", ("voc", (321, 321), 10, "deeplabv2_sgd", 2.5e-4, 2.7e-7)),
        ("fcn16s", ("voc", None, 1, "fcn_sgd", 1e-12, 1e-12)),
        ("deeplabv3_tv_r101", ("coco", (480, 480), 32, "torchvision_sgd", 0.02, 7.2e-7)),
        ("panoptic_deeplab_r50", ("cityscapes_panoptic", (1025, 2049), 8, "adam", 5e-5, 1.74e-9)),
        ("panoptic_deeplab_d2_r52", ("cityscapes_panoptic", (512, 1024), 32, "adam", 1e-6, 3.5e-8)),
        ("solo_r50_fpn", ("coco_instances", None, 16, "sgd", 1e-5, 1e-4)),
        ("solov2_r50_fpn", ("coco_instances", None, 16, "sgd", 1e-5, 1e-4)),
        ("mask_rcnn_r50_fpn", ("coco_instances", None, 16, "sgd", 2e-5, 2e-4)),
        ("panoptic_deeplab_r50_coco", ("coco_panoptic", (641, 641), 64, "adam", 2.5e-7, 8.5e-9)),
    ],
)
def test_numbers_of_the_authors(name, expected):
    run = load_settings(CONFIGS / f"{name}.yml")
    *recipe, first, last = expected
    assert (run.data.dataset, run.data.crop_hw, run.total_batch, run.optimizer.name) == (*recipe,)
    assert run.learning_rate(0) == first
    assert run.learning_rate(run.train.iterations - 1) == pytest.approx(last, rel=0.02)


def test_torchvision_validates_at_a_short_side_of_520():
    from PIL import Image

    data = load_settings(CONFIGS / "fcn_tv_r50.yml").data
    image, label = Image.new("RGB", (640, 427)), Image.new("L", (640, 427))
    for transform in data.validation_transforms():
        image, label = transform(image, label, np.random.default_rng(0))
    assert image.size == label.size == (779, 520)
    assert all(getattr(t, "low", 260) == 260 for t in data.transforms())  # not in training


def test_unets_rate_follows_dice():
    schedule = load_settings(CONFIGS / "unet.yml").schedule
    assert (schedule.follows, schedule.patience, schedule.factor) == ("dice", 5, 0.1)


def names_of(union, key="name"):
    kinds = get_args(get_args(union)[0])
    return {name for kind in kinds for name in get_args(kind.model_fields[key].annotation)}


@pytest.mark.parametrize("package", ["torch_ref", "paddle_impl"])
def test_settings_know_every_row_of_the_tables(package):
    import importlib

    pytest.importorskip("torch" if package == "torch_ref" else "paddle")
    losses = importlib.import_module(f"{package}.losses").LOSSES
    # `detail` is a term of STDC's loss and returns two numbers, `depth` one of ViP-DeepLab's.
    assert names_of(AnyLoss) == {*losses, OWN} - {"detail", "depth"}
    optimizers = importlib.import_module(f"{package}.optim").OPTIMIZERS
    assert names_of(AnyOptimizer) == {*optimizers, OWN}
    assert names_of(AnySchedule) == {*SCHEDULES, "plateau", "in_optimizer", OWN}
    assert names_of(AnyAugmentation) == {*AUGMENTATIONS, INSTANCES, OWN}
    assert names_of(AnyData, "dataset") == {*DATASETS, OWN}


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_is_a_row_whose_keys_its_class_takes(name):
    row = DATASETS[name]
    assert get_args(row.settings.model_fields["dataset"].annotation) == (name,)
    own = row.settings.model_fields.keys() - Data.model_fields.keys()
    taken = set(inspect.signature(row.source.__init__).parameters) - {"self", "root", "split"}
    if issubclass(row.settings, VolumeKeys):  # of its keys some are of patches
        assert taken <= own
        return
    if issubclass(row.settings, PhotosData):  # whose classes the config says
        assert own - PhotosData.model_fields.keys() | {"labelling"} == taken
        return
    assert own == taken
    assert row.source.num_classes == len(row.source.class_names)
    assert not 0 <= row.source.ignore_index < row.source.num_classes
    assert row.source.colors.shape == (256, 3)


@pytest.mark.parametrize("row", [row for row, pair in PAIRS.items() if pair.minimum_batch > 1])
def test_rows_that_need_two_images_say_so(row):
    name = next(name for name, other in ROWS.items() if other == row)
    with pytest.raises(ConfigError, match=rf"batch_size is 1: {row} pools to a 1x1 map"):
        load_settings(CONFIGS / f"{name}_toy.yml", ["data.batch_size=1"])
    run = load_settings(CONFIGS / f"{name}_toy.yml")
    with pytest.raises(ConfigError, match=rf"shape \[1, 3, 64, 96\] do not fit.*: {row} pools"):
        run.resized((1, 3, 64, 96))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    write_toy_cityscapes(folder, train=4, val=2, size_hw=(64, 128))
    write_toy_cityscapes(folder.with_name("shapes"), layout="coco_instances", train=6, val=2)
    return folder


@pytest.mark.parametrize("name", configs())
def test_a_step_of_the_toy_config_is_aligned_and_its_net_evaluates(name, toy):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from commands.subjects.recipe import Recipe
    from commands.subjects.rows import seeded_pair

    narrow = [] if name.startswith("stdc") else ["model.options.width=0.0625"]
    shapes = PAIRS[ROWS[name]].task == "instances"
    root = f"data.root={toy.with_name('shapes') if shapes else toy}"
    recipe = Recipe(CONFIGS / f"{name}_toy.yml", (root, "data.scale=1.0", *narrow))
    model = recipe.settings.model
    torch_net, paddle_net = seeded_pair(model.name, 0, **model.overrides)
    report = recipe.align_step(torch_net, paddle_net)
    assert report.exit_code == 0, report.verdict
    updated = [call for call in report.calls if call.where.startswith("weight:")]
    assert len(updated) > 20
    # A size that is none of the net's own: PSPNet's is 8k + 1.
    image = np.random.default_rng(0).standard_normal((2, 3, 40, 60)).astype(np.float32)
    options = recipe.settings.evaluate
    if options.window_hw:
        options = options.model_copy(update={"window_hw": (33, 41), "flip": True})
    theirs, ours = (
        part.ask(part.inference(net), image, options)
        for part, net in zip(recipe.parts, (torch_net, paddle_net), strict=True)
    )
    assert theirs.shape == ours.shape
    if shapes:  # a list of objects for each image
        assert [len(one.labels) for one in theirs] == [len(one.labels) for one in ours]
        return
    assert theirs.shape[-2:] == (40, 60)
    assert (theirs == ours).mean() > 0.99


@pytest.mark.parametrize("name", ["unet", "deeplabv2_r101_msc", "fcn8s"])
def test_the_ladder_shrinks_every_recipe(name, tmp_path):
    from commands.reproduce.ladder import Reproduction

    ladder = Reproduction(CONFIGS / f"{name}_toy.yml", tmp_path, fast=True)
    fast = load_settings(CONFIGS / f"{name}_toy.yml", ladder._overrides())
    assert fast.train.iterations == 4
    assert fast.data.crop_hw == fast.reproduce.input_shape[2:]
