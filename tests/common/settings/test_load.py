import pytest

from common.errors import ConfigError
from common.settings.load import known_keys, load_settings
from common.settings.run import Settings
from tests.paths import CONFIGS


def refused(*overrides, config="stdc2.yml"):
    with pytest.raises(ConfigError) as caught:
        load_settings(CONFIGS / config, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", ["stdc1", "stdc2"])
def test_paper_configs_are_the_authors_recipe(name):
    run = load_settings(CONFIGS / f"{name}.yml")
    assert run.model.name == f"{name}_seg"
    assert (run.data.cards, run.data.batch_size, run.data.crop_hw) == (3, 16, (512, 1024))
    assert (run.min_kept, run.train.iterations, run.total_batch) == (524288, 60000, 48)
    # The rates of MichaelFan01/STDC-Seg, optimizer_loss.py, from a counter that begins at 0.
    rates = {0: 1e-5, 500: 3.162e-4, 1000: 0.01, 30000: 5.44054e-3, 59999: 5.08e-7}
    for step, rate in rates.items():
        assert run.learning_rate(step) == pytest.approx(rate, rel=1e-3)
    assert run.data.augmentation.scales[0] == 0.125
    assert len(run.data.augmentation.scales) == 12


@pytest.mark.parametrize("name", ["stdc1", "stdc2"])
def test_toy_configs_inherit_and_scale(name):
    paper, toy = (load_settings(CONFIGS / f"{name}{end}.yml") for end in ("", "_toy"))
    assert toy.model == paper.model
    assert toy.loss == paper.loss
    assert toy.data.augmentation.flip == paper.data.augmentation.flip
    assert (toy.schedule.base_lr, toy.schedule.power) == (0.01, 0.9)
    assert toy.data.crop_hw == (128, 256)
    assert toy.min_kept == 4 * 128 * 256 // 16
    assert toy.folder("paddle") == f"runs/{name}_toy_paddle"


def test_every_section_is_frozen_and_has_no_key_twice():
    run = load_settings(CONFIGS / "stdc1.yml")
    with pytest.raises(ValueError, match="frozen"):
        run.train.iterations = 3
    assert len(known_keys()) == len(set(known_keys()))
    assert Settings.model_validate(run.model_dump()) == run


def test_overrides_hold_equals_signs_and_numbers_of_yaml_1_2():
    overrides = ("weights.path=/a/b=c.pth", "schedule.base_lr=1e-3", "name=2024-01-01", "seed=7")
    run = load_settings(CONFIGS / "stdc2.yml", overrides)
    assert run.weights.path == "/a/b=c.pth"
    assert run.schedule.base_lr == 1e-3
    assert (run.name, run.seed) == ("2024-01-01", 7)
    assert load_settings(CONFIGS / "stdc2.yml", ["weights.path="]).weights.path is None


def test_rate_0_is_a_rate():
    run = load_settings(CONFIGS / "stdc2.yml", ["schedule.base_lr=0"])
    assert [run.learning_rate(step) for step in (0, 5, 59999)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.iters=5", ["unknown key train.iters", "train.iterations", "the command line"]),
        ("lr=0.1", ["unknown key lr", "schedule.base_lr"]),
        ("loss.ohem.min_keep=4", ["unknown key loss.ohem.min_keep", "loss.ohem.min_kept"]),
        ("train.iterations=5.5", ["train.iterations is 5.5", "integer"]),
        ("train.iterations=yes", ["train.iterations is True", "integer"]),
        ("data.root=5", ["data.root is 5", "string"]),
        ("data.crop_hw=[1, 2, 3]", ["data.crop_hw"]),
        ("data.batch_size=1", ["data.batch_size", "BatchNorm", "at least 2"]),
        ("model.name=stdc3", ["stdc3", "stdc1_seg"]),
        ("seed.x=1", ["seed"]),
        ("schedule.warmup_steps=70000", ["warmup_steps is 70000"]),
        ("schedule.max_steps=10", ["schedule.max_steps is 10", "train.iterations"]),
        ("schedule.name=poly", ["schedule.base_lr is not set", "the command line"]),
        ("schedule.name=pole", ["schedule.name is 'pole'", "did you mean poly?", "constant"]),
        (
            "reproduce.input_shape=[3,64]",
            ["input_shape is [3, 64]: expected 4 or 5 values, such as ["],
        ),
        ("reproduce.input_shape=64", ["expected 4 or 5 values, such as [2, 3, 64, 96]"]),
        ("data.crop_hw=[1,2,3]", ["data.crop_hw is [1, 2, 3]: expected 2 values, such as ["]),
        ("weights=net.pth", ["weights is 'net.pth': expected keys", "weights: {path: ...}"]),
        ("schedule.lr=1", ["unknown key schedule.lr", "did you mean schedule.base_lr?"]),
        ("loss.name=unet_loss", ["loss.name is 'unet_loss'", "did you mean unet?"]),
        ("loss.ohem=3", ["loss.ohem is 3"]),
        ("loss={name: unet, pooled_class: 1}", ["loss.pooled_class", "loss.pooled_classes?"]),
        ("loss={name: unet, ohem: 1}", ["unknown key loss.ohem"]),
        ("optimizer.name=fcn", ["optimizer.name is 'fcn'", "fcn_sgd"]),
        ("model.name=resnet50", ["resnet50 is a net of classification"]),
        (
            "data.val_share=0.5",
            ["the command line", "unknown key data.val_share", "a setting of carvana, "],
        ),
        ("data.label=auto", ["unknown key data.label", "did you mean data.labels?"]),
        ("data.labels=all", ["the command line: data.labels is 'all'", "'labelIds'"]),
        ("data.dataset=citiscapes", ["the command line", "did you mean cityscapes?", "carvana"]),
        (
            ("data.labels=auto", "data.dataset=voc"),
            ["labels is a setting of cityscapes, not of voc"],
        ),
        ("data.augmentation.degrees=3", ["degrees is a setting of semseg, custom, not of stdc"]),
        (("data.augmentation.name=semseg", "data.crop_hw=null"), ["crop_hw is not set"]),
        ("evaluate.scales=[0.5, 1]", ["scales stand instead of scale, which is 0.5"]),
        (
            ("schedule={name: plateau, base_lr: 1}", "train.eval_interval=0"),
            ["follows the validations"],
        ),
        ("schedule.base_lr=.inf", ["schedule.base_lr", "finite"]),
        ("loss.ohem.min_kept=99999999", ["loss.ohem.min_kept", "524288"]),
        ("foo", ["'foo'", "key.sub=value"]),
        ("data.root={", ["data.root", "YAML"]),
    ],
)
def test_a_wrong_override_is_named(override, words):
    message = refused(*([override] if isinstance(override, str) else override))
    for word in words:
        assert word in message


def test_a_wrong_key_names_its_own_file(tmp_path):
    (tmp_path / "base.yml").write_text("train:\n  iterationz: 3\n")
    (tmp_path / "run.yml").write_text(f"_base_: [base.yml, {CONFIGS}/stdc1.yml]\n")
    message = refused(config=tmp_path / "run.yml")
    assert str(tmp_path / "base.yml") in message
    assert "train.iterationz" in message
    assert "train.iterations?" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("_base_: run.yml\n", ["leads back to itself"]),
        ("_base_: nowhere.yml\n", ["nowhere.yml", "no such config file"]),
        ("_base_: 3\n", ["_base_ is 3"]),
        ("seed: 1\nseed: 2\n", ["'seed' stands twice"]),
        ("just text\n", ["expected sections"]),
        ("a: [\n", ["not readable as YAML"]),
        ("", ["model is not set"]),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, words):
    (tmp_path / "run.yml").write_text(text)
    message = refused(config=tmp_path / "run.yml")
    for word in [str(tmp_path), *words]:
        assert word in message


def test_later_bases_and_the_file_itself_win(tmp_path):
    (tmp_path / "a.yml").write_text("seed: 1\ntrain: {keep: 5, log_interval: 7}\n")
    (tmp_path / "run.yml").write_text(
        f"_base_: [{CONFIGS}/stdc1.yml, a.yml]\ntrain: {{log_interval: 9}}\n"
    )
    run = load_settings(tmp_path / "run.yml")
    assert (run.seed, run.train.keep, run.train.log_interval) == (1, 5, 9)
    assert run.train.iterations == 60000


def test_a_section_of_another_name_begins_anew(tmp_path):
    (tmp_path / "run.yml").write_text(
        f"_base_: {CONFIGS}/stdc1.yml\nloss: {{name: unet}}\n"
        "schedule: {name: constant, base_lr: 0.5}\n"
    )
    run = load_settings(tmp_path / "run.yml", ["loss.pooled_classes=false"])
    assert run.loss.options == {"pooled_classes": False}
    assert run.schedule.options == {"base_lr": 0.5}
    # Whatever the order on the command line, nothing of it is lost.
    lines = ["schedule.base_lr=0.25", "schedule.name=poly", "schedule.every=10"]
    run = load_settings(tmp_path / "run.yml", lines)
    assert (run.schedule.base_lr, run.schedule.every) == (0.25, 10)


def test_a_section_without_a_name_says_which_there_are(tmp_path):
    (tmp_path / "run.yml").write_text("loss: {aux_weight: 1.0}\n")
    message = refused(config=tmp_path / "run.yml")
    assert "loss.name is not set; choose one of stdc, ohem" in message


def test_a_data_section_without_a_data_set_says_which_there_are(tmp_path):
    (tmp_path / "run.yml").write_text("data: {root: somewhere}\n")
    message = refused(config=tmp_path / "run.yml")
    assert "data.dataset is not set; choose one of cityscapes, voc, coco, carvana" in message


def test_null_unsets_what_another_data_set_does_not_have():
    of_cityscapes = ("data.labels=labelIds", "data.val_share=null")
    assert load_settings(CONFIGS / "stdc2.yml", of_cityscapes).data.source_options == {
        "labels": "labelIds"
    }
    of_carvana = ("data.dataset=carvana", "data.labels=null", "data.split_seed=3")
    data = load_settings(CONFIGS / "stdc2.yml", of_carvana).data
    assert (data.dataset, data.source_options) == ("carvana", {"split_seed": 3})
    assert (data.crop_hw, data.augmentation.name) == ((512, 1024), "stdc")


def test_micro_batches_are_those_of_cards_and_iter_size():
    run = load_settings(CONFIGS / "stdc1.yml", ["data.iter_size=2"])
    assert (run.micro_batches, run.total_batch) == (6, 96)


def test_a_recipe_at_another_size_keeps_the_rest():
    run = load_settings(CONFIGS / "stdc1.yml", ["loss.ohem.min_kept=7", "data.iter_size=2"])
    small = run.resized((2, 3, 64, 96))
    assert (small.data.crop_hw, small.total_batch, small.min_kept) == ((64, 96), 2, 768)
    assert (small.loss.ohem.threshold, small.schedule) == (0.7, run.schedule)


def test_the_rate_follows_a_plateau():
    schedule = "schedule={name: plateau, base_lr: 1.0e-5, patience: 5}"
    run = load_settings(CONFIGS / "stdc1.yml", [schedule])
    assert [run.learning_rate(9, count) for count in (0, 1)] == [1e-5, 1e-5 * 0.1]


def test_a_net_of_classes_is_not_taught_segments():
    text = refused("target={name: panoptic_deeplab}")
    assert "target.name is panoptic_deeplab, and stdc2_seg is a net of semantic" in text
    assert text.endswith("set label")
    text = refused("evaluate.post={name: panoptic_deeplab, nms_kernel: 3}")
    assert "evaluate.post.name is panoptic_deeplab" in text
    assert "set argmax" in text
    assert "set an odd number, which has a middle" in refused(
        "evaluate.post={name: panoptic_deeplab, nms_kernel: 4}"
    )
    assert "did you mean panoptic_deeplab" in refused("target.name=panoptic_deeplap")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loss={name: cross_entropy}", "loss.name is cross_entropy, which takes the target label"),
        ("target={name: max_deeplab}", "which takes the target panoptic_deeplab, and target.name"),
        ("evaluate.post={name: max_deeplab}", "read by panoptic_deeplab: set evaluate.post.name="),
    ],
)
def test_loss_target_and_post_are_of_one_kind(override, words):
    assert words in refused(override, config=CONFIGS / "panoptic_deeplab_r50_toy.yml")


def test_a_loss_of_segments_does_not_take_labels_nor_another_style():
    text = refused("loss={name: panoptic_deeplab}")
    assert "which takes the target panoptic_deeplab, and target.name is label" in text
    assert text.endswith("set another loss, such as cross_entropy")
    text = refused("target.style=paper", config=CONFIGS / "max_deeplab_s_toy.yml")
    assert "loss.style is simplified, and target.style is paper" in text


def test_a_loss_of_ones_own_takes_any_target():
    loss = "loss={name: own, torch: mine:loss, paddle: mine:loss}"
    run = load_settings(CONFIGS / "panoptic_deeplab_r50_toy.yml", [loss])
    assert (run.loss.name, run.target.name) == ("own", "panoptic_deeplab")
