"""Sets of one's own: lists, folders, clothing; what their labels and photos may be."""

import numpy as np
import pytest
from PIL import Image

from common.data.classes import make_classes, read_class_file
from common.data.labels import Labelling, read_label
from common.data.photos import read_photo, traits_of
from common.data.sets.clothing import CLASS_NAMES, ClothingCoParsing
from common.data.sets.folder_pair import FolderPair
from common.data.sets.image_list import ImageList
from common.errors import (
    ConfigError,
    DamagedFileError,
    DataError,
    SizeMismatchError,
    UnknownLabelsError,
    UnpairedError,
)
from tests.common.data import layouts
from tests.common.data.layouts import COLORS, NAMES, ORIENTATION, SIZE, TURNED, photo_of, values

FIVE = make_classes(NAMES, COLORS, "test")
LABELLING = Labelling(FIVE)


def arrays(data, index=0):
    image, label = data.read(index)
    assert (image.mode, label.mode) == ("RGB", "L")
    return np.asarray(image), np.asarray(label)


@pytest.mark.parametrize(
    ("separator", "space"), [(" ", ""), ("\t", " "), (",", " of "), (" | ", " ")]
)
def test_a_list_is_read_in_its_order(tmp_path, separator, space):
    layouts.image_list(tmp_path, separator=separator, space=space)
    train = ImageList(tmp_path, "train", LABELLING, separator=separator)
    val = ImageList(tmp_path, "val", LABELLING, separator=separator)
    assert (len(train), len(val)) == (6, 2)
    assert val.frames[0].name == f"images/photo{space}006"
    for index in range(2):
        image, label = arrays(val, index)
        assert (label == values(6 + index)).all()
        assert (image == photo_of(label)).all()
    assert (train.class_names, train.num_classes, train.ignore_index) == (NAMES, 5, 255)


def test_a_list_for_tests_needs_no_labels(tmp_path):
    layouts.image_list(tmp_path)
    layouts.write(tmp_path / "test.txt", "images/photo000.png", "images/photo001.png")
    data = ImageList(tmp_path, "test", LABELLING, test_path="test.txt")
    assert [frame.label for frame in data.frames] == [None, None]
    with pytest.raises(DataError, match=r"photo000\.png has no label in the split test"):
        data.read(0)
    with pytest.raises(DataError, match=r"test\.txt, line 1: expected an image and its label"):
        ImageList(tmp_path, "val", LABELLING, val_path="test.txt")
    with pytest.raises(ConfigError, match=r"data\.test_path is not set"):
        ImageList(tmp_path, "test", LABELLING)


@pytest.mark.parametrize("line", [". a.png", "/ a.png", "./. a.png", "a.png /"])
def test_a_line_of_a_list_that_names_no_file(line, tmp_path):
    layouts.image_list(tmp_path)
    layouts.write(tmp_path / "train.txt", line)
    with pytest.raises(DataError, match=r"train\.txt, line 1: '.*' names no file"):
        ImageList(tmp_path, "train", LABELLING, train_path="train.txt")


def test_a_list_may_lie_where_the_command_runs(tmp_path, monkeypatch):
    layouts.image_list(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    assert len(ImageList("set", "train", LABELLING, train_path="set/train.txt")) == 6
    with pytest.raises(DataError, match=r"no list nowhere\.txt, looked for .*nowhere\.txt and "):
        ImageList("set", "train", LABELLING, train_path="nowhere.txt")


def test_a_path_with_spaces_needs_another_separator(tmp_path):
    layouts.image_list(tmp_path, space=" ")
    with pytest.raises(DataError, match=r"train\.txt, line 1: .*got 4: .*data\.separator"):
        ImageList(tmp_path, "train", LABELLING)


def test_files_of_a_list_that_are_not_there_are_named(tmp_path):
    layouts.image_list(tmp_path)
    (tmp_path / "images/photo002.png").unlink()
    (tmp_path / "labels/photo004.png").unlink()
    with pytest.raises(
        UnpairedError, match=r"not there: .*images/photo002.*labels/photo004"
    ) as got:
        ImageList(tmp_path, "train", LABELLING)
    assert len(got.value.source) == 4
    (tmp_path / "train.txt").write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        ImageList(tmp_path, "train", LABELLING)


def test_lines_of_a_list_without_a_label_are_counted_beside_the_rest(tmp_path):
    layouts.image_list(tmp_path)
    text = (tmp_path / "train.txt").read_text().splitlines()
    text[1] = text[1].split()[0]
    (tmp_path / "train.txt").write_text("\n".join(text))
    with pytest.raises(UnpairedError, match=r"lines without a label: line 2: images/") as got:
        ImageList(tmp_path, "train", LABELLING)
    assert len(got.value.source) == 5


def test_folders_are_split_by_a_share_by_lists_or_by_folders(tmp_path):
    root = layouts.folder_pair(tmp_path / "share", suffix="_mask")
    options = {"label_suffix": "_mask", "val_share": 0.3}
    train, val = (FolderPair(root, split, LABELLING, **options) for split in ("train", "val"))
    names = [frame.name for data in (train, val) for frame in data.frames]
    assert (len(train), len(val)) == (7, 3)
    assert sorted(names) == [f"{index:03d}" for index in range(10)]
    image, label = arrays(val)
    assert abs(image.astype(int) - photo_of(label)).mean() < 6  # JPEG
    layouts.write(root / "mine.txt", "003", "001.jpg")
    lists = {"label_suffix": "_mask", "train_list": "mine.txt", "val_list": "mine.txt"}
    data = FolderPair(root, "train", LABELLING, **lists)
    assert [frame.name for frame in data.frames] == ["003", "001"]
    for split in ("train", "val"):
        layouts.folder_pair(tmp_path / "sub", 4, split)
    assert len(FolderPair(tmp_path / "sub", "val", LABELLING)) == 4


def test_folders_whose_split_is_not_told_are_refused(tmp_path):
    root = layouts.folder_pair(tmp_path)
    with pytest.raises(ConfigError, match=r"which photos are for val: .*data\.val_share"):
        FolderPair(root, "val", LABELLING)
    with pytest.raises(ConfigError, match="both set"):
        FolderPair(root, "val", LABELLING, val_share=0.1, train_list="a.txt")
    with pytest.raises(ConfigError, match=r"data\.val_list is not set"):
        FolderPair(root, "val", LABELLING, train_list="a.txt")
    with pytest.raises(DataError, match=r"no folder .*photos; data\.image_folder"):
        FolderPair(root, "val", LABELLING, image_folder="photos", val_share=0.1)


def test_photos_and_labels_without_partner_are_counted(tmp_path):
    root = layouts.folder_pair(tmp_path)
    for index in range(5):
        (root / "labels" / f"00{index}.png").unlink()
    (root / "images/009.jpg").unlink()
    words = r"photos without label: .*000\.jpg, .*002\.jpg and 2 more; labels without photo: .*009"
    with pytest.raises(UnpairedError, match=words) as got:
        FolderPair(root, "train", LABELLING, val_share=0.5)
    assert [len(names) for names in got.value.problems.values()] == [5, 1]
    layouts.save(photo_of(values(0)), root / "images/005.png")
    with pytest.raises(DataError, match=r"005\.jpg and .*005\.png are one name"):
        FolderPair(root, "train", LABELLING, val_share=0.5)


def test_clothing_reads_matlab_and_knows_its_names(tmp_path):
    root = layouts.clothing(tmp_path, names=CLASS_NAMES)
    train, val = (ClothingCoParsing(root, split, 0.2) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    _, label = arrays(val)
    assert (label == values(int(val.frames[0].name))).all()
    layouts.clothing(tmp_path / "other", names=("null", "coat"))
    with pytest.raises(DataError, match=r"2 names, of which number 1 is not .*accessories"):
        ClothingCoParsing(tmp_path / "other", "train")
    (root / "photos/0003.jpg").unlink()
    with pytest.raises(UnpairedError, match=r"labels without photo: .*0003\.mat"):
        ClothingCoParsing(root, "train", 0.2)
    with pytest.raises(DataError, match=r"no clothing co-parsing data.*github"):
        ClothingCoParsing(tmp_path / "nowhere", "train")


@pytest.mark.parametrize(
    ("matrices", "words"),
    [
        ({"truth": np.zeros((3, 3))}, "in a matrix 'groundtruth', got no such matrix"),
        ({"groundtruth": np.zeros((3, 3, 2))}, r"float64 \[3, 3, 2\]"),
        ({"groundtruth": np.full((3, 3), 0.5)}, "more than whole numbers"),
        ({"groundtruth": np.full((3, 3), -1)}, "more than whole numbers"),
        ({}, "cannot be read as a MATLAB file"),
    ],
)
def test_a_wrong_matrix_is_named(tmp_path, matrices, words):
    from common.data.labels import read_mat

    layouts.save_mat(tmp_path / "a.mat", **matrices)
    if not matrices:
        (tmp_path / "a.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(DamagedFileError, match=words):
        read_mat(tmp_path / "a.mat", "groundtruth")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_a_label_may_be_a_tiff(tmp_path, dtype, compression):
    label = values(0).astype(dtype) * (1 if dtype == np.uint8 else 100)
    layouts.save(label, tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read_label(tmp_path / "a.tif"), label)


def with_pages(path):
    pages = [Image.fromarray(values(index)) for index in range(2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def inverted(path):
    Image.fromarray(values(0)).save(path, tiffinfo={262: 0})


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (with_pages, "has 2 pages"),
        (inverted, "smallest value is white"),
        (lambda path: layouts.save(values(0), path, compression="jpeg"), "changes values"),
        (lambda path: layouts.save(values(0).astype(np.int32) - 1, path), "got -1 to 3"),
        (lambda path: layouts.save(values(0).astype(np.int32) << 14, path), "got 0 to 65536"),
        (lambda path: layouts.save(values(0).astype(np.float32), path), "mode F"),
        (lambda path: path.write_bytes(b"II*" + bytes(40)), "damaged"),
    ],
)
def test_a_tiff_that_is_no_label_is_refused(tmp_path, write, words):
    write(tmp_path / "a.tif")
    with pytest.raises(DamagedFileError, match=words):
        read_label(tmp_path / "a.tif")


def grey16(path):
    layouts.save((values(0).astype(np.uint16) * 40 + 3) * 256 + 7, path)
    return values(0) * 40 + 3


def alpha(path):
    pixels = np.dstack([photo_of(values(0)), values(0) * 50])
    layouts.save(pixels, path)
    return pixels[..., :3]


def palette(path):
    image = Image.fromarray(photo_of(values(0))).quantize(8)
    image.save(path)
    return np.asarray(image.convert("RGB"))


def grey_alpha(path):
    Image.fromarray(photo_of(values(0))).convert("LA").save(path)
    return np.asarray(Image.fromarray(photo_of(values(0))).convert("L"))


def deep_colour(path):
    import cv2

    pixels = photo_of(values(0))
    cv2.imwrite(str(path), pixels[..., ::-1].astype(np.uint16) * 256 + 9)
    return pixels


@pytest.mark.parametrize(
    ("make", "traits"),
    [
        (grey16, {"16 bits", "grey"}),
        (alpha, {"with alpha"}),
        (palette, {"palette"}),
        (grey_alpha, {"with alpha", "grey"}),
        (deep_colour, {"16 bits"}),
    ],
)
def test_photos_of_every_kind_become_rgb_of_8_bits(tmp_path, make, traits):
    path = tmp_path / "photo.png"
    expected = make(path)
    expected = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=-1)
    assert (np.asarray(read_photo(path)) == expected).all()
    assert set(traits_of(path)) == traits


def turned(path):
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    layouts.save(photo_of(values(0)), path, exif=exif, quality=95)


def test_exif_turns_the_photo_and_not_the_label(tmp_path):
    turned(tmp_path / "images/a.jpg")
    stored = np.asarray(Image.open(tmp_path / "images/a.jpg"))
    image = np.asarray(read_photo(tmp_path / "images/a.jpg"))
    assert (image == np.rot90(stored, -1)).all()
    assert traits_of(tmp_path / "images/a.jpg") == ("turned by EXIF",)
    layouts.save(np.ascontiguousarray(np.rot90(values(0), -1)), tmp_path / "labels/a.png")
    layouts.write(tmp_path / "train.txt", "images/a.jpg labels/a.png")
    data = ImageList(tmp_path, "train", LABELLING)
    assert (arrays(data)[1] == np.rot90(values(0), -1)).all()
    layouts.save(values(0), tmp_path / "labels/a.png")
    with pytest.raises(SizeMismatchError, match=r"a\.jpg is 30 x 40 .*a\.png is 40 x 30.*EXIF"):
        data.read(0)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_labels_of_few_bits_have_the_numbers_that_are_stored(tmp_path, bits, mode):
    label = values(0, classes=min(5, 2**bits))
    path = tmp_path / "label.png"
    if mode == "P":
        image = Image.fromarray(label)
        image.putpalette([255 - value for color in COLORS for value in color])
        image.save(path, bits=bits)
    else:
        path.write_bytes(grey_png(label, bits))
    assert (read_label(path) == label).all()


def grey_png(label, bits):
    """A PNG of grey pixels of `bits`, which Pillow does not write."""
    import struct
    import zlib

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width = label.shape
    each = ((label[..., None] >> np.arange(bits)[::-1]) & 1).reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(each, axis=1))
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_labels_of_16_bits_are_values(tmp_path):
    label = values(0).astype(np.uint16) + 1000
    layouts.save(label, tmp_path / "label.png")
    assert (read_label(tmp_path / "label.png") == label).all()
    mapped = Labelling(FIVE, label_map={1000 + k: k for k in range(5)})
    assert (np.asarray(mapped.read(label, tmp_path)) == values(0)).all()


def test_a_label_in_colour_or_as_jpeg_is_refused(tmp_path):
    layouts.save(photo_of(values(0)), tmp_path / "label.png")
    with pytest.raises(DamagedFileError, match=r"one channel.*got mode RGB.*not its colour"):
        read_label(tmp_path / "label.png")
    layouts.save(values(0), tmp_path / "label.jpg")
    with pytest.raises(DamagedFileError, match="may be no JPEG, which changes values"):
        read_label(tmp_path / "label.jpg")


def test_values_that_are_no_class_are_counted(tmp_path):
    label = values(0)
    label[0, :7], label[1, :3] = 5, 77
    with pytest.raises(UnknownLabelsError, match=r"0\.\.4 and 255.*5 in 7 pixels, 77 in 3") as got:
        LABELLING.read(label, tmp_path / "a.png")
    assert got.value.pixels == {5: 7, 77: 3}
    with pytest.raises(UnknownLabelsError, match="numbered from 1"):
        LABELLING.read(np.full((2, 2), 5, np.uint8), tmp_path / "a.png")


def test_what_values_mean():
    label = np.array([[0, 1, 5, 255]], np.uint8)
    reduced = Labelling(FIVE, reduce_zero_label=True).read(label, None)
    assert np.asarray(reduced).tolist() == [[255, 0, 4, 255]]
    mapped = Labelling(FIVE, 9, label_map={0: 4, 1: 9, 5: 0, 255: 2}).read(label, None)
    assert np.asarray(mapped).tolist() == [[4, 255, 0, 2]]
    other = Labelling(FIVE, ignore_index=7).read(np.array([[7, 4]], np.uint8), None)
    assert np.asarray(other).tolist() == [[255, 4]]
    with pytest.raises(UnknownLabelsError, match="255 in 1 pixels"):
        Labelling(FIVE, ignore_index=7).read(label[:, 3:], None)
    with pytest.raises(UnknownLabelsError, match="2 in 1 pixels"):  # the map names all there are
        Labelling(FIVE, label_map={0: 0, 1: 1}).read(np.array([[2]]), None)


def test_advice_on_a_value_that_is_no_class_holds_when_followed():
    with pytest.raises(UnknownLabelsError, match="or map every value there is"):
        Labelling(FIVE).read(np.array([[7, 255, 4]]), None)
    every = {value: value for value in range(5)} | {7: 255, 255: 255}
    read = Labelling(FIVE, label_map=every).read(np.array([[7, 255, 4]]), None)
    assert np.asarray(read).tolist() == [[255, 255, 4]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ignore_index": 4}, "ignore_index is 4, which is the class 'soil'"),
        ({"ignore_index": 5, "reduce_zero_label": True}, "is the class 'soil'"),
        ({"label_map": {0: 0}, "reduce_zero_label": True}, "both set"),
        ({"label_map": {0: 5}}, r"0 -> 5; .*class 0\.\.4"),
        ({"label_map": {-1: 0}}, "-1 -> 0"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Labelling(FIVE, **options)


@pytest.mark.parametrize(
    "lines",
    [
        ["back ground", "a", "b"],
        ["back ground 0 0 0", "", "a 255 0 3", "b 1 2 3"],
        ["0 back ground 0 0 0", "1 a 255 0 3", "2 b 1 2 3"],
    ],
)
def test_files_of_class_names(tmp_path, lines):
    classes = read_class_file(layouts.write(tmp_path / "labels.txt", *lines))
    assert classes.names == ("back ground", "a", "b")
    assert classes.colors[1].tolist() == ([128, 0, 0] if len(lines[0]) < 12 else [255, 0, 3])
    assert not classes.colors[3:].any()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a 1 2 3", "b"], "'b' has no colour, other lines have"),
        (["a 1 2 3", "b 1 2 256"], "has no colour"),
        (["0 a 1 2 3", "2 b 1 2 3"], r"expected the indices 0\.\.1 in this order"),
        (["a", "a"], "'a' stands there twice"),
        (["a"], "1 classes; a set has 2 to 255"),
        ([f"c{index}" for index in range(256)], "256 classes"),
    ],
)
def test_wrong_files_of_class_names(tmp_path, lines, words):
    with pytest.raises(DataError, match=words):
        read_class_file(layouts.write(tmp_path / "labels.txt", *lines))


def test_a_mis_sized_pair_names_both_files_and_sizes(tmp_path):
    layouts.image_list(tmp_path)
    layouts.save(values(0, (8, 9)), tmp_path / "labels/photo000.png")
    words = rf"photo000\.png is {SIZE[0]} x {SIZE[1]} .*labels/photo000\.png is 8 x 9: .*equal$"
    with pytest.raises(SizeMismatchError, match=words):
        ImageList(tmp_path, "train", LABELLING).read(0)
