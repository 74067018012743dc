"""Average precision of masks: COCOeval's figures, and what it would take for something else."""

import json

import numpy as np
import pytest

from common.errors import DataError
from common.metrics.instances import Instance

pytest.importorskip("pycocotools")

from common.metrics.mask_ap import FIGURES, mask_average_precision, results_of


def square(y, x, side):
    mask = np.zeros((100, 120), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def dataset():
    """Return two objects in one image, small and large, and an image without any."""
    masks = [square(5, 5, 20), square(2, 20, 97)]
    rows = results_of([Instance(0, 1.0, mask) for mask in masks], 7, (3,))
    objects = [
        {**row, "id": 1 + k, "iscrowd": 0, "area": int(mask.sum())}
        for k, (row, mask) in enumerate(zip(rows, masks, strict=True))
    ]
    images = [{"id": number, "height": 100, "width": 120} for number in (7, 9)]
    return {"images": images, "categories": [{"id": 3}, {"id": 4}], "annotations": objects}


def found(*instances, image=7):
    return results_of([Instance(0, score, mask) for score, mask in instances], image, (3,))


def test_the_figures_are_those_of_cocoeval():
    results = found((0.9, square(5, 5, 20)), (0.8, square(2, 24, 97)), (0.3, square(60, 5, 10)))
    figures = dict(zip(FIGURES, mask_average_precision(dataset(), results), strict=True))
    # The large one has an IoU of 93 / 101, so it is found up to 0.9; the small one always.
    share = (9 * 1 + 51 / 101) / 10
    expected = {"AP": share, "AP50": 1, "AP75": 1, "AP_small": 1, "AP_large": 0.9}
    expected |= {"AP_medium": -1, "AR_1": 0.5, "AR_100": 0.95}  # -1: there is none
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_files_give_the_same_and_nothing_is_written_into_what_is_given(tmp_path):
    held, results = dataset(), found((0.9, square(5, 6, 20)))
    before = json.dumps([held, results])
    paths = tmp_path / "instances.json", tmp_path / "results.json"
    for path, one in zip(paths, (held, results), strict=True):
        path.write_text(json.dumps(one))
    assert mask_average_precision(*paths).tolist() == mask_average_precision(held, results).tolist()
    assert json.dumps([held, results]) == before
    boxed = [{**row, "bbox": [0, 0, 1, 1]} for row in results]
    assert mask_average_precision(held, boxed).tolist() == mask_average_precision(*paths).tolist()


def test_without_results_nothing_was_found():
    figures = mask_average_precision(dataset(), [])
    assert figures[0] == 0
    assert figures[FIGURES.index("AP_medium")] == -1


def changed(rows, **values):
    return [{**rows[0], **values}, *rows[1:]]


@pytest.mark.parametrize(
    ("annotations", "results", "said"),
    [
        ({"id": 0}, {}, "above 0, each once"),
        ({"id": 2}, {}, "above 0, each once"),
        ({"category_id": 8}, {}, "annotations have category_id 8"),
        ({"iscrowd": None}, {}, r"annotations\[0\] has None for iscrowd"),
        ({}, {"image_id": 8}, "results have image_id 8"),
        ({}, {"category_id": 0}, "results have category_id 0"),
        ({}, {"score": np.nan}, "could not check"),
        ({}, {"score": "1"}, "has '1' for score"),
        ({}, {"segmentation": {"size": [10, 12], "counts": "0"}}, r"size \[100, 120\]"),
        ({}, {"segmentation": {"size": [100, 120], "counts": [12000]}}, "counts of type list"),
        ({}, {"segmentation": {}}, "counts of type NoneType"),
    ],
)
def test_what_cocoeval_would_pass_over_is_refused(annotations, results, said):
    held = dataset()
    held["annotations"] = changed(held["annotations"], **annotations)
    with pytest.raises(DataError, match=said):
        mask_average_precision(held, changed(found((0.9, square(5, 5, 20))), **results))


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: No such file"):
        mask_average_precision(tmp_path / "none.json", [])
    (tmp_path / "broken.json").write_text("[")
    with pytest.raises(DataError, match=r"broken\.json: is not JSON"):
        mask_average_precision(tmp_path / "broken.json", [])
    with pytest.raises(DataError, match="must be an object"):
        mask_average_precision([], [])
    with pytest.raises(DataError, match="images must be a list"):
        mask_average_precision({}, [])
