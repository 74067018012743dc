"""Panoptic quality of files, as panopticapi computes it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.data.readers import in_processes
from common.data.transforms.images import VOID_ID
from common.errors import DataError, SizeMismatchError
from common.metrics.matching import Known, Matches, match
from common.metrics.quality import add_matches, quality_by_class, quality_of_groups
from common.panoptic.files import (
    Annotation,
    PanopticFile,
    read_predictions,
    read_truth,
    require_known,
)
from common.panoptic.ids import read_ids
from common.panoptic.overlaps import Overlaps, overlaps
from common.panoptic.segments import require_same_ids

Progress = Callable[[int], Any]
Pair = tuple[Annotation, Annotation]


def panoptic_quality(
    gt_json: str | Path,
    pred_json: str | Path,
    gt_folder: str | Path | None = None,
    pred_folder: str | Path | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return what panopticapi's `pq_compute` returns for the same files, to the last digit.

    panopticapi shares the images out among the cores of a machine and adds the shares, so the last
    digit of a sum of IoUs depends on their number; here it is that of this machine, whatever
    `workers` are. Images of which there is no truth do not count.

    Args:
        gt_json, pred_json: JSON files of panopticapi.
        gt_folder, pred_folder: of their PNGs; by default the JSON's path without suffix.
        workers: processes that read; 0: this one. Others start as new ones, so that a script that
            asks for them needs `if __name__ == "__main__":`.
        progress: called with the number of images done.

    Returns:
        {"All" | "Things" | "Stuff": {"pq", "sq", "rq", "n"}, "per_class": {category_id: {"pq",
        "sq", "rq"}}}, 0..1. A group without a segment is NaN (panopticapi divides by zero).

    Raises:
        UnreadableError, DataError: a file is damaged or missing; an image has no prediction; ids in
            a PNG and not in its JSON, or the reverse; another size; an unknown category.
    """
    paths = [None if f is None else Path(f) for f in (gt_folder, pred_folder)]
    truth = read_truth(Path(gt_json), paths[0])
    predictions = read_predictions(Path(pred_json), paths[1])
    counts = panoptic_counts(truth, predictions, workers=workers, progress=progress)
    things = [category.is_thing for category in truth.categories.values()]
    by_class = quality_by_class(counts, list(truth.categories))
    return {**quality_of_groups(counts, things), "per_class": by_class}


def panoptic_counts(
    truth: PanopticFile,
    predictions: PanopticFile,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the counts of every category of `truth`, in its order: float64 [categories, 4].

    Columns as of `common.metrics.quality`. workers, progress and what is raised: as of
    `panoptic_quality`.
    """
    pairs = _pairs(truth, predictions)
    work = partial(_matches, truth, predictions)
    found = in_processes(work, pairs, workers) if workers else map(work, pairs)
    return _added(_watched(found, progress), len(pairs), list(truth.categories))


def image_matches(
    shared: Overlaps, truth_segments: Sequence[Any], predicted_segments: Sequence[Any]
) -> Matches:
    """Match the segments of an image; panopticapi/evaluation.py (at 7bb4655) is what it does.

    The area of a segment of the truth is that of its row, that of a predicted one is counted. A
    predicted segment may have the id 0, as bowenc0221's writer makes of class 0. Of several crowds
    of a class the last one counts.

    Args:
        shared: of the map of the truth's ids and that of the prediction's.
        truth_segments: rows with id, category_id, area, iscrowd.
        predicted_segments: rows with id and category_id, of all ids in the map.
    """
    pairs, (_, areas) = shared.by_pair(), shared.areas()
    crowds = {r["category_id"]: r["id"] for r in truth_segments if r["iscrowd"] == 1}

    def ignored(number: int, category: int) -> int:
        crowd = pairs.get((crowds[category], number), 0) if category in crowds else 0
        return pairs.get((VOID_ID, number), 0) + crowd

    wanted = {
        r["id"]: Known(r["category_id"], r["area"]) for r in truth_segments if r["iscrowd"] != 1
    }
    guessed = {r["id"]: Known(r["category_id"], areas[r["id"]]) for r in predicted_segments}
    return match(pairs, wanted, guessed, VOID_ID, ignored)


def _require_agreement(
    held: dict[int, int], segments: Sequence[Any], files: tuple[str, str], zero: bool
) -> None:
    """Raise SegmentsError where the ids of a map and of its rows differ; `zero`: 0 may be one."""
    listed = [row["id"] for row in segments]
    if zero and VOID_ID in held:
        listed = [number for number in listed if number != VOID_ID]
    there = {number: pixels for number, pixels in held.items() if number != VOID_ID}
    require_same_ids(there, listed, files)


def _pairs(truth: PanopticFile, predictions: PanopticFile) -> list[Pair]:
    """Return truth and prediction of every image; raises DataError where one has none."""
    lacking = [number for number in truth.images if number not in predictions.images]
    if lacking:
        shown = ", ".join(map(str, lacking[:5]))
        if str(lacking[0]) in map(str, predictions.images):
            raise DataError(
                f"{predictions.path}: the image_id {lacking[0]} is a number in one file and a text "
                f"in the other, {truth.path}; write it as the truth has it"
            )
        raise DataError(
            f"{predictions.path}: no prediction of {len(lacking)} of the {len(truth.images)} "
            f"images of {truth.path} (image_id {shown}); predict all of them, or leave them out "
            "of the truth"
        )
    if not truth.images:
        raise DataError(f"{truth.path}: annotations is empty, so there is nothing to score")
    return [(image, predictions.images[number]) for number, image in truth.images.items()]


def _matches(truth: PanopticFile, predictions: PanopticFile, pair: Pair) -> Matches:
    """Read and match one image."""
    sides = tuple(zip((truth, predictions), pair, strict=True))
    own, other = (read_ids(side.png(image)) for side, image in sides)
    if own.shape != other.shape:
        raise SizeMismatchError(
            f"{predictions.png(pair[1])}: has size {_size(other)} (width x height), and the truth "
            f"{truth.png(pair[0])} has {_size(own)}; write predictions at the size of the truth"
        )
    require_known(truth.categories, pair[1], predictions.place(pair[1]), truth.path)

    shared = overlaps(own, other)
    for held, (side, image), zero in zip(shared.areas(), sides, (False, True), strict=True):
        _require_agreement(held, image.segments, (str(side.png(image)), side.place(image)), zero)
    return image_matches(shared, pair[0].segments, pair[1].segments)


def _size(ids: np.ndarray) -> str:
    return f"{ids.shape[1]}x{ids.shape[0]}"


def _watched(found: Iterable[Matches], progress: Progress | None) -> Iterator[Matches]:
    for done, one in enumerate(found, start=1):
        if progress is not None:
            progress(done)
        yield one


def _added(found: Iterator[Matches], images: int, categories: Sequence[int]) -> np.ndarray:
    """Add the matches of images up, in as many shares as panopticapi makes of them."""
    place = {number: row for row, number in enumerate(categories)}
    shares = os.cpu_count() or 1
    total = np.zeros((len(categories), 4))
    for share in range(shares):
        counts = np.zeros((len(categories), 4))
        for _ in range(images // shares + (share < images % shares)):
            add_matches(counts, next(found), place)
        total += counts
    return total
