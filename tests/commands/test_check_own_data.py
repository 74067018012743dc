"""check_data on data that are the user's own callables: every item is asked for and looked at."""

import argparse
import json
import sys

import pytest
from PIL import Image

from commands.check_data.flow import check
from commands.subjects.named import config as named_config
from common.errors import DataError
from tests.paths import CONFIGS

CODE = """
import numpy as np

class Set:
    def __init__(self, split, wrong=(), ready=False):
        self.split, self.wrong, self.ready = split, wrong, ready

    def __len__(self):
        return 4 if self.split == "train" else 2

    def __getitem__(self, index):
        rng = np.random.default_rng([index, self.split == "val"])
        image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
        label = (np.arange(60) // 20 + np.zeros((40, 1), int)).astype(np.uint8)
        label[:4] = 9
        fault = self.wrong[index] if self.split == "train" and index < len(self.wrong) else ""
        if fault == "raises":
            raise ValueError("no such file")
        if fault == "small":
            label = label[:-1]
        if fault == "values":
            label[5, :7] = 77
        if fault == "wide":
            label = label.astype(np.int64)
            label[5, :3] = 300
        if fault == "void":
            label[:] = 9
        if fault == "alone":
            return image
        if fault == "grey":
            image = image[..., 0]
        if self.ready:
            image = np.ascontiguousarray(image.transpose(2, 0, 1) / 100, np.float32)
        if fault == "nan":
            image[0, 0, 0] = np.nan
        return image, label


class Open(Set):
    def __init__(self, split):
        super().__init__(split)
        self.file = lambda: None
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a module of data; what it adds to Python's path goes again."""
    (tmp_path / "sets.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sets", raising=False)
    yield tmp_path
    named_config._found.cache_clear()
    sys.modules.pop("sets", None)


def checked(place, capsys, *lines, name="Set", workers=None, augmentation="{name: none}"):
    config = place / "own.yml"
    data = [f"  both: sets:{name}", "  ignore_index: 9", *lines]
    base = [f"_base_: {CONFIGS}/stdc1_toy.yml", "name: mine", "model: {num_classes: 3}"]
    unset = ["  dataset: own", "  root: null", "  labels: null", "  train_split: train"]
    plain = ["  crop_hw: [32, 48]", "  batch_size: 2", f"  augmentation: {augmentation}"]
    config.write_text("\n".join([*base, "data:", *unset, *data, *plain]) + "\n")
    given = {"overrides": [], "output": place / "out", "json": True, "quiet": False}
    code = check(argparse.Namespace(config=config, workers=workers, **given))
    return code, json.loads(capsys.readouterr().out)


def test_a_good_set_is_counted_and_drawn(place, capsys):
    code, told = checked(place, capsys)
    assert (code, told["good"], told["findings"]) == (0, True, {})
    assert {name: row["frames"] for name, row in told["splits"].items()} == {"train": 4, "val": 2}
    assert [row["pixels"]["train"] for row in told["classes"]] == [4 * 36 * 20] * 3
    assert told["splits"]["val"] == {"frames": 2, "ignored_pixels": 480, "sizes": [[40, 60]]}
    for path in told["pictures"]:
        with Image.open(path) as picture:
            assert min(picture.size) > 200
    assert len(told["pictures"]) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("raises", "unreadable", "ValueError: no such file"),
        ("small", "mis-sized", "uint8 [39, 60]"),
        ("values", "mislabelled", "77 in 7 pixels; data.ignore_index"),
        ("wide", "mislabelled", "holds 0 to 300"),
        ("void", "empty", "no pixel of it has a class"),
        ("alone", "unreadable", "expected (image, label)"),
        ("grey", "unreadable", "uint8 [40, 60]; expected uint8 [H, W, 3]"),
    ],
)
def test_what_is_wrong_with_an_item_is_named(place, capsys, fault, kind, words):
    code, told = checked(place, capsys, f"  args: {{wrong: ['', {fault}]}}")
    assert (code, list(told["findings"])) == (1, [kind])
    (row,) = told["findings"][kind]["first"]
    assert (row["file"], row["split"]) == ("train, item 1", "train")
    assert words in row["said"]
    assert told["splits"]["train"]["frames"] == 4
    values = {"values": {"77": 7}, "wide": {"300": 3}}.get(fault, {})
    assert {value: row["pixels"] for value, row in told["values"].items()} == values


def test_images_that_are_ready_for_the_net(place, capsys):
    code, told = checked(place, capsys, "  args: {ready: true}", workers=1)
    assert (code, len(told["pictures"])) == (0, 2)
    code, told = checked(place, capsys, "  args: {ready: true, wrong: [nan]}")
    assert code == 1
    assert "NaN" in told["findings"]["unreadable"]["first"][0]["said"]


def test_what_the_users_augmentation_refuses_is_a_finding(place, capsys):
    raises = "\ndef same(image, label):\n    raise KeyError('mask')\n"
    (place / "sets.py").write_text(CODE + raises)
    code, told = checked(place, capsys, augmentation="{name: own, both: 'sets:same'}")
    assert (code, told["findings"]["not augmented"]["count"]) == (1, 4)
    assert "KeyError" in told["findings"]["not augmented"]["first"][0]["said"]


def test_a_set_that_cannot_travel_is_read_here(place, capsys):
    with pytest.raises(DataError, match="--workers 0"):
        checked(place, capsys, name="Open", workers=1)
    assert checked(place, capsys, name="Open")[0] == 0
