"""Nets of volumes through the commands: trained, aligned, evaluated, predicted, and refused."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.subjects.named.frameworks import parts_of
from commands.subjects.recipe import Recipe
from commands.subjects.rows import seeded_pair
from common.data.toy.volumes import render_cells, write_toy_volumes
from common.errors import ConfigError
from common.settings.load import load_settings
from common.training.logs import is_validation, read_log
from common.training.loop import train
from tests import nursery
from tests.paths import CONFIGS

SMALL = (
    *("model.options={width: 0.125, num_levels: 2}", "data.patch_shape=[8,8,8]"),
    *("data.stride_shape=null", "data.batch_size=1", "evaluate.post.halo_shape=[2,2,2]"),
    *("reproduce.input_shape=[2,1,8,8,8]", "train.iterations=2", "train.eval_interval=2"),
    *("train.log_interval=1", "log.tensorboard=false"),
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes") / "toy"
    write_toy_volumes(folder, format="npz", train=1, val=1, shape=(16, 16, 16))
    return folder


@pytest.fixture(scope="module")
def weights(toy, tmp_path_factory):
    """A net of Paddle after two steps."""
    folder = tmp_path_factory.mktemp("run")
    return trained("paddle", "unet3d", toy, folder / "run").weights


def given(toy, *more):
    return (*SMALL, f"data.root={toy}", *more)


def trained(framework, row, toy, output):
    settings = load_settings(CONFIGS / f"{row}_toy.yml", given(toy, f"output={output}"))
    parts = parts_of(settings, framework)
    return train(settings, parts.side("cpu"), parts.data())


@pytest.mark.parametrize(("framework", "row"), [("torch", "unet3d"), ("paddle", "residual_unet3d")])
def test_the_loop_trains_and_evaluates_whole_volumes(framework, row, toy, tmp_path):
    outcome = trained(framework, row, toy, tmp_path / "run")
    assert (outcome.iteration, outcome.stopped_by) == (2, None)
    log = read_log(tmp_path / "run" / "log.jsonl")
    (scores,) = (line for line in log if is_validation(line))
    names = {"unet3d": ["background", "nucleus", "membrane"], "residual_unet3d": ["boundary"]}
    assert list(scores["iou"]) == names[row]
    assert scores["voxels"] == 16**3
    assert outcome.best.mean_iou == scores["mean_iou"]


@pytest.mark.parametrize("row", ["unet3d", "residual_unet3d"])
def test_the_rungs_of_a_recipe_take_volumes(row, toy):
    recipe = Recipe(CONFIGS / f"{row}_toy.yml", given(toy, "data.workers=0"), fast=True)
    nets = seeded_pair(row, 0, **recipe.settings.model.overrides)
    reports = {
        "loss": recipe.align_loss(nets[0]),
        "metric": recipe.align_metric(nets[0]),
        "step": recipe.align_step(*nets),
    }
    for name, report in reports.items():
        assert report.exit_code == 0, f"{name}: {report.verdict}"
    scores = reports["metric"].settings["scores"]
    assert scores["reference"] == scores["port"]


def test_a_port_that_decides_otherwise_is_found(toy, monkeypatch):
    recipe = Recipe(CONFIGS / "residual_unet3d_toy.yml", given(toy))
    net = seeded_pair("residual_unet3d", 0, **recipe.settings.model.overrides)[0]
    port = recipe.parts[1]
    right = port.argmax
    monkeypatch.setattr(port, "argmax", lambda logits: 1 - right(logits))
    report = recipe.align_metric(net)
    assert report.exit_code == 1
    assert report.divergences[0].layer == "batch 0"


def test_batches_are_equal_to_the_bit_whoever_reads_them(toy):
    from itertools import islice

    from align import align_data

    recipe = Recipe(CONFIGS / "unet3d_toy.yml", given(toy), fast=True)
    theirs, ours = recipe.parts
    batches = list(islice(recipe.small_batches(), 2))
    sides = [[part.to_tensors(batch) for batch in batches] for part in (theirs, ours)]
    assert align_data(*sides, 2).exit_code == 0
    image, label = sides[1][1]
    sides[1][1] = image, label + (label == 1).astype(label.dtype)
    assert align_data(*sides, 2).exit_code == 1


def test_evaluate_tells_iou_and_dice(toy, weights):
    done = nursery.run(
        *("evaluate", CONFIGS / "unet3d_toy.yml", *given(toy), "--weights", weights, "--json")
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pixels"] == 16**3
    assert set(told["iou"]) == set(told["dice"]) == {"background", "nucleus", "membrane"}
    assert 0 <= told["volume_iou"] <= 1
    call = ("evaluate", CONFIGS / "unet3d_toy.yml", *given(toy), "--weights", weights)
    wrong = nursery.run(*call, "--save-ids", toy.parent / "ids")
    assert (wrong.returncode, "is a net of volumes" in wrong.stderr) == (2, True)


def test_export_says_which_layers_stop_it():
    from commands.deploy.subject_paddle import subject_of
    from common.errors import UserError

    settings = load_settings(CONFIGS / "unet3d_toy.yml")
    with pytest.raises(UserError, match="paddle2onnx takes GroupNorm of four dimensions alone"):
        subject_of(settings, None)


@pytest.fixture
def volumes(tmp_path):
    """A folder of volumes to predict: NumPy, NIfTI where that is read, a damaged one."""
    folder = tmp_path / "given"
    folder.mkdir()
    raw = render_cells(5, "val", 0, (16, 17, 18)).raw
    np.save(folder / "plain.npy", raw)
    (folder / "torn.npz").write_bytes(b"PK")
    (folder / "notes.txt").touch()
    return folder


def test_predict_writes_volumes_of_the_same_geometry(toy, weights, volumes, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    raw = np.load(volumes / "plain.npy")
    affine = np.diag([0.5, 0.5, 2, 1.0])
    nibabel.Nifti1Image(raw.T, affine).to_filename(volumes / "scan.nii.gz")
    out = tmp_path / "out"
    call = ("predict", CONFIGS / "unet3d_toy.yml", volumes, *given(toy), "--weights", weights)
    done = nursery.run(*call, "--output", out, "--json")
    assert done.returncode == 1, done.stderr  # one could not be read
    told = json.loads(done.stdout)
    assert {row["path"].rpartition("/")[2]: "error" in row for row in told["items"]} == {
        "plain.npy": False,
        "scan.nii.gz": False,
        "torn.npz": True,
    }
    assert told["skipped"] == [{"path": str(volumes / "notes.txt"), "why": "no volume"}]
    found = np.load(out / "plain_predictions.npy")
    assert (found.shape, found.dtype) == (raw.shape, np.uint8)
    image = nibabel.load(out / "scan_predictions.nii.gz")
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, found)
    assert (out / "scan_slices.png").is_file()
    again = nursery.run(*call, "--output", out)
    assert (again.returncode, "are there already" in again.stderr) == (2, True)


def test_predictions_of_patches_are_those_of_the_evaluation(toy, weights, tmp_path):
    """Both normalise by the whole volume, one patch by patch and one before it is cut."""
    from commands.evaluate.nets import Running, asked
    from common.volumes.set import VolumeSet

    settings = load_settings(
        CONFIGS / "unet3d_toy.yml", given(toy, "data.normalisation.over=volume")
    )
    parts = parts_of(settings, "paddle")
    net = asked(parts, weights, Running(engine="eager"))
    image, _ = parts.data().val.sample(0, 0)
    (expected,) = parts.ask(net.inference, image[None], settings.evaluate)
    raw, _ = VolumeSet(toy, "val", class_names=("a", "b", "c")).read(0)
    np.save(tmp_path / "raw.npy", raw[0])
    done = nursery.run(
        *("predict", CONFIGS / "unet3d_toy.yml", tmp_path / "raw.npy", "--weights", weights),
        *given(toy, "data.normalisation.over=volume"),
        *("--output", tmp_path / "out", "--write", "ids", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "raw_predictions.npy"), expected)


def test_check_data_reads_every_volume(toy, tmp_path):
    done = nursery.run(
        *("check_data", CONFIGS / "unet3d_toy.yml", *given(toy), "--json"),
        *("--output", tmp_path / "seen"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "seen" / "samples.png").is_file()
    label = np.full((16, 16, 16), 7)
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    np.savez(tmp_path / "train" / "a.npz", raw=label, label=label)
    np.savez(tmp_path / "val" / "b.npz", raw=label, label=label // 7)
    bad = nursery.run(
        *("check_data", CONFIGS / "unet3d_toy.yml", *given(tmp_path)),
        *("--output", tmp_path / "seen"),
    )
    assert bad.returncode == 1
    assert "expected 0..2 in its label, got 7 in 4096 voxels" in bad.stdout


@pytest.mark.parametrize(
    ("config", "override", "says"),
    [
        ("unet3d", "data.label_form=masks", "which takes classes"),
        ("unet3d", "loss.kind=DiceLoss", "set data.label_form=masks"),
        ("unet3d", "loss={name: cross_entropy}", "set loss.name=volume"),
        ("unet3d", "target={name: label}", "set target.name=volume"),
        ("unet3d", "evaluate.post={name: argmax}", "set evaluate.post.name=volume"),
        ("unet3d", "evaluate.post.stride_shape=[8,16,999]", "voxels between them"),
        ("unet3d", "evaluate.flip=true", "are of images: set patch_shape"),
        ("unet3d", "evaluate.batch_size=2", "one by one"),
        ("unet3d", "data.ignore_label=9", "set loss.ignore_index to 255"),
        ("unet3d", "data.scale=0.5", "scale is of photos"),
        ("unet3d", "data.sampling=random", "stride_shape goes with sampling grid"),
        ("unet3d", "data.objects=true", "name two classes, or a mask"),
        ("unet3d", "data.patch_shape=[8,8,9]", "patches as high as wide"),
        ("unet3d", "data.class_names=[cell]", "at least two"),
        ("unet3d", "data.normalisation.mean=3", "mean and std go together"),
        ("unet3d", "data.normalisation.low=3", "low and high go with"),
        ("unet3d", "reproduce.input_shape=[2,3,64,64]", "five numbers of volumes"),
        ("unet3d", "data={dataset: cityscapes}", "unknown key"),
        ("unet3d", "model.name=unet", "is a net of semantic segmentation"),
        ("residual_unet3d", "data.augmentation.poisson_mean=[1,0.5]", "the smaller comes first"),
        ("residual_unet3d", "data.augmentation.planes=[[1,1]]", "is no plane"),
    ],
)
def test_what_does_not_go_together_is_said(config, override, says):
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        load_settings(CONFIGS / f"{config}_toy.yml", [override])


@pytest.mark.prove
@pytest.mark.parametrize("row", ["unet3d", "residual_unet3d"])
def test_the_whole_ladder_of_a_toy(row, tmp_path):
    pytest.importorskip("h5py")
    done = nursery.run(
        *("reproduce", CONFIGS / f"{row}_toy.yml", "--fast", "--output", tmp_path / "run"),
        "--json",
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "run" / "predictions.png").is_file()
