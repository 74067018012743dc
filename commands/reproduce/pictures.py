"""Pictures of a training run: the loss over the iterations, and predictions beside the truth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.sets.cityscapes_labels import VOID
from common.files import write_picture


def loss_curve(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG of the loss and of validation mIoU over the iterations.

    `rows` are those of a run's `log.jsonl`: with `loss`, or with `mean_iou`.
    """
    from matplotlib.figure import Figure

    losses = [(row["iteration"], row["loss"]) for row in rows if "loss" in row]
    values = [(r["iteration"], r["mean_iou"]) for r in rows if r.get("mean_iou") is not None]
    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    if losses:
        axes.plot(*np.array(losses).T, color="#2a6f97", label="training loss")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    if values:
        right = axes.twinx()
        right.plot(*np.array(values).T, "o-", color="#c1121f", label="validation mIoU")
        right.set_ylabel("mIoU", color="#c1121f")
        right.set_ylim(0, 1)
    write_picture(figure, path)


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
        labels: int64 [N, H, W], train ids; void is black, also in the prediction.
        predictions: int64 [N, H, W], classes.
        colors: uint8 [256, 3] RGB, by class.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.9 * len(images)), dpi=110, layout="constrained")
    grid = figure.subplots(len(images), 3, squeeze=False)
    for row, image, label, prediction in zip(grid, images, labels, predictions, strict=True):
        guess = np.where(label == VOID, VOID, prediction)
        for axes, picture in zip(row, (image, colors[label], colors[guess]), strict=True):
            axes.imshow(picture)
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("image", "truth", "prediction"), strict=True):
        axes.set_title(title, fontsize=9)
    write_picture(figure, path)


# Who draws what nets of a task predict: (images, targets, predictions, colors, path).
PAINTERS: dict[str, Callable[..., None]] = {"semantic": prediction_sheet}
