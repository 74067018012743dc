"""Pictures of a data set: pixels and images by class, and augmented samples under their labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.classes import Classes
from common.data.survey import Survey
from common.data.transforms.images import VOID
from common.files import write_picture
from common.words.drawn import drawn, lettering, written
from common.words.language import comma

ROW = 0.24  # inches of a class
MIXED = 0.6  # of the label's colour in an overlay
MOST_NAMES = 24  # classes of a legend
OUTLINE = 1.0  # white, of segments
PAPER = "#e8e8e8"  # behind colours: classes are white too


@lettering()
def draw_classes(survey: Survey, path: Path) -> None:
    """Write a PNG with a bar a class: its share of the pixels, and the images that show it.

    Bars of the splits stand one over the other, the first in full colour; the axis of the pixels is
    logarithmic.
    """
    from matplotlib.figure import Figure

    classes = survey.classes
    count, splits = len(classes), [name for name in survey.frames if survey.pixels(name).any()]
    figure = Figure(figsize=(11, 1.4 + ROW * count), dpi=100, layout="constrained")
    shares, images = figure.subplots(1, 2, sharey=True)
    least = 1.0  # % at which the axis begins, or a power of ten below
    place, height = np.arange(count), 0.8 / max(len(splits), 1)
    for number, split in enumerate(splits):
        pixels, at = survey.pixels(split), place - 0.4 + height * (number + 0.5)
        style: dict[str, Any] = {
            "color": classes.colors[:count] / 255,
            "edgecolor": "#444444",
            "linewidth": 0.6,
            "alpha": 1 / (1 + number),
        }
        share = 100 * pixels[:-1] / max(int(pixels.sum()), 1)
        least = min([least, *share[share > 0].tolist()])
        shares.barh(at, np.where(share > 0, share, np.nan), height, **style)
        images.barh(at, survey.images(split), height, **style)
    shares.set_xscale("log")
    shares.set_xlim(10 ** math.floor(math.log10(least)), 100)
    shares.xaxis.set_major_formatter("{x:g}")
    shares.set_xlabel(drawn("% of the pixels"))
    images.set_xlabel(drawn("images that show it"))
    images.xaxis.get_major_locator().set_params(integer=True)
    names, fonts = written(classes.names)
    shares.set_yticks(place, names, fontsize=8, fontfamily=fonts)
    shares.set_ylim(count - 0.5, -0.5)
    for axes in (shares, images):
        axes.set_facecolor(PAPER)
    if len(splits) > 1:
        colours = {"first": splits[0], "others": comma().join(splits[1:])}
        figure.suptitle(drawn("full colour: {first}; pale: {others}", **colours), fontsize=9)
    write_picture(figure, path)


class Shown(NamedTuple):
    """A training sample to look at.

    picture: [H, W, 3], 0..1. label: whole numbers [H, W], void 255. outlines: bool [H, W], where
    segments end; None: there are none.
    """

    picture: np.ndarray
    label: np.ndarray
    outlines: np.ndarray | None = None


Drawn = tuple[str, str, Callable[[], Shown]]  # name, file, what draws it


@lettering()
def draw_samples(
    samples: Mapping[str, Shown],
    classes: Classes,
    path: Path,
) -> None:
    """Write a PNG of training samples as a net gets them, each beside its label laid on it.

    samples: by the frame's name. What does not count is light grey, segments are outlined.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = -(-len(samples) // 2)
    figure = Figure(figsize=(12, 0.8 + 2.1 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False).reshape(-1, 2)
    for axes in grid.ravel():
        axes.set_axis_off()
    laid = []
    for (name, sample), (left, right) in zip(samples.items(), grid, strict=False):
        left.imshow(sample.picture)
        laid.append((overlay(*sample[:2], classes.colors, sample.outlines), sample.label))
        right.imshow(laid[-1][0])
        left.set_title(name[-40:], fontsize=7)
    names, fonts = written(classes.names)
    patches = [
        Patch(facecolor=tuple(color), edgecolor="#444444", label=names[k])
        for k, color in list(colors_seen(laid).items())[:MOST_NAMES]
    ]
    style = {"family": fonts, "size": 7}
    figure.legend(handles=patches, loc="outside lower center", ncols=8, prop=style)
    write_picture(figure, path)


def overlay(
    picture: np.ndarray,
    label: np.ndarray,
    colors: np.ndarray,
    outlines: np.ndarray | None = None,
) -> np.ndarray:
    """Return a picture [H, W, 3], 0..1, with the colours of its label [H, W] laid on it.

    outlines: bool [H, W], drawn over it in white.
    """
    laid = colors[label] / 255
    laid[label == VOID] = 0.8
    mixed: np.ndarray = (1 - MIXED) * picture + MIXED * laid
    if outlines is not None:
        mixed[outlines] = OUTLINE
    return mixed


def colors_seen(laid: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[int, np.ndarray]:
    """Return the mean colour (RGB, 0..1) of each class that counts, as its pixels show it.

    laid: (overlay [H, W, 3], 0..1; label int64 [H, W]). A legend in the classes' own colours would
    show none that the pictures have.
    """
    count, sums = np.zeros(VOID + 1), np.zeros((VOID + 1, 3))
    for picture, label in laid:
        classes, pixels = label.reshape(-1), picture.reshape(-1, 3)
        count += np.bincount(classes, minlength=VOID + 1)
        for channel in range(3):
            sums[:, channel] += np.bincount(classes, pixels[:, channel], VOID + 1)
    return {int(k): sums[k] / count[k] for k in np.flatnonzero(count) if k != VOID}
