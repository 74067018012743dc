"""COCO in Pascal VOC's classes, on folders of its layout with a handful of small files."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from common.data.sets.coco import CATEGORIES, Coco
from common.data.sets.voc import CLASS_NAMES
from common.errors import ConfigError, DataError, UserError

pytest.importorskip("pycocotools")
SIZE = (60, 50)  # width, height
PERSON, DOG, TOASTER = 1, 18, 80  # VOC's classes 15 and 12, and none


def box(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def runs(mask):
    """Uncompressed run lengths: columns one after the other, zeros first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    return {"size": list(mask.shape), "counts": np.diff([0, *edges]).tolist()}


def region(image, category, segmentation, area, crowd=0):
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": area,
        "iscrowd": crowd,
    }


def patch(rows, columns):
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


CROWD = patch((30, 50), (20, 60))
ANNOTATIONS = [
    # Two polygons of one person; a dog that overlaps it; a crowd; a class that VOC has not.
    region(9, PERSON, [box(0, 0, 20, 20), box(30, 0, 50, 20)], 800),
    region(9, DOG, [box(10, 10, 20, 40)], 300),
    region(9, PERSON, runs(CROWD), 800, crowd=1),
    region(9, TOASTER, [box(0, 40, 10, 50)], 100),
    region(4, DOG, [box(5, 5, 25, 45)], 1000),  # just not enough to train on
    region(5, TOASTER, [box(0, 0, 60, 50)], 3000),
]
IMAGES = {9: "RGB", 4: "L", 5: "RGB", 7: "RGB"}


def write(root, split="train", annotations=ANNOTATIONS, **changes):
    folder = root / f"{split}2017"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    images = []
    for key, mode in IMAGES.items():
        name = f"{key:012d}.jpg"
        pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).convert(mode)
        picture.save(folder / name, "PNG" if key == 7 else "JPEG")  # a name is no proof
        images.append({"id": key, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
    names = {**CATEGORIES, TOASTER: "toaster"}
    content = {
        "images": images,
        "annotations": [{**row, "id": index} for index, row in enumerate(annotations, 100)],
        "categories": [{"id": key, "name": name} for key, name in names.items()],
    }
    (root / "annotations").mkdir(exist_ok=True)
    path = root / "annotations" / f"instances_{split}2017.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_a_label_is_drawn_from_polygons_and_crowds(tmp_path):
    write(tmp_path)
    data = Coco(tmp_path, "train")
    assert [frame.name for frame in data.frames] == ["000000000009"]
    image, label = data.read(0)
    assert (image.mode, label.mode, image.size, label.size) == ("RGB", "L", SIZE, SIZE)
    expected = np.zeros(SIZE[::-1], np.uint8)
    person, dog = CLASS_NAMES.index("person"), CLASS_NAMES.index("dog")
    expected[:20, :20] = expected[:20, 30:50] = expected[30:, 20:] = person
    expected[10:40, 10:20] = dog
    expected[10:20, 10:20] = 255  # the dog in front of the person, or behind it
    np.testing.assert_array_equal(np.asarray(label), expected)


def test_validation_takes_every_image_sorted_by_id(tmp_path):
    write(tmp_path, "val")
    data = Coco(tmp_path, "val")
    assert [int(frame.name) for frame in data.frames] == [4, 5, 7, 9]
    for index, values in enumerate(([0, 12], [0], [0], [0, 12, 15, 255])):
        image, label = data.read(index)
        assert image.mode == "RGB"
        assert np.unique(np.asarray(label)).tolist() == values
    assert (np.asarray(data.read(0)[0])[..., 0] == np.asarray(data.read(0)[0])[..., 2]).all()


def test_compressed_run_lengths_are_the_same(tmp_path):
    from pycocotools import mask

    packed = mask.encode(np.asfortranarray(CROWD))
    packed["counts"] = packed["counts"].decode()
    write(tmp_path, annotations=[region(9, PERSON, packed, 1200)])
    label = np.asarray(Coco(tmp_path, "train").read(0)[1])
    np.testing.assert_array_equal(label, CROWD * 15)


def test_classes_are_vocs():
    # The order of torchvision's CAT_LIST behind its 0.
    ids = [5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
    assert list(CATEGORIES) == ids
    same = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"}
    same |= {"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
    assert [same.get(name, name) for name in CLASS_NAMES[1:]] == list(CATEGORIES.values())
    assert (Coco.num_classes, Coco.ignore_index) == (21, 255)


BAD_REGIONS = {
    "a box": ([[0, 0, 10, 10]], "a polygon of 4 numbers"),
    "odd": ([[0, 0, 10, 10, 5, 5, 1]], "a polygon of 7 numbers"),
    "empty": ([], "no polygon and no run lengths"),
    "other size": ({"size": [5, 5], "counts": [25]}, "run lengths of size"),
    "too short": ({"size": [50, 60], "counts": [10, 5]}, "of 15 pixels in all"),
    "no counts": ({"size": [50, 60]}, "counts"),
    # pycocotools takes these, and draws from beyond its arrays.
    "below 0": ({"size": [50, 60], "counts": [-10, 3010]}, "no whole numbers"),
    "halves": ({"size": [50, 60], "counts": [0.5, 2999.5]}, "no whole numbers"),
    "packed, of nothing": ({"size": [50, 60], "counts": "0"}, "of 0 pixels in all"),
    "packed, empty": ({"size": [50, 60], "counts": ""}, "of 0 pixels in all"),
    "packed, cut off": ({"size": [50, 60], "counts": "o"}, "no compressed run lengths"),
    "packed, without end": ({"size": [50, 60], "counts": "o" * 40}, "no compressed run lengths"),
    "far away": ([[0, 0, 1e12, 0, 5, 5]], "1000000000000.0 for a place"),
    "no number": ([[0, 0, float("nan"), 0, 5, 5]], "nan for a place"),
    "a text": ("0, 0, 10, 10, 5, 5", "no polygon"),
    "a list of numbers": ([0, 0, 10, 10, 5, 5], "a polygon that is 0"),
}


@pytest.mark.parametrize("case", BAD_REGIONS)
def test_a_region_that_is_none_is_named(tmp_path, case):
    segmentation, words = BAD_REGIONS[case]
    write(tmp_path, annotations=[region(9, DOG, segmentation, 2000)])
    data = Coco(tmp_path, "train")
    with pytest.raises(DataError, match=rf"annotation 100 of 000000000009\.jpg: .*{words}"):
        data.read(0)


def test_damage_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no COCO data: .*train2017.*cocodataset\.org"):
        Coco(tmp_path, "train")
    with pytest.raises(ConfigError, match="train or val"):
        Coco(tmp_path, "train2017")
    path = write(tmp_path)
    other = [{"id": key, "name": CATEGORIES.get(key, "")} for key in range(1, 91)]
    other[PERSON - 1]["name"] = "people"
    cases = [
        ({"categories": other}, "category 1 is 'people', COCO's is 'person'"),
        ({"annotations": [region(123, DOG, [], 5000)]}, "image 123, which is not"),
        ({"images": []}, "image 9, which is not listed|names no image"),
        ({"categories": 7}, "not the annotations of COCO's instances"),
    ]
    for change, words in cases:
        write(tmp_path, **change)
        with pytest.raises(DataError, match=words):
            Coco(tmp_path, "train")
    path.write_text("{")
    with pytest.raises(DataError, match="not the annotations"):
        Coco(tmp_path, "train")
    write(tmp_path)
    image = tmp_path / "train2017" / "000000000009.jpg"
    Image.new("RGB", (5, 5)).save(image)
    with pytest.raises(DataError, match=r"is 5 x 5 .* says 60 x 50"):
        Coco(tmp_path, "train").read(0)
    image.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read as JPEG"):
        Coco(tmp_path, "train").read(0)
    image.unlink()
    with pytest.raises(DataError, match=r"not there: .*000000000009\.jpg"):
        Coco(tmp_path, "train")


def test_without_pycocotools_the_extra_is_named(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"torch2paddle-seg\[coco\]"):
        Coco(tmp_path, "train")
