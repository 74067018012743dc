"""Panoptic quality of video: segments that go on over frames, and whose depth is right.

Sources: joe-siyuan-qiao/ViP-DeepLab, cityscapes-dvps/eval_dvpq.py (at f1c0c43); the measure is of
Kim, Woo, Lee, Kweon, "Video Panoptic Segmentation", CVPR 2020.
"""

from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError, DataError
from common.metrics.matching import Known, match
from common.metrics.quality import QUALITIES, Quality, add_matches, quality_of_groups
from common.panoptic.overlaps import overlaps

DIVISOR = 1000  # of ids: class * 1000 + instance
IGNORED = 32  # the truth's class of pixels that do not count
CLASSES = 20  # Cityscapes' 19, and one of predictions that do not count


def vpq_counts(
    gt: np.ndarray | Sequence[np.ndarray],
    pred: np.ndarray | Sequence[np.ndarray],
    k: int,
    *,
    label_divisor: int = DIVISOR,
    ignored: int = IGNORED,
    num_classes: int = CLASSES,
) -> np.ndarray:
    """Return the counts of a clip, summed over its windows of `k` frames: float64 [classes, 4].

    Equal ids of frames that follow one another are one segment. The counts of clips add up.

    Args:
        gt, pred: whole numbers [frames, H, W], class * label_divisor + instance; of the truth the
            class `ignored` does not count: its instance 0 is in no union, and a predicted segment
            of which more than half lies in that class is no false one.
        k: frames of a window.
        label_divisor, ignored, num_classes: of the ids. The last class is that of pixels which
            depth has ruled out; see `dvpq_counts`.

    Returns:
        IoU sum, TP, FN, FP by class: see `common.metrics.quality`.

    Raises:
        DataError: frames differ in number or size, `k` is none of their number, or a class is not
            among 0..num_classes - 1 (in the truth: or `ignored`).
    """
    truth, guess = (np.asarray(frames) for frames in (gt, pred))
    _require_frames(truth, guess, k)
    _require_classes("truth", truth, label_divisor, {*range(num_classes), ignored})
    _require_classes("prediction", guess, label_divisor, set(range(num_classes)))
    counts = [
        _of_tube(truth[i : i + k], guess[i : i + k], label_divisor, ignored, num_classes)
        for i in range(len(truth) - k + 1)
    ]
    summed: np.ndarray = np.stack(counts).sum(0)
    return summed


def dvpq_counts(
    gt: np.ndarray | Sequence[np.ndarray],
    pred: np.ndarray | Sequence[np.ndarray],
    depth_gt: np.ndarray | Sequence[np.ndarray],
    depth_pred: np.ndarray | Sequence[np.ndarray],
    k: int,
    threshold: float,
    *,
    label_divisor: int = DIVISOR,
    ignored: int = IGNORED,
    num_classes: int = CLASSES,
) -> np.ndarray:
    """Return `vpq_counts`, where pixels of wrong depth count as predicted void.

    A pixel whose depth is known and off by more than `threshold`, relative to the truth, gets the
    last class. Depths are compared in float64: the script's difference of two PNGs of 16 bits wraps
    around in today's Pillow, where it should be negative.

    Args:
        gt, pred, k, label_divisor, ignored, num_classes: as of `vpq_counts`.
        depth_gt, depth_pred: numbers [frames, H, W] of one unit, 0 where the truth is not known.
        threshold: 0.1, 0.25 and 0.5 are the paper's; 0 leaves depth out.

    Raises:
        DataError as `vpq_counts`, and where depths do not fit or are not finite. ConfigError: a
            negative `threshold`.
    """
    options = {"label_divisor": label_divisor, "ignored": ignored, "num_classes": num_classes}
    if threshold < 0:
        raise ConfigError(f"threshold of depth: expected 0 or more, got {threshold}")
    guess = np.array(pred)
    if threshold:
        error = relative_depth_error(depth_gt, depth_pred)
        if error.shape != guess.shape:
            raise DataError(
                f"metric: depth has shape {list(error.shape)}, and the prediction "
                f"{list(guess.shape)}; both must be [frames, H, W]"
            )
        guess[error > threshold] = (num_classes - 1) * label_divisor
    return vpq_counts(gt, guess, k, **options)


def relative_depth_error(
    depth_gt: np.ndarray | Sequence[np.ndarray], depth_pred: np.ndarray | Sequence[np.ndarray]
) -> np.ndarray:
    """Return |predicted - true| / true, float64, NaN where the truth is not known (0).

    Its `nanmean` is the absolute relative error. Raises DataError where shapes differ, a true depth
    is negative or not finite, or a predicted one is not finite where the truth is known.
    """
    truth, guess = (np.asarray(depth, np.float64) for depth in (depth_gt, depth_pred))
    if truth.shape != guess.shape:
        raise DataError(
            f"metric: predicted depth has shape {list(guess.shape)}, true depth "
            f"{list(truth.shape)}; they must be equal"
        )
    known = truth != 0
    if (
        not np.isfinite(truth).all()
        or truth.min(initial=0) < 0
        or not np.isfinite(guess[known]).all()
    ):
        raise DataError(
            "could not check: a true depth is negative, or one of either side NaN or infinite; "
            "give depths of 0 or more, 0 where the truth is not known"
        )
    error: np.ndarray = np.full(truth.shape, np.nan)
    error[known] = np.abs(guess[known] - truth[known]) / truth[known]
    return error


def video_quality(
    counts: np.ndarray, things: Sequence[int], *, num_classes: int = CLASSES - 1
) -> dict[str, Quality]:
    """Return means over all classes, things and stuff: {"All": {"pq", "sq", "rq", "n"}, ...}.

    A class of which there is no segment is in no mean, as in panopticapi; one without a match is
    0 there, and NaN in ViP-DeepLab's script for Cityscapes (0 / 0), which makes all of it NaN.

    Args:
        counts: [classes, 4], summed over clips; what lies beyond `num_classes` is left out.
        things: the classes that are things.
    """
    flags = [number in set(things) for number in range(num_classes)]
    return quality_of_groups(counts[:num_classes], flags)


def mean_video_quality(parts: Sequence[dict[str, Quality]]) -> dict[str, dict[str, float]]:
    """Return the mean PQ of several window lengths or thresholds, by group.

    VPQ is that of 1 to 4 frames (SemKITTI: 1, 5, 10, 20), DVPQ that of all pairs of a length and a
    threshold. SQ and RQ likewise.
    """
    found: dict[str, dict[str, float]] = {}
    for group in parts[0]:
        found[group] = {name: sum(p[group][name] for p in parts) / len(parts) for name in QUALITIES}
    return found


def _require_frames(truth: np.ndarray, guess: np.ndarray, k: int) -> None:
    if truth.ndim != 3 or truth.shape != guess.shape:
        raise DataError(
            f"metric: expected a clip [frames, H, W], got the truth {list(truth.shape)} and the "
            f"prediction {list(guess.shape)}; give as many frames of one size for both"
        )
    if not 1 <= k <= len(truth):
        raise DataError(
            f"metric: a window of {k} frames in a clip of {len(truth)}; expected 1 to {len(truth)}"
        )


def _require_classes(what: str, ids: np.ndarray, divisor: int, known: set[int]) -> None:
    if ids.dtype.kind not in "iu":
        raise DataError(f"metric: {what} must be integers, got {ids.dtype}")
    classes = ids // divisor
    wrong = classes[~np.isin(classes, sorted(known))]
    if wrong.size:
        raise DataError(
            f"metric: the class {wrong.min()} of the {what} is none of those that count "
            f"({_ranges(known)}); ids are class * {divisor} + instance"
        )


def _ranges(known: set[int]) -> str:
    alone = max(known)
    whole = len(known) == alone + 1
    return f"0..{alone}" if whole else f"0..{sorted(known)[-2]} and {alone}"


def _of_tube(
    truth: np.ndarray, guess: np.ndarray, divisor: int, ignored: int, classes: int
) -> np.ndarray:
    """Return the counts of one window."""
    shared = overlaps(truth, guess)
    pairs, areas = shared.by_pair(), shared.areas()
    void = [number for number in areas[0] if number // divisor == ignored]

    def excused(number: int, category: int) -> int:
        return sum(pairs.get((own, number), 0) for own in void)

    wanted = {n: Known(n // divisor, a) for n, a in areas[0].items() if n // divisor != ignored}
    guessed = {n: Known(n // divisor, a) for n, a in areas[1].items()}
    found = match(pairs, wanted, guessed, ignored * divisor, excused)
    counts = np.zeros((classes, 4))
    add_matches(counts, found)
    return counts
