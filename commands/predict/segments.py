"""A photo beside its segments, with a legend that counts them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from commands.predict import painting
from common.panoptic.pictures import Segments, outlined


def sheet(
    photo: np.ndarray, segments: Segments, colors: np.ndarray, names: Sequence[str]
) -> Image.Image:
    """Return photo, outlined segments, and a legend of classes: how many things, what share."""
    counts = {names[number]: count for number, count in segments.numbers().items()}
    lines = [
        (names.index(name), f"{name}{_times(counts.get(name))}  {100 * share:.1f} %")
        for name, share in segments.shares(names).items()
    ]
    return painting.side_by_side(photo, Image.fromarray(outlined(segments, colors)), lines, colors)


def _times(count: int | None) -> str:
    return f" x {count}" if count else ""
