"""ADE20K and Pascal-Context on folders of their layouts."""

import json
import os

import numpy as np
import pytest

from common.data.sets.ade20k import Ade20k
from common.data.sets.pascal_context import CLASS_NAMES, NUMBERS, PascalContext
from common.errors import ConfigError, DataError, UnknownLabelsError, UnpairedError
from tests.common.data import layouts
from tests.common.data.layouts import values


def less_one(label):
    """Return what a label means where 0 does not count and 1 is class 0."""
    return np.where(label == 0, 255, label - 1)


def test_ade20k_ignores_other_and_counts_from_wall(tmp_path):
    root = layouts.ade20k(tmp_path)
    train, val = (Ade20k(root, split) for split in ("train", "val"))
    assert (len(train), len(val), Ade20k.num_classes) == (3, 2, 150)
    assert val.frames[1].name == "ADE_val_00000002"
    _, label = val.read(1)
    assert (np.asarray(label) == less_one(values(2, classes=151))).all()
    names = [Ade20k.class_names[index] for index in (0, 7, 12, 149)]
    assert names == ["wall", "bed", "person", "flag"]
    assert Ade20k.colors[[0, 149]].tolist() == [[120, 120, 120], [92, 0, 255]]


def test_ade20k_that_is_wrong_is_named(tmp_path):
    root = layouts.ade20k(tmp_path / "set")
    with pytest.raises(DataError, match=r"no ADE20K data: .*training.*ADEChallengeData2016\.zip"):
        Ade20k(tmp_path, "train")
    with pytest.raises(ConfigError, match="expected train or val, got 'test'"):
        Ade20k(root, "test")
    label = root / "annotations/validation/ADE_val_00000001.png"
    layouts.save(np.full((30, 40), 151, np.uint8), label)
    with pytest.raises(UnknownLabelsError, match=r"0\.\.150 and 255 .*151 in 1200 pixels"):
        Ade20k(root, "val").read(0)
    label.unlink()
    with pytest.raises(UnpairedError, match=r"images without label: .*ADE_val_00000001\.jpg"):
        Ade20k(root, "val")


@pytest.mark.parametrize("kind", ["mmseg", "paddleseg", "mat", "detail"])
def test_pascal_context_is_one_set_in_every_layout(tmp_path, kind):
    detail = kind == "detail"
    root = layouts.pascal_detail(tmp_path) if detail else layouts.pascal_context(tmp_path, kind)
    train, val = (PascalContext(root, split) for split in ("train", "val"))
    assert [len(train), len(val), PascalContext.num_classes] == [2, 1, 59]
    expected = less_one(values(3, classes=60))
    expected[0, 0] = 255 if kind in ("mat", "detail") else expected[0, 0]
    assert (np.asarray(val.read(0)[1]) == expected).all()


def test_pascal_contexts_classes_are_in_the_order_of_the_original():
    assert list(CLASS_NAMES) == sorted(CLASS_NAMES)  # as the 459 numbers are
    assert list(NUMBERS) == sorted(NUMBERS)
    assert (NUMBERS[284], CLASS_NAMES[36], CLASS_NAMES[58]) == ("person", "person", "wood")


def test_pascal_context_that_is_wrong_is_named(tmp_path):
    with pytest.raises(DataError, match=r"Context, .*trainval_merged\.json, in .*VOC"):
        PascalContext(tmp_path, "train")
    root = layouts.pascal_context(tmp_path, "mmseg")
    with pytest.raises(ConfigError, match=r"no list of 'test', looked for .*test_context\.txt"):
        PascalContext(root, "test")
    (root / "JPEGImages/2008_0001.jpg").unlink()
    with pytest.raises(UnpairedError, match=r"not there: .*2008_0001\.jpg") as got:
        PascalContext(root, "train")
    assert len(got.value.source) == 1


def test_pascal_in_detail_that_is_wrong_is_named(tmp_path):
    root = layouts.pascal_detail(tmp_path)
    merged = root / "trainval_merged.json"
    told = json.loads(merged.read_text())
    with pytest.raises(ConfigError, match=r"no images of the phase 'test', only of train, val"):
        PascalContext(root, "test")

    def changed(key, value):
        rows = [row | {key: value} if at == 0 else row for at, row in enumerate(told[key_of[key]])]
        merged.write_text(json.dumps(told | {key_of[key]: rows}))
        os.utime(merged, ns=(0, len(seen)))  # however coarse the clock of the disk
        seen.append(key)
        return PascalContext(root, "train")

    key_of, seen = {"segmentation": "annos_segmentation", "height": "images"}, [0]
    for key, value, words in (
        ("segmentation", [[1, 2, 3, 4, 5, 6]], "no compressed run lengths"),
        (
            "segmentation",
            {"size": [3, 4], "counts": "1"},
            r"size \[3, 4\] in an image of \[30, 40\]",
        ),
        ("height", 31, r"in an image of \[31, 40\]"),
    ):
        with pytest.raises(DataError, match=rf"json: a mask of category \d+ of .*{words}"):
            changed(key, value).read(0)
    with pytest.raises(DataError, match="not the annotations of Pascal in Detail"):
        changed("height", "tall")
    (root / "JPEGImages" / "2008_0003.jpg").unlink()
    with pytest.raises(UnpairedError, match=r"2008_0003\.jpg"):
        changed("height", 30) and PascalContext(root, "val")
