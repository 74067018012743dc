"""What is written for panopticapi is what it, and we, read."""

import json

import numpy as np
import pytest

from common.errors import DataError
from common.metrics.panoptic import panoptic_quality
from common.panoptic.files import PredictionFiles, segments_in
from common.panoptic.ids import read_ids
from tests.common.metrics.panoptic_sets import CATEGORIES, write_set

PANOPTIC = np.array([[0, 0, 1001], [-1, 1002, 2000]])


def test_void_is_kept_apart_from_class_0():
    ids, rows = segments_in(PANOPTIC, 1000, CATEGORIES)
    assert ids.tolist() == [[1000, 1000, 2001], [0, 2002, 3000]]
    assert rows == [
        {"id": 1000, "category_id": 7, "area": 2},
        {"id": 2001, "category_id": 8, "area": 1},
        {"id": 2002, "category_id": 8, "area": 1},
        {"id": 3000, "category_id": 11, "area": 1},
    ]
    with pytest.raises(DataError, match=r"classes 0\.\.1, got 2"):
        segments_in(PANOPTIC, 1000, CATEGORIES[:2])


def test_predictions_are_written_and_read_again(tmp_path):
    files = PredictionFiles(tmp_path / "out" / "pred.json", 1000, CATEGORIES)
    files.add(PANOPTIC, "frankfurt_000001", "frankfurt_000001_pred")
    files.close([{"id": 7, "isthing": 0, "name": "road"}])
    written = json.loads((tmp_path / "out" / "pred.json").read_text())
    assert written["categories"][0]["name"] == "road"
    assert written["annotations"][0]["file_name"] == "frankfurt_000001_pred.png"
    ids = read_ids(tmp_path / "out" / "pred" / "frankfurt_000001_pred.png")
    assert ids.tolist() == segments_in(PANOPTIC, 1000, CATEGORIES)[0].tolist()
    rows = [{**row, "iscrowd": 0} for row in segments_in(PANOPTIC, 1000, CATEGORIES)[1]]
    truth = write_set(tmp_path / "gt.json", {"frankfurt_000001": (ids, rows)}, CATEGORIES)
    assert panoptic_quality(truth, tmp_path / "out" / "pred.json")["All"]["pq"] == 1
