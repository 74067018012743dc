"""Panoptic quality of files: panopticapi's numbers, its rules one by one, and bad files."""

import json

import numpy as np
import pytest

from common.errors import DataError, UnreadableError
from common.metrics.panoptic import image_matches, panoptic_counts, panoptic_quality
from common.panoptic.files import read_predictions, read_truth
from common.panoptic.ids import save_ids
from common.panoptic.overlaps import overlaps
from tests.common.metrics.panoptic_sets import CATEGORIES, drawn_pair, drawn_set, write_set


def test_a_set_has_the_numbers_of_panopticapi(tmp_path):
    truth, predictions = drawn_set(tmp_path)
    done = []
    found = panoptic_quality(truth, predictions, progress=done.append)
    # cocodataset/panopticapi, evaluation.py (at 7bb4655) on the same files.
    pq = {"All": 0.47792613428262165, "Things": 0.5584695408335749, "Stuff": 0.4457087716622404}
    sq = {"All": 0.7626359099294188, "Things": 0.7871148082077659, "Stuff": 0.7528443506180801}
    rq = {"All": 0.6294063079777367, "Things": 0.7083333333333333, "Stuff": 0.5978354978354978}
    close = {"rel": 1e-15}  # how sums of IoUs are rounded depends on the number of cores
    for name, count in {"All": 7, "Things": 2, "Stuff": 5}.items():
        expected = {"pq": pq[name], "sq": sq[name], "rq": rq[name], "n": count}
        assert found[name] == pytest.approx(expected, **close)
    assert list(found["per_class"]) == list(CATEGORIES)
    assert found["per_class"][11]["pq"] == pytest.approx(0.35487528344671204, **close)
    assert done == [1, 2, 3, 4, 5]


def test_counts_are_those_of_panopticapi(tmp_path):
    truth, predictions = drawn_set(tmp_path)
    counts = panoptic_counts(read_truth(truth), read_predictions(predictions))
    # TP, FN, FP
    assert counts[:, 1:].tolist() == [
        *([3, 1, 2], [4, 1, 2], [3, 5, 3], [2, 1, 1], [2, 2, 2], [3, 1, 1], [4, 2, 2])
    ]


def matches(truth, truth_rows, guess, guess_rows):
    return image_matches(overlaps(truth, guess), truth_rows, guess_rows)


def by_masks(truth, predicted):
    """Return {class: (TP, FN, FP)} and the IoUs by the definition, mask by mask."""
    (ids, rows), (guess_ids, guesses) = truth, predicted
    void, tally, ious = ids == 0, {}, []
    used, found = set(), set()
    crowds = {r["category_id"]: ids == r["id"] for r in rows if r["iscrowd"]}
    for row in rows:
        for guess in guesses:
            if row["iscrowd"] or row["category_id"] != guess["category_id"]:
                continue
            own, other = ids == row["id"], (guess_ids == guess["id"]) & ~void
            iou = (own & other).sum() / (own | other).sum()
            if iou > 0.5:
                ious.append(iou)
                used.add(guess["id"])
                found.add(row["id"])
    for row in rows:
        cell = tally.setdefault(row["category_id"], [0, 0, 0])
        cell[0 if row["id"] in found else 1] += not row["iscrowd"]
    for guess in guesses:
        mask = guess_ids == guess["id"]
        excused = void | crowds.get(guess["category_id"], False)
        if guess["id"] not in used and (mask & excused).sum() * 2 <= mask.sum():
            tally.setdefault(guess["category_id"], [0, 0, 0])[2] += 1
    return {c: tuple(row) for c, row in tally.items() if any(row)}, sorted(ious)


@pytest.mark.parametrize("seed", range(12))
def test_matches_are_those_of_the_masks(seed):
    truth, predicted = drawn_pair(seed)
    found = matches(*truth, *predicted)
    tally = {}
    for column, rows in enumerate(([c for c, _ in found.hits], found.missed, found.false)):
        for category in rows:
            tally.setdefault(category, [0, 0, 0])[column] += 1
    expected, ious = by_masks(truth, predicted)
    assert {c: tuple(row) for c, row in tally.items()} == expected
    assert sorted(iou for _, iou in found.hits) == ious


def rows(*numbers, crowd=0, category=7):
    return [{"id": n, "category_id": category, "iscrowd": crowd, "area": a} for n, a in numbers]


def test_an_iou_of_a_half_is_no_match():
    truth, guess = np.array([[1, 1, 0, 2]]), np.array([[5, 6, 0, 5]])
    found = matches(truth, rows((1, 2), (2, 1)), guess, rows((5, 0), (6, 0)))
    assert found == ([], [7, 7], [7, 7])  # 1 and 6: exactly a half; 2 and 5: likewise


def test_void_is_in_no_union_and_a_segment_half_in_it_is_a_false_one():
    truth = np.array([[1, 0, 0, 0]])
    assert matches(truth, rows((1, 1)), np.array([[5, 5, 5, 5]]), rows((5, 0))).hits == [(7, 1)]
    other = rows((5, 0), category=8)
    assert matches(truth, rows((1, 1)), np.array([[5, 5, 0, 0]]), other).false == [8]
    assert matches(truth, rows((1, 1)), np.array([[5, 5, 5, 0]]), other).false == []


def test_of_crowds_of_a_class_the_last_excuses():
    truth, guess = np.array([[1, 1, 2, 2]]), np.array([[5, 5, 6, 6]])
    crowds = rows((1, 2), (2, 2), crowd=1)
    assert matches(truth, crowds, guess, rows((5, 0), (6, 0))) == ([], [], [7])
    assert matches(truth, crowds, guess, rows((5, 0), (6, 0), category=8)).false == [8, 8]


def test_the_area_of_the_truth_is_that_of_its_file():
    truth = np.array([[1, 1, 1, 1]])
    assert matches(truth, rows((1, 8)), truth, rows((1, 0))).hits == []  # 4 / (4 + 8 - 4)
    assert matches(truth, rows((1, 4)), truth, rows((1, 0))).hits == [(7, 1.0)]


def test_a_predicted_segment_may_have_the_id_0(tmp_path):
    # bowenc0221, evaluation/panoptic.py:84, writes class 0 so.
    ids = np.zeros((2, 2), int)
    truth = write_set(tmp_path / "gt.json", {"a": (ids + 3, rows((3, 4)))}, CATEGORIES)
    predictions = write_set(tmp_path / "pred.json", {"a": (ids, rows((0, 0)))})
    assert panoptic_quality(truth, predictions)["All"]["pq"] == 1


def broken(tmp_path, change):
    """Return what is said of a good set after `change(truth, predictions)`, both dicts."""
    ids = np.array([[1, 1, 2, 0]])
    paths = [
        write_set(tmp_path / "gt.json", {"a": (ids, rows((1, 2), (2, 1)))}, CATEGORIES),
        write_set(tmp_path / "pred.json", {"a": (ids, rows((1, 2), (2, 1)))}),
    ]
    assert panoptic_quality(*paths)["All"]["pq"] == 1
    data = [json.loads(path.read_text()) for path in paths]
    change(*data)
    for path, held in zip(paths, data, strict=True):
        path.write_text(json.dumps(held))
    with pytest.raises((DataError, UnreadableError)) as error:
        panoptic_quality(*paths)
    return str(error.value).replace(f"{tmp_path}/", "")


def first(data):
    return data["annotations"][0]


def put(row, **values):
    row.update(values)


def test_ids_of_png_and_json_must_be_the_same(tmp_path):
    said = broken(tmp_path, lambda t, p: first(p)["segments_info"].pop())
    assert said == (
        "the ids 2 have 1 pixels in pred/a.png and are no segment of pred.json (image_id a). Both "
        "must have the same ids: get the two files again from one source"
    )


def test_a_crowd_may_be_said_by_true(tmp_path):
    ids = np.array([[1, 1, 2]])
    said = [{**rows((1, 2))[0], "iscrowd": True}, *rows((2, 1))]
    truth = write_set(tmp_path / "gt.json", {"a": (ids, said)}, CATEGORIES)
    predictions = write_set(tmp_path / "pred.json", {"a": (ids, rows((1, 2), (2, 1)))})
    counts = panoptic_counts(read_truth(truth), read_predictions(predictions))
    assert counts[0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("side", [0, 1])
def test_a_segment_without_pixels_is_named(tmp_path, side):
    def add(*both):
        first(both[side])["segments_info"].extend(rows((9, 1)))

    name = ("gt", "pred")[side]
    expected = f"the segments 9 of {name}.json (image_id a) have no pixel in {name}/a.png."
    assert broken(tmp_path, add).startswith(expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, p: put(first(p)["segments_info"][0], category_id=1), "none of the 7 categories"),
        (lambda t, p: put(first(t)["segments_info"][0], category_id=1), "none of the 7 categories"),
        (lambda t, p: put(first(p), image_id="b"), "no prediction of 1 of the 1 images"),
        (
            lambda t, p: [put(first(d), image_id=k) for d, k in ((t, 7), (p, "7"))],
            "a number in one",
        ),
        (lambda t, p: p["annotations"].append(first(p)), "the image_id a stands there twice"),
        (lambda t, p: first(t)["segments_info"][0].pop("iscrowd"), "got None for iscrowd"),
        (lambda t, p: put(first(p)["segments_info"][0], id="1"), "got '1' for id"),
        (lambda t, p: put(first(p)["segments_info"][0], id=7.5), "ids whole ones; got 7.5 for id"),
        (lambda t, p: put(first(p), segments_info=None), "a list segments_info of objects"),
        (lambda t, p: first(p).pop("file_name"), "an image_id and a file_name"),
        (lambda t, p: put(first(p), file_name="b.png"), "no such file; expected a PNG"),
        (lambda t, p: t["categories"].append(t["categories"][0]), "an id of its own"),
        (lambda t, p: t["categories"].clear(), "categories is empty"),
        (lambda t, p: t.pop("categories"), "a list categories of objects"),
        (lambda t, p: t["annotations"].clear(), "nothing to score"),
        (lambda t, p: first(p)["segments_info"].append(first(p)["segments_info"][0]), "twice"),
    ],
)
def test_files_that_do_not_agree_are_one_message(tmp_path, change, said):
    assert said in broken(tmp_path, change)


def test_another_size_is_named(tmp_path):
    truth, predictions = drawn_set(tmp_path, 1)
    save_ids(np.zeros((3, 5), int), tmp_path / "pred" / "i0.png")
    with pytest.raises(DataError, match=r"size 5x3 \(width x height\), and the truth .* has 41x33"):
        panoptic_quality(truth, predictions)


def test_a_folder_that_is_missing_is_named(tmp_path):
    truth, predictions = drawn_set(tmp_path, 1)
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        panoptic_quality(truth, predictions, pred_folder=tmp_path / "elsewhere")
    assert panoptic_quality(truth, predictions, tmp_path / "gt", tmp_path / "pred")["All"]["n"] > 0


@pytest.mark.prove
def test_other_processes_give_the_same_numbers(tmp_path):
    paths = drawn_set(tmp_path, 9)
    assert panoptic_quality(*paths, workers=2) == panoptic_quality(*paths)
