"""Draws 24 photos of five classes in PaddleSeg's layout, so that the example has something to read.

python examples/own_photos/make_photos.py data/own_photos
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("background", "disc", "square", "triangle", "bar")
COLORS = ((70, 70, 70), (220, 60, 60), (60, 160, 60), (60, 90, 220), (230, 200, 60))


def draw(rng, width, height):
    """Return a photo and its label, as images of mode RGB and P."""
    photo, label = Image.new("RGB", (width, height), COLORS[0]), Image.new("L", (width, height))
    for _ in range(6):
        kind, size = int(rng.integers(1, 5)), int(rng.integers(18, 40))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        shapes = {
            1: ("ellipse", (x - size // 2, y - size // 2, x + size // 2, y + size // 2)),
            2: ("rectangle", (x - size // 2, y - size // 2, x + size // 2, y + size // 2)),
            3: ("polygon", (x, y - size // 2, x - size // 2, y + size // 2, x + size // 2, y + 9)),
            4: ("rectangle", (x - 4, y - size, x + 4, y + size)),
        }
        name, box = shapes[kind]
        shade = tuple(int(value * rng.uniform(0.7, 1.1)) for value in COLORS[kind])
        getattr(ImageDraw.Draw(photo), name)(box, fill=shade)
        getattr(ImageDraw.Draw(label), name)(box, fill=kind)
    noisy = np.asarray(photo, float) + rng.normal(0, 12, (height, width, 3))
    label.putpalette([value for color in COLORS for value in color])
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), label


def main(root):
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    lines = []
    for index in range(24):
        photo, label = draw(rng, int(rng.integers(90, 200)), int(rng.integers(80, 150)))
        photo.save(root / f"images/{index:04d}.jpg", quality=92)
        label.save(root / f"annotations/{index:04d}.png")
        lines.append(f"images/{index:04d}.jpg annotations/{index:04d}.png\n")
    (root / "train.txt").write_text("".join(lines[:18]))
    (root / "val.txt").write_text("".join(lines[18:]))
    (root / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
