"""Pictures of predictions: a palette PNG, an overlay, and photo beside prediction with a legend."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SHARE = 0.5  # of the class colour in an overlay
PANEL = 960  # pixels, the longer side of a photo in a sheet; a smaller one is enlarged up to LEAST
LEAST = 240
TEXT, LINE, GAP = 15, 24, 12  # pixels
COLUMNS = 4  # of a legend at most, however low the photo
BACKGROUND, INK, GREY = (255, 255, 255), (30, 30, 30), (150, 150, 150)
QUALITY = 92  # of JPEGs
Line = tuple[int, str]  # of a legend: the class whose colour it has, its text


def palette_png(classes: np.ndarray, colors: np.ndarray) -> Image.Image:
    """Return classes [H, W] as an image of mode P: its bytes are the classes."""
    image = Image.fromarray(classes.astype(np.uint8), mode="L")
    image.putpalette(colors.astype(np.uint8).tobytes())
    return image


def overlay(photo: np.ndarray, classes: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W, 3]: the photo, tinted by class."""
    tint = painted(classes, colors)
    mixed: np.ndarray = (photo | tint) - ((photo ^ tint) >> 1)  # the mean, rounded up, in bytes
    return mixed


def painted(classes: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return the colours of classes [H, W]: uint8 [H, W, 3] RGB."""
    indices = cv2.merge([classes.astype(np.uint8)] * 3)
    return cv2.LUT(indices, np.ascontiguousarray(colors, np.uint8)[None])


def sheet(
    photo: np.ndarray, classes: np.ndarray, colors: np.ndarray, names: Sequence[str]
) -> Image.Image:
    """Return photo, prediction and a legend of the classes that are in it, by their share."""
    return side_by_side(photo, palette_png(classes, colors), lines_of(classes, names), colors)


def side_by_side(
    photo: np.ndarray, painted: Image.Image, lines: Sequence[Line], colors: np.ndarray
) -> Image.Image:
    """Return photo [H, W, 3], its painted prediction and a legend of `lines`, side by side."""
    height, width = photo.shape[:2]
    scale = min(PANEL / max(height, width), max(1.0, LEAST / max(height, width)))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
    left = Image.fromarray(cv2.resize(photo, size, interpolation=how))
    right = painted.resize(size, Image.Resampling.NEAREST).convert("RGB")
    legend = legend_of(lines, colors, max(size[1], LEAST))
    full = (2 * size[0] + legend.width + 2 * GAP, max(size[1], legend.height))
    made = Image.new("RGB", full, BACKGROUND)
    for image, x in ((left, 0), (right, size[0] + GAP), (legend, 2 * (size[0] + GAP))):
        made.paste(image, (x, 0))
    return made


def lines_of(classes: np.ndarray, names: Sequence[str]) -> list[Line]:
    """Return a line of a legend for every class that occurs, the most frequent first."""
    shares = shares_of(classes, names)
    return [(names.index(name), f"{name}  {100 * share:.1f} %") for name, share in shares.items()]


def legend_of(lines: Sequence[Line], colors: np.ndarray, height: int) -> Image.Image:
    """Return lines, each behind the colour of its class, in columns."""
    rows = max(height // LINE, -(-len(lines) // COLUMNS))
    columns = [lines[at : at + rows] for at in range(0, len(lines), rows)]
    letters = font()
    widths = [max(int(letters.getlength(text)) for _, text in c) + LINE + 2 * GAP for c in columns]
    size = (sum(widths) or 1, min(len(lines), rows) * LINE or 1)  # of nothing: a pixel
    image = Image.new("RGB", size, BACKGROUND)
    draw, x = ImageDraw.Draw(image), 0
    for column, width in zip(columns, widths, strict=True):
        for row, (index, text) in enumerate(column):
            y = row * LINE
            box = (x, y + 3, x + LINE - 6, y + LINE - 3)
            draw.rectangle(box, fill=tuple(map(int, colors[index])), outline=GREY)
            draw.text((x + LINE, y + LINE / 2), text, fill=INK, font=letters, anchor="lm")
        x += width
    return image


def shares_of(classes: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return the share of the pixels by name of the classes that occur, the largest first."""
    counts = np.bincount(classes.ravel(), minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[i]: float(counts[i] / classes.size) for i in order if counts[i]}


@cache
def font() -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings along."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), TEXT)


def save(picture: Image.Image, path: Path, suffix: str) -> None:
    """Write a picture as the PNG or JPEG that `suffix` says, whatever the name of `path`."""
    if suffix == ".png":
        picture.save(path, format="PNG", compress_level=1)
    else:
        picture.save(path, format="JPEG", quality=QUALITY)
