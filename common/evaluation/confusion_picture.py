"""A confusion matrix as a picture that can be read with 2 classes and with 150."""

from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_picture
from common.words.drawn import drawn, lettering, written

NUMBERED = 30  # classes up to which a cell has room for its number
LIGHT = 0.3  # a share above which a cell is dark


@lettering()
def confusion_picture(counts: np.ndarray, class_names: tuple[str, ...], path: Path) -> None:
    """Write a PNG of `counts`, integers [C, C], row = label, column = prediction.

    Rows are shares of the label's pixels; a class without any has an empty row.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    classes = len(class_names)
    pixels = counts.sum(1, keepdims=True)
    shares = np.divide(counts, pixels, out=np.full(counts.shape, np.nan), where=pixels > 0)
    # An inch for a few letters of a name; of many classes the picture grows instead of the names.
    side = max(5.0, 0.42 * classes if classes <= NUMBERED else 0.165 * classes)
    figure = Figure(figsize=(side + 2.6, side + 1.8), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    # By the square root, so that confusions of a few percent are seen.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(100 * shares, cmap="Blues", norm=norm, interpolation="nearest")
    size = 9 if classes <= NUMBERED else 7
    places = range(classes)
    names, fonts = written(class_names)
    axes.set_xticks(places, names, rotation=90, fontsize=size, fontfamily=fonts)
    axes.set_yticks(places, names, fontsize=size, fontfamily=fonts)
    axes.set_xlabel(drawn("predicted"), fontsize=size + 2)
    axes.set_ylabel(drawn("label"), fontsize=size + 2)
    share = drawn("percent of a label's pixels (a row that is white has none)")
    axes.set_title(share, fontsize=size + 2)
    if classes <= NUMBERED:
        _write_numbers(axes, shares)
    else:
        axes.tick_params(right=True, top=True, labelright=True, labeltop=True)
        axes.tick_params(axis="x", labelrotation=90)
        axes.set_xticks(np.arange(-0.5, classes, 10), minor=True)
        axes.set_yticks(np.arange(-0.5, classes, 10), minor=True)
        axes.grid(which="minor", color="#bbbbbb", linewidth=0.6)
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    write_picture(figure, path)


def _write_numbers(axes: Any, shares: np.ndarray) -> None:
    """Write every share of at least half a percent, in percent, into its cell."""
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            color = "white" if share > LIGHT else "#1a1a1a"
            text = f"{100 * share:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7)
