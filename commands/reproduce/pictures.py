"""Pictures of a training run: the loss over the iterations, and predictions beside the truth."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.sets.cityscapes_labels import VOID
from common.files import write_picture
from common.words.drawn import drawn, lettering

GREYS = (204, 255, 128)  # of void, where a class has its colour
FEW = 60  # losses that are shown as points too


@lettering()
def loss_curve(
    rows: Sequence[dict[str, Any]], path: Path, reference: Sequence[dict[str, Any]] = ()
) -> None:
    """Write a PNG of the loss and of validation mIoU over the iterations.

    `rows` are those of a run's `log.jsonl`: with `loss`, or with `mean_iou`; `reference` are those
    of the same training in torch, which is drawn dashed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    both = [(rows, "Paddle", "-"), *([(reference, "PyTorch", "--")] if reference else [])]
    losses = {name: _points(log, "loss") for log, name, _ in both}
    values = {name: _points(log, "mean_iou") for log, name, _ in both}
    for _, name, line in both:
        if points := losses[name]:
            style = f".{line}" if len(points) < FEW else line
            axes.plot(*np.array(points).T, style, color="#2a6f97", label=name)
    axes.set_xlabel(drawn("iteration"))
    axes.set_ylabel(drawn("loss"))
    axes.set_ylim(0, highest(loss for points in losses.values() for _, loss in points))
    if reference:
        axes.legend(loc="lower left")
    if any(values.values()):
        right = axes.twinx()
        for _, name, line in both:
            right.plot(*np.array(values[name]).reshape(-1, 2).T, f"o{line}", color="#c1121f")
        right.set_ylabel("mIoU", color="#c1121f")
        right.set_ylim(0, 1)
    write_picture(figure, path)


def _points(rows: Sequence[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Return (iteration, value) of the rows of a log that have a value of `name`."""
    return [(row["iteration"], row[name]) for row in rows if row.get(name) is not None]


@lettering()
def prediction_sheet(
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    colors: np.ndarray,
    path: Path,
) -> None:
    """Write a PNG with a row for each frame: image, truth, prediction.

    Args:
        images: [N, H, W, 3], RGB, 0..1.
        labels: int64 [N, H, W], train ids; void has its colour, also in the prediction.
        predictions: int64 [N, H, W], classes.
        colors: uint8 [256, 3] RGB, by class.
    """
    colors = with_void(colors, np.unique([*np.unique(labels), *np.unique(predictions)]))
    guesses = np.where(labels == VOID, VOID, predictions)
    _write_sheet(images, list(colors[labels]), list(colors[guesses]), path)


def _write_sheet(
    images: np.ndarray, truths: Sequence[np.ndarray], guesses: Sequence[np.ndarray], path: Path
) -> None:
    """Write a PNG with a row for each frame: image, picture of the truth and of the prediction."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.9 * len(images)), dpi=110, layout="constrained")
    grid = figure.subplots(len(images), 3, squeeze=False)
    for row, *pictures in zip(grid, images, truths, guesses, strict=True):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set_axis_off()
    titles = drawn("image"), drawn("truth"), drawn("prediction")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    write_picture(figure, path)


def highest(losses: Iterable[float]) -> float | None:
    """Return where the axis of the losses ends: over all of them; None: nothing to show."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    return 1.05 * max(finite) if finite and max(finite) > 0 else None


def with_void(colors: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return colours in which void has none of a class of `shown`: a grey where it had one."""
    classes = {tuple(colors[index]) for index in shown.tolist() if index != VOID}
    if tuple(colors[VOID]) not in classes:
        return colors
    free = next((v for v in GREYS if (v, v, v) not in classes), GREYS[0])
    changed = colors.copy()
    changed[VOID] = free
    return changed


def _draw_classes(
    images: np.ndarray, labels: Any, guesses: np.ndarray, path: Path, settings: Any, data: Any
) -> None:
    prediction_sheet(images, labels, guesses, data.colors, path)


@lettering()
def _draw_painted(
    images: np.ndarray, target: Any, guesses: np.ndarray, path: Path, settings: Any, data: Any
) -> None:
    from common.evaluation.tasks import paint_of

    _write_sheet(images, *paint_of(settings, data.colors)(target, guesses), path)


# Who draws what nets of a task predict: (images, targets, predictions, path, settings, data sets).
PAINTERS: dict[str, Callable[..., None]] = {
    "semantic": _draw_classes,
    "panoptic": _draw_painted,
    "instances": _draw_painted,
    "volumetric": _draw_painted,
}
