import contextlib

import numpy as np
import pytest
from PIL import Image

from common.data import Cityscapes
from common.data.sets.cityscapes_labels import CLASS_NAMES, LABELS, palette, train_id_table
from common.errors import ConfigError, DataError

NAME = "aachen_000000_000019"


@pytest.fixture
def root(tmp_path):
    """Two frames of 8 x 4, in two cities, labels of both kinds."""
    for city in ("aachen", "bonn"):
        add(tmp_path, city, f"{city}_000000_000019")
    return tmp_path


def add(root, city, name, split="train"):
    images, labels = (root / kind / split / city for kind in ("leftImg8bit", "gtFine"))
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 4), (9, 8, 7)).save(images / f"{name}_leftImg8bit.png")
    Image.new("L", (8, 4), 26).save(labels / f"{name}_gtFine_labelIds.png")
    Image.new("L", (8, 4), 5).save(labels / f"{name}_gtFine_labelTrainIds.png")
    Image.new("RGBA", (8, 4)).save(labels / f"{name}_gtFine_color.png")


def image_path(root):
    return root / "leftImg8bit/train/aachen" / f"{NAME}_leftImg8bit.png"


def label_path(root, kind="labelIds"):
    return root / "gtFine/train/aachen" / f"{NAME}_gtFine_{kind}.png"


def put_label(root, *ids):
    pixels = np.full((4, 8), 7, np.uint8)
    pixels.flat[: len(ids)] = ids
    Image.fromarray(pixels).save(label_path(root))


def test_table_is_cityscapes():
    assert CLASS_NAMES == (
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    )
    assert [row.id for row in LABELS] == [*range(34), -1]
    assert len({row.name for row in LABELS}) == 35
    assert palette()[[0, 13, 18, 255]].tolist() == [
        [128, 64, 128],
        [0, 0, 142],
        [119, 11, 32],
        [0, 0, 0],
    ]


def test_label_ids_map_as_the_authors_in_place_loop_does():
    """Their loop goes through the table in ascending order; id 33 last, -1 is no class."""
    ids = np.arange(34, dtype=np.int64)
    theirs = ids.copy()
    for row in LABELS[:-1]:
        theirs[theirs == row.id] = row.train_id
    assert (train_id_table()[ids] == theirs).all()
    assert (train_id_table()[34:] == 255).all()


def test_reads_frames_sorted_and_mapped(root):
    data = Cityscapes(root, "train")
    assert [frame.name for frame in data.frames] == [NAME, "bonn_000000_000019"]
    image, label = data.read(0)
    assert (image.mode, label.mode, image.size) == ("RGB", "L", (8, 4))
    assert np.unique(label).tolist() == [13]


def test_ready_train_ids_are_taken_as_they_are(root):
    assert np.unique(Cityscapes(root, "train", "labelTrainIds").read(0)[1]).tolist() == [5]
    for path in root.glob("gtFine/*/*/*labelIds.png"):
        path.unlink()
    assert np.unique(Cityscapes(root, "train").read(0)[1]).tolist() == [5]


def test_a_palette_is_not_the_label(root):
    label = Image.new("P", (8, 4), 26)
    label.putpalette([200] * 768)
    label.save(label_path(root))
    assert np.unique(Cityscapes(root, "train").read(0)[1]).tolist() == [13]


def test_trainval_is_both(root):
    add(root, "ulm", "ulm_000000_000019", split="val")
    assert [f.name[:3] for f in Cityscapes(root, "trainval").frames] == ["aac", "bon", "ulm"]


def test_no_data_says_what_was_looked_for_where_and_how_to_get_it(tmp_path):
    with pytest.raises(DataError) as error:
        Cityscapes(tmp_path / "void", "train")
    for part in (
        "leftImg8bit/train",
        "gtFine/train",
        str(tmp_path / "void"),
        "https://www.cityscapes-dataset.com",
        "login",
        "tools/make_toy_cityscapes.py DIR",
    ):
        assert part in str(error.value)


def test_half_present_data(root):
    with pytest.raises(DataError, match=r"no folder .*leftImg8bit/val and no folder .*gtFine/val"):
        Cityscapes(root, "val")
    (root / "leftImg8bit/val").mkdir()
    (root / "gtFine/val").mkdir()
    with pytest.raises(DataError, match=r"leftImg8bit/val holds no <city>/\*_leftImg8bit.png"):
        Cityscapes(root, "val")
    for path in root.glob("gtFine/train/*/*label*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"holds no .*labelIds.png or .*labelTrainIds.png"):
        Cityscapes(root, "train")


def test_an_image_without_label_is_found_at_opening(root):
    label_path(root).unlink()
    with pytest.raises(DataError, match="1 of 2 images have no label: missing .*" + NAME):
        Cityscapes(root, "train")


def test_a_label_without_image_is_found_at_opening(root):
    image_path(root).unlink()
    with pytest.raises(DataError, match="1 of 2 labels have no image: missing .*" + NAME):
        Cityscapes(root, "train")


def test_a_stray_png_is_not_skipped_but_hidden_files_are(root):
    (root / "leftImg8bit/train/aachen/._x_leftImg8bit.png").write_bytes(b"AppleDouble")
    assert len(Cityscapes(root, "train")) == 2
    Image.new("RGB", (8, 4)).save(root / "leftImg8bit/train/aachen/holiday.png")
    with pytest.raises(DataError, match=r"holiday\.png"):
        Cityscapes(root, "train")


def test_sizes_that_differ(root):
    Image.new("L", (8, 5), 7).save(label_path(root))
    with pytest.raises(DataError, match=f"{NAME}_leftImg8bit.png is 8 x 4 .* is 8 x 5"):
        Cityscapes(root, "train").read(0)


@pytest.mark.parametrize("foreign", [34, 200, 255])
def test_a_label_id_outside_the_table(root, foreign):
    put_label(root, foreign, foreign)
    with pytest.raises(DataError, match=rf"{NAME}_gtFine_labelIds.png.* {foreign} \(2 pixels\)"):
        Cityscapes(root, "train").read(0)


def test_a_train_id_outside_the_table(root):
    Image.new("L", (8, 4), 19).save(label_path(root, "labelTrainIds"))
    with pytest.raises(DataError, match=r"labelTrainIds.png.* 19 \(32 pixels\)"):
        Cityscapes(root, "train", "labelTrainIds").read(0)


def test_every_id_of_the_table_is_read(root):
    put_label(root, *range(32))
    _, label = Cityscapes(root, "train").read(0)
    assert np.asarray(label).ravel().tolist() == train_id_table()[:32].tolist()


@pytest.mark.parametrize(("which", "mode"), [("label", "RGB"), ("label", "I;16"), ("image", "L")])
def test_a_wrong_mode(root, which, mode):
    path = label_path(root) if which == "label" else image_path(root)
    Image.new(mode, (8, 4)).save(path)
    with pytest.raises(DataError, match=f"{path.name}: expected a PNG of mode .*, got {mode}"):
        Cityscapes(root, "train").read(0)


def test_a_file_that_is_no_png(root):
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n"):
        image_path(root).write_bytes(content)
        with pytest.raises(DataError, match=f"{NAME}_leftImg8bit.png: cannot be read as PNG"):
            Cityscapes(root, "train").read(0)


def test_a_truncated_png_is_an_error_at_any_length(root):
    path = image_path(root)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)).save(path)
    whole, data = path.read_bytes(), Cityscapes(root, "train")
    for length in range(len(whole) - 4):  # the last four are the checksum of an empty chunk
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=path.name):
            data.read(0)


def test_a_damaged_byte_is_an_error_or_changes_nothing(root):
    path = image_path(root)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)).save(path)
    whole, data = path.read_bytes(), Cityscapes(root, "train")
    pixels = data.read(0)[0].tobytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            assert data.read(0)[0].tobytes() == pixels, place


def test_unknown_split_and_kind(root):
    with pytest.raises(ConfigError, match="train, val, test, trainval, got 'dev'"):
        Cityscapes(root, "dev")
    with pytest.raises(ConfigError, match=r"labels: expected auto, .*, got 'color'"):
        Cityscapes(root, "train", "color")
