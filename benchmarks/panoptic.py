"""Time an image of panoptic quality and of grouping, on one core, and how it grows.

Drawn scenes of blobs: of COCO's and Cityscapes' size, with few segments and with many. Beside each
a plain loop over the segments, which compares masks of the whole image; the two take turns in one
run, in processor time, and the median counts.

    python benchmarks/panoptic.py            # half a minute
    python benchmarks/panoptic.py --repeat 9 --json
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# ruff: noqa: E402 - the checkout is on the path only now
import cv2
import numpy as np

from common.metrics.panoptic import image_matches
from common.panoptic.grouping import panoptic_deeplab_panoptic
from common.panoptic.overlaps import overlaps

SIZES = {"480x640": (480, 640), "1024x2048": (1024, 2048)}
COUNTS = (20, 80)  # segments of a scene, half of them things
CLASSES, DIVISOR = 19, 1000
# The plain way's time in ours, with many segments; ours with many segments in ours with few.
LEAST, MOST = 2.0, 4.0


class Scene(NamedTuple):
    """A truth, a prediction, and the maps of a net that lead to it."""

    truth: np.ndarray
    guess: np.ndarray
    rows: list[dict[str, int]]
    maps: tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> int:
    """Print milliseconds and ratios; exit 1 where a ratio is not what is asked for."""
    args = _parse()
    cv2.setNumThreads(1)
    times: dict[str, dict[str, float]] = {}
    for size, size_hw in SIZES.items():
        for count in COUNTS:
            times[f"{size}, {count} segments"] = measured(scene(size_hw, count), args.repeat)
    ratios = {what: _ratios(times, what) for what in ("quality", "grouping")}
    good = all(row["plain"] >= LEAST and row["segments"] <= MOST for row in ratios.values())
    result = {"ms": times, "ratios": ratios, "good": good}
    print(json.dumps(result, indent=2) if args.json else _told(result))
    return 0 if good else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="of each way")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def scene(size_hw: tuple[int, int], count: int) -> Scene:
    """Draw blobs of `count` segments; classes 11 and above are things."""
    rng = np.random.default_rng(count)
    truth = np.full(size_hw, DIVISOR, np.uint32)
    center = np.zeros((1, *size_hw), np.float32)
    offset = np.zeros((2, *size_hw), np.float32)
    y, x = np.indices(size_hw, np.float32)
    for number in range(1, count):
        kind = int(rng.integers(11, CLASSES) if number % 2 else rng.integers(0, 11))
        middle = rng.integers(0, size_hw)
        radius = rng.integers(8, size_hw[0] // 6, 2)
        blob = ((y - middle[0]) / radius[0]) ** 2 + ((x - middle[1]) / radius[1]) ** 2 < 1
        truth[blob] = (kind + 1) * DIVISOR + (number if kind > 10 else 0)
        if kind > 10:
            center[0, middle[0], middle[1]] = 0.5 + number / (2 * count)
            offset[:, blob] = (middle[0] - y)[blob], (middle[1] - x)[blob]
    offset += rng.normal(0, 2, offset.shape).astype(np.float32)
    guess = np.roll(truth, (2, 3), (0, 1))
    ids, areas = np.unique(truth, return_counts=True)
    rows = [
        {"id": number, "category_id": number // DIVISOR - 1, "iscrowd": 0, "area": area}
        for number, area in zip(ids.tolist(), areas.tolist(), strict=True)
    ]
    return Scene(truth, guess, rows, (truth // DIVISOR - 1, center, offset))


def measured(drawn: Scene, repeat: int) -> dict[str, float]:
    """Return milliseconds of processor time an image, by way."""
    ways: dict[str, Callable[[Scene], Any]] = {
        "quality": quality,
        "quality, plain": plain_quality,
        "grouping": grouping,
        "grouping, plain": plain_grouping,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, repeat):  # the first of each warms up
        for name, way in ways.items():
            begin = time.process_time()
            way(drawn)
            if turn >= 0:
                found[name].append(1e3 * (time.process_time() - begin))
    return {name: median(row) for name, row in found.items()}


def quality(drawn: Scene) -> float:
    """Return the sum of the IoUs of the matches."""
    shared = overlaps(drawn.truth, drawn.guess)
    held = shared.areas()[1]
    guessed = [{"id": number, "category_id": number // DIVISOR - 1} for number in held]
    return sum(iou for _, iou in image_matches(shared, drawn.rows, guessed).hits)


def plain_quality(drawn: Scene) -> float:
    """Return the same by masks of the whole image."""
    total = 0.0
    guesses = {number: drawn.guess == number for number in np.unique(drawn.guess).tolist()}
    for row in drawn.rows:
        own = drawn.truth == row["id"]
        for number, other in guesses.items():
            if number // DIVISOR - 1 == row["category_id"]:
                iou = np.count_nonzero(own & other) / np.count_nonzero(own | other)
                total += iou if iou > 0.5 else 0.0
    return total


def grouping(drawn: Scene) -> np.ndarray:
    """Return the panoptic map."""
    semantic, center, offset = drawn.maps
    return panoptic_deeplab_panoptic(semantic, center, offset, things=range(11, CLASSES))[0]


def plain_grouping(drawn: Scene) -> np.ndarray:
    """Return it with the distances of all pixels, and a mask of the whole image a centre."""
    semantic, center, offset = drawn.maps
    y, x = np.indices(semantic.shape, np.float32) + offset
    nearest, least = np.zeros(semantic.shape, int), np.full(semantic.shape, np.inf, np.float32)
    centres = np.argwhere(center[0] > 0.1)
    for number, (center_y, center_x) in enumerate(centres):
        distance = np.sqrt((center_y - y) ** 2 + (center_x - x) ** 2)
        nearest = np.where(distance < least, number, nearest)
        least = np.minimum(distance, least)
    panoptic = np.full(semantic.shape, -1)
    for number in range(len(centres)):
        mask = (nearest == number) & (semantic >= 11)
        if mask.any():
            panoptic[mask] = np.bincount(semantic[mask]).argmax() * DIVISOR + number
    for kind in range(11):
        panoptic[semantic == kind] = kind * DIVISOR
    return panoptic


def _ratios(times: dict[str, dict[str, float]], what: str) -> dict[str, float]:
    """Return how ours grows, and what the plain way takes of it, at the larger size."""
    small, large = SIZES
    few, many = (f"{large}, {count} segments" for count in COUNTS)
    here = times[many]
    return {
        "plain": here[f"{what}, plain"] / here[what],
        "segments": here[what] / times[few][what],
        "pixels": here[what] / times[f"{small}, {COUNTS[1]} segments"][what],
    }


def _told(result: dict[str, Any]) -> str:
    lines = []
    for name, row in result["ms"].items():
        told = ", ".join(f"{way} {value:.1f} ms" for way, value in row.items())
        lines.append(f"{name:26} {told}")
    pixels = np.prod(SIZES["1024x2048"]) / np.prod(SIZES["480x640"])
    for what, row in result["ratios"].items():
        lines.append(
            f"{what}: the plain way takes {row['plain']:.1f} x its time (at least {LEAST:g}); "
            f"{COUNTS[1] // COUNTS[0]} x the segments {row['segments']:.1f} x (at most {MOST:g}), "
            f"{pixels:.1f} x the pixels {row['pixels']:.1f} x"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
