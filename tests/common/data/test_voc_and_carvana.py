"""Pascal VOC and Carvana on folders of their layout, with a handful of tiny files."""

import numpy as np
import pytest
from PIL import Image

from common.data.sets.carvana import Carvana
from common.data.sets.voc import CLASS_NAMES, PascalVOC, palette
from common.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def photo(path, size=(9, 7)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def labels(path, values, size=(9, 7), mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.choice(values, size[::-1]).astype(np.uint8)
    image = Image.fromarray(array)
    if mode == "P":
        image.putpalette(palette().tobytes())
    image.convert("1") if mode == "1" else image.save(path)
    return array


@pytest.fixture
def voc(tmp_path):
    expected = {}
    for name in ("2007_000032", "2007_000039"):
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        expected[name] = labels(tmp_path / "SegmentationClass" / f"{name}.png", [0, 15, 20, 255])
    for name in ("2007_000032", "2008_000002"):
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        labels(tmp_path / "SegmentationClassAug" / f"{name}.png", [0, 1], mode="L")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000039\n2007_000032\n\n")
    (lists / "train_aug.txt").write_text("2007_000032\n2008_000002\n")
    (lists / "pairs.txt").write_text(
        "/JPEGImages/2008_000002.jpg /SegmentationClassAug/2008_000002.png\n"
    )
    return tmp_path, expected


def test_voc_is_read_in_the_order_of_its_list(voc):
    root, expected = voc
    data = PascalVOC(root, "val")
    assert [frame.name for frame in data.frames] == ["2007_000039", "2007_000032"]
    image, label = data.read(0)
    assert (image.mode, label.mode, image.size) == ("RGB", "L", (9, 7))
    assert (np.asarray(label) == expected["2007_000039"]).all()


@pytest.mark.parametrize("split", ["train_aug", "pairs"])
def test_augmented_labels_are_sbds(voc, split):
    data = PascalVOC(voc[0], split)
    assert data.frames[-1].name == "2008_000002"
    assert data.frames[-1].label.parent.name == "SegmentationClassAug"
    assert set(np.unique(np.asarray(data.read(len(data) - 1)[1]))) <= {0, 1}


def test_vocs_colours():
    assert len(CLASS_NAMES) == PascalVOC.num_classes == 21
    colors = palette()
    assert colors[[1, 15, 20]].tolist() == [[128, 0, 0], [192, 128, 128], [0, 64, 128]]
    assert not colors[255].any()


def test_voc_that_is_not_there_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"no Pascal VOC data.*JPEGImages.*VOCtrainval.*VOC2012"):
        PascalVOC(tmp_path, "val")


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda r: (r / "JPEGImages/2007_000032.jpg").unlink(), DataError, "not there.*000032.jpg"),
        (lambda r: photo(r / "JPEGImages/2007_000032.jpg", (5, 5)), DataError, "must be equal"),
        (
            lambda r: labels(r / "SegmentationClass/2007_000032.png", [0, 21]),
            DataError,
            r"0\.\.20 and 255.*21",
        ),
        (lambda r: append(r, "2007_000039"), DataError, "stand in it twice"),
        (lambda r: append(r, "a b c"), DataError, "a name or two paths"),
        (
            lambda r: (r / "JPEGImages/2007_000032.jpg").write_bytes(b"\xff\xd8\xff\xe0garbage"),
            DataError,
            "cannot be read as JPEG",
        ),
    ],
)
def test_damaged_voc_is_named(voc, damage, error, words):
    damage(voc[0])
    with pytest.raises(error, match=words):
        read_all(voc[0])


def read_all(root):
    data = PascalVOC(root, "val")
    return [data.read(index) for index in range(len(data))]


def append(root, line):
    with (root / "ImageSets/Segmentation/val.txt").open("a") as file:
        file.write(f"{line}\n")


def test_an_unknown_list_names_those_there_are(voc):
    with pytest.raises(ConfigError, match=r"lists are: pairs, train_aug, val"):
        PascalVOC(voc[0], "trainval")


@pytest.fixture
def carvana(tmp_path):
    for index in range(20):
        photo(tmp_path / "imgs" / f"car_{index:02d}.jpg")
        labels(tmp_path / "masks" / f"car_{index:02d}_mask.gif", [0, 255 if index % 2 else 1])
    return tmp_path


def test_carvana_is_split_once_and_for_all(carvana):
    train, val = (Carvana(carvana, split) for split in ("train", "val"))
    names = [{frame.name for frame in data.frames} for data in (train, val)]
    assert (len(train), len(val)) == (18, 2)
    assert len(names[0] | names[1]) == 20
    assert Carvana(carvana, "val").frames == val.frames
    drawn = {Carvana(carvana, "val", split_seed=seed).frames for seed in range(6)}
    assert len(drawn) > 1
    assert len(Carvana(carvana, "val", val_share=0.5)) == 10


def test_masks_of_any_second_value_are_cars(carvana):
    data = Carvana(carvana, "train")
    for index in range(len(data)):
        image, label = data.read(index)
        mask = np.asarray(Image.open(data.frames[index].label))
        assert (image.mode, label.mode) == ("RGB", "L")
        assert (np.asarray(label) == (mask > 0)).all()
        assert np.asarray(label).max() == 1


def test_wrong_carvana_is_named(carvana, tmp_path):
    with pytest.raises(DataError, match=r"no Carvana data.*imgs.*kaggle"):
        Carvana(tmp_path / "nowhere", "train")
    with pytest.raises(ConfigError, match="both splits need some"):
        Carvana(carvana, "train", val_share=0.01)
    labels(carvana / "masks" / "car_03_mask.gif", [0, 1, 2])
    data = Carvana(carvana, "train", val_share=0.05, split_seed=1)
    at = [frame.name for frame in data.frames].index("car_03")
    with pytest.raises(DataError, match="one other value"):
        data.read(at)
    (carvana / "masks" / "car_07_mask.gif").unlink()
    with pytest.raises(DataError, match=r"image without mask: car_07 .*_mask\.gif"):
        Carvana(carvana, "train")
