"""The flow of `panoptic_quality`: a truth and predictions in panopticapi's files, scores out."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from commands import numbers
from commands.entry import COULD_NOT_CHECK, parser, print_json
from commands.evaluate.scores import enough, number
from common.documents import with_null
from common.metrics.panoptic import panoptic_counts
from common.metrics.quality import QUALITIES, TP, quality_by_class, quality_of_groups
from common.panoptic.files import PanopticFile, read_predictions, read_truth
from common.streams import say
from common.terminal import counting, labelled, screen, verdict
from common.words.language import phrase

EXAMPLE = """python tools/panoptic_quality.py panoptic_val2017.json predictions.json
  python tools/panoptic_quality.py gt.json pred.json --pred-folder out/pngs --at-least 0.35"""
FEW = 200  # images that this process reads alone as fast
MOST_WORKERS = 8
GROUPS = {"All": "all classes", "Things": "things", "Stuff": "stuff"}
COUNTS = ("tp", "fn", "fp")  # in the order of the columns


def parse(description: str) -> argparse.Namespace:
    """Read the command line."""
    command = parser(
        f"{description} The numbers are panopticapi's. Ids that are in a PNG and not in its JSON, "
        "or the reverse, are an error, as are other sizes and unknown categories.",
        EXAMPLE,
    )
    command.add_argument("truth", type=Path, metavar="GT_JSON", help="of the data set")
    command.add_argument("predictions", type=Path, metavar="PRED_JSON", help="what is scored")
    for side, name in (("gt", "GT_JSON"), ("pred", "PRED_JSON")):
        command.add_argument(
            f"--{side}-folder",
            type=Path,
            metavar="DIR",
            help=f"its PNGs (default: {name} without its suffix)",
        )
    command.add_argument(
        "--workers",
        type=numbers.not_negative,
        metavar="N",
        help="processes that read; 0: this one (default: by the number of images)",
    )
    command.add_argument(
        "--at-least", type=numbers.score, metavar="X", help="exit with 1 where PQ (0..1) is below X"
    )
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command.parse_args()


def score(options: argparse.Namespace) -> int:
    """Score the files of the options, print what came out, and return the exit code."""
    truth = read_truth(options.truth, options.gt_folder)
    predictions = read_predictions(options.predictions, options.pred_folder)
    images = len(truth.images)
    workers = options.workers
    if workers is None:
        workers = min(os.cpu_count() or 1, MOST_WORKERS) if images > FEW else 0
    with counting("images", images, options.quiet or options.json) as count:
        counts = panoptic_counts(truth, predictions, workers=workers, progress=count)
    things = [category.is_thing for category in truth.categories.values()]
    groups = quality_of_groups(counts, things)
    code, words = _judged(groups["All"]["pq"], images, options.at_least)
    if options.json:
        print_json(
            {
                "truth": str(truth.path),
                "predictions": str(predictions.path),
                "images": images,
                "not_in_truth": len(predictions.images.keys() - truth.images.keys()),
                **{name: with_null(means) for name, means in groups.items()},
                "per_class": _by_class(truth, counts),
                "exit_code": code,
                "verdict": words,
            }
        )
        return code
    console = screen()
    if not options.quiet:
        sides = (("truth", truth), ("predictions", predictions))
        rows = [(phrase(name), f"{side.path}, {side.folder}") for name, side in sides]
        for line in labelled(rows):
            say(line)
        console.print(_table(truth, counts, groups))
    verdict(console, code, words)
    return code


def _judged(quality: float, images: int, least: float | None) -> tuple[int, str]:
    """Return the exit code and the last line."""
    if math.isnan(quality):
        return COULD_NOT_CHECK, phrase(
            "could not check: {count} images have no segment that counts", count=images
        )
    words = phrase("{count} images: PQ {pq}", count=images, pq=f"{quality:.4f}")
    return enough(quality, least, words)


def _by_class(truth: PanopticFile, counts: np.ndarray) -> dict[str, Any]:
    """Return what came of every category by its number; scores None of one without segments."""
    found = {}
    quality = quality_by_class(counts, list(truth.categories))
    for (category_id, category), row in zip(truth.categories.items(), counts.tolist(), strict=True):
        own = quality[category_id] if any(row[TP:]) else dict.fromkeys(QUALITIES)
        about = {"name": category.name, "isthing": category.is_thing, "iou": row[0]}
        segments = {name: int(value) for name, value in zip(COUNTS, row[TP:], strict=True)}
        found[str(category_id)] = {**about, **own, **segments}
    return found


def _table(truth: PanopticFile, counts: np.ndarray, groups: dict[str, Any]) -> Any:
    """Return the table for people."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(phrase("class"))
    for head in (*QUALITIES, *COUNTS):
        table.add_column(head.upper(), justify="right")
    for row in _by_class(truth, counts).values():
        cells = [str(row[name]) for name in COUNTS]
        table.add_row(row["name"], *(number(row[name]) for name in QUALITIES), *cells)
    for group, words in GROUPS.items():
        means = groups[group]
        name = f"{phrase(words)} ({means['n']})"
        table.add_row(name, *(number(with_null(means)[score]) for score in QUALITIES))
    return table
