"""A split of volumes: its labels as classes or masks, its patches, whole volumes to evaluate."""

import pickle

import numpy as np
import pytest

from common.data import plan_training, stack
from common.errors import ConfigError, DataError, SizeMismatchError, UnknownLabelsError
from common.training.loader import load_batches
from common.volumes.augment import VolumeAugmentation
from common.volumes.dataset import PatchSamples, PatchSource, VolumeSamples
from common.volumes.normalise import VolumeNormalisation
from common.volumes.set import VolumeSet

CLASSES = {"class_names": ("rest", "nucleus", "wall")}
MASK = {"class_names": ("cell",), "label_form": "masks"}


def write(folder, name="a", shape=(6, 9, 8), **arrays):
    rng = np.random.default_rng(len(name))
    found = {
        "raw": rng.integers(0, 255, shape).astype(np.uint8),
        "label": rng.integers(0, 3, shape).astype(np.uint8),
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", **{**found, **arrays})
    return {**found, **arrays}


def test_classes_and_void(tmp_path):
    label = np.random.default_rng(0).integers(0, 3, (4, 4, 4))
    label[0] = 7
    write(tmp_path / "train", shape=(4, 4, 4), label=label)
    raw, found = VolumeSet(tmp_path, "train", ignore_label=7, **CLASSES).read(0)
    assert (raw.shape, raw.dtype, found.dtype) == ((1, 4, 4, 4), np.uint8, np.uint8)
    np.testing.assert_array_equal(found, np.where(label == 7, 255, label))
    with pytest.raises(
        UnknownLabelsError, match=r"expected 0..2 in its label, got 7 in 16"
    ) as told:
        VolumeSet(tmp_path, "train", **CLASSES).read(0)
    assert told.value.pixels == {7: 16}


def test_objects_become_a_mask(tmp_path):
    cells = np.random.default_rng(0).integers(0, 900, (4, 4, 4)) * 3
    cells[1] = -1
    write(tmp_path / "train", shape=(4, 4, 4), label=cells)
    volumes = VolumeSet(tmp_path, "train", objects=True, ignore_label=-1, **MASK)
    np.testing.assert_array_equal(volumes.read(0)[1], np.where(cells == -1, 255, cells > 0)[None])
    with pytest.raises(UnknownLabelsError, match="got -1 in 16 voxels"):
        VolumeSet(tmp_path, "train", objects=True, **MASK).read(0)
    write(tmp_path / "inf", shape=(4, 4, 4), label=np.full((4, 4, 4), np.inf))
    with pytest.raises(DataError, match="holds inf, expected whole numbers"):
        VolumeSet(tmp_path, "inf", objects=True, **MASK).read(0)
    write(tmp_path / "two", shape=(4, 4, 4), label=np.zeros((2, 4, 4, 4)))
    with pytest.raises(DataError, match="2 channels, expected 1"):
        VolumeSet(tmp_path, "two", **CLASSES).read(0)


def test_where_volumes_and_labels_lie(tmp_path):
    write(tmp_path / "train", "b")
    write(tmp_path / "train", "a")
    (tmp_path / "train" / "notes.txt").touch()
    assert [f.name for f in VolumeSet(tmp_path, "train", **CLASSES).frames] == [
        *("train/a.npz", "train/b.npz")
    ]
    assert len(VolumeSet(tmp_path, "*/b.npz", **CLASSES)) == 1
    (tmp_path / "raw").mkdir()
    (tmp_path / "truth").mkdir()
    np.save(tmp_path / "raw" / "x.npy", np.ones((3, 3, 3), np.float32))
    np.save(tmp_path / "truth" / "x.npy", np.ones((3, 3, 3), np.uint8))
    raw, label = VolumeSet(tmp_path, "raw", label_folder="truth", **CLASSES).read(0)
    assert (raw.dtype, int(label.sum())) == (np.float32, 27)
    with pytest.raises(DataError, match="holds one array, so its label lies elsewhere"):
        VolumeSet(tmp_path, "raw", **CLASSES)
    with pytest.raises(DataError, match=r"has no label: there is no .*train/x\.npy"):
        VolumeSet(tmp_path, "raw", label_folder="train", **CLASSES)
    for split in ("nowhere", "*.h5"):
        with pytest.raises(DataError, match="no volume there"):
            VolumeSet(tmp_path, split, **CLASSES)


def test_a_label_of_another_size(tmp_path):
    write(tmp_path / "train", label=np.zeros((6, 9, 9)))
    with pytest.raises(SizeMismatchError, match=r"\[6, 9, 9\], and the volume .*\[6, 9, 8\]"):
        VolumeSet(tmp_path, "train", **CLASSES).read(0)


def test_a_look_tells_and_raises_nothing(tmp_path):
    write(tmp_path / "train", "good")
    write(tmp_path / "train", "bad", label=np.full((6, 9, 8), 9))
    nan = np.full((6, 9, 8), np.nan, np.float32)
    write(tmp_path / "train", "nan", raw=nan)
    (tmp_path / "train" / "torn.npz").write_bytes(b"PK\x03\x04")
    volumes = VolumeSet(tmp_path, "train", **CLASSES)
    looks = {f.name: volumes.look("train", n) for n, f in enumerate(volumes.frames)}
    good = looks["train/good.npz"]
    assert good.problem == ""
    assert sum(good.counts.values()) == 6 * 9 * 8
    assert good.size == (9, 8)
    assert [looks[f"train/{name}.npz"].problem for name in ("bad", "nan", "torn")] == [
        *("mislabelled", "unreadable", "unreadable")
    ]


def patches(folder, stride=(2, 3, 3), **options):
    volumes = VolumeSet(folder, "train", **CLASSES)
    return PatchSource(volumes, (4, 4, 4), stride, **options)


def test_a_grid_of_patches_and_its_labels(tmp_path):
    label = np.zeros((6, 9, 8), np.uint8)
    label[:, :4, :4] = 1
    arrays = write(tmp_path / "train", label=label)
    grid = patches(tmp_path)
    assert len(grid) == 2 * 3 * 3  # last ones at the border: 5 of height, 4 of width
    assert [frame.corner for frame in grid.frames[:4]] == [
        *((0, 0, 0), (0, 0, 3), (0, 0, 4), (0, 3, 0))
    ]
    kept = patches(tmp_path, threshold=0.5)
    assert [frame.corner for frame in kept.frames] == [(0, 0, 0), (2, 0, 0)]
    some = patches(tmp_path, threshold=0.5, slack=0.5, seed=3)
    assert 2 < len(some) < 18
    assert [f.corner for f in some.frames] == [
        f.corner for f in patches(tmp_path, threshold=0.5, slack=0.5, seed=3).frames
    ]
    samples = PatchSamples(grid, VolumeNormalisation(method="none"))
    image, target = samples.sample(0, 4)
    np.testing.assert_array_equal(image[0], arrays["raw"][:4, 3:7, 3:7])
    np.testing.assert_array_equal(target, label[:4, 3:7, 3:7])
    assert (image.dtype, target.dtype) == (np.float32, np.int64)
    with pytest.raises(DataError, match=r"more than 1 .*lower data.label_threshold"):
        patches(tmp_path, threshold=1.0)
    with pytest.raises(DataError, match=r"set data.patch_shape to at most \[6, 4, 4\]"):
        PatchSource(grid.volumes, (7, 4, 4), (1, 1, 1))


def test_random_patches_are_drawn_for_each_sample(tmp_path):
    label = np.zeros((6, 9, 8), np.uint8)
    label[2:, 5:, 4:] = 1
    write(tmp_path / "train", label=label)
    write(tmp_path / "train", "bb")
    samples = PatchSamples(
        patches(tmp_path, None, count=5, threshold=0.3), VolumeNormalisation(), seed=4
    )
    assert len(samples) == 10
    for index in range(5):
        assert samples.sample(0, index)[1].mean() > 0.3
    one, again, other = (samples.sample(epoch, 7) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.array_equal(one[0], other[0])


def test_patches_have_the_numbers_of_their_volume_or_their_own(tmp_path):
    arrays = write(tmp_path / "train")
    wide = arrays["raw"].astype(np.float64)
    part = wide[:4, :4, :4]
    for over, of in (("volume", wide), ("patch", part)):
        samples = PatchSamples(patches(tmp_path), VolumeNormalisation(over=over))
        np.testing.assert_allclose(
            samples.sample(0, 0)[0][0], (part - of.mean()) / of.std(), rtol=1e-5, atol=1e-6
        )
    whole = VolumeSamples(VolumeSet(tmp_path, "train", **CLASSES), VolumeNormalisation())
    image, label = whole.sample(0, 0)
    np.testing.assert_allclose(image[0], (wide - wide.mean()) / wide.std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(label, arrays["label"])
    each = VolumeSamples(VolumeSet(tmp_path, "train", **CLASSES), VolumeNormalisation(over="patch"))
    np.testing.assert_array_equal(each.sample(0, 0)[0][0], wide)  # who asks for patches does it


def test_samples_travel_without_their_volumes_and_give_the_same(tmp_path):
    write(tmp_path / "train")
    augment = VolumeAugmentation(flip=0.5, rotate90=True, gaussian_noise=0.5)
    samples = PatchSamples(patches(tmp_path), VolumeNormalisation(), augment, seed=1)
    plan = [keys for keys, _ in zip(plan_training(len(samples), 2, seed=1), range(3), strict=False)]
    batches = list(load_batches(samples, plan))
    assert samples.volumes._held
    small = pickle.dumps(samples)
    assert len(small) < 5000
    there = pickle.loads(small)
    for keys, batch in zip(plan, batches, strict=True):
        again = stack([there.sample(*key) for key in keys])
        np.testing.assert_array_equal(again.image, batch.image)
        np.testing.assert_array_equal(again.target, batch.target)


def test_other_channels_than_the_net_takes(tmp_path):
    from common.settings.load import load_settings
    from common.training.feed import open_data
    from tests.paths import CONFIGS

    for split in ("train", "val"):
        write(tmp_path / split, raw=np.zeros((2, 6, 9, 8), np.uint8))
    given = [f"data.root={tmp_path}", "data.patch_shape=[4,4,4]", "data.stride_shape=null"]
    settings = load_settings(CONFIGS / "unet3d_toy.yml", given)
    with pytest.raises(ConfigError, match=r"has 2 channels, .*model.options.in_channels=2"):
        open_data(settings)
    data = open_data(
        load_settings(CONFIGS / "unet3d_toy.yml", [*given, "model.options.in_channels=2"])
    )
    assert data.train.sample(0, 0)[0].shape == (2, 4, 4, 4)
    write(tmp_path / "val", "odd", raw=np.zeros((3, 6, 9, 8), np.uint8))
    write(tmp_path / "two", "odd", raw=np.zeros((3, 6, 9, 8), np.uint8))
    write(tmp_path / "two", "a")
    given.append("model.options.in_channels=2")
    odd = open_data(load_settings(CONFIGS / "unet3d_toy.yml", given)).val
    with pytest.raises(DataError, match=r"odd.npz has 3 channels, expected 2, as the net takes"):
        [odd.sample(0, number) for number in range(2)]
    with pytest.raises(DataError, match=r"odd.npz has 3 channels, expected 1, .* other volumes"):
        PatchSource(VolumeSet(tmp_path, "two", **CLASSES), (4, 4, 4), (4, 4, 4))
    assert (data.class_names, data.ignore_index) == (("background", "nucleus", "membrane"), 255)
