"""COCO instances in the folders of the real set: three images, a crowd, what is to be dropped."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (60, 40)  # width, height
NAMES = ("cup", "plate")  # categories 5 and 3


def square(left, top, side):
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def row(number, image, category, box, segmentation=None, **more):
    left, top, width, height = box
    area = width * height
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "segmentation": [square(left, top, width)] if segmentation is None else segmentation,
        "area": area,
        "iscrowd": 0,
    } | more


def crowd_runs():
    """The first ten columns of an image, as run lengths."""
    return {"size": [SIZE[1], SIZE[0]], "counts": [0, 400, 2000]}


ANNOTATIONS = [
    row(31, 9, 3, (30, 10, 8, 8)),
    row(4, 9, 5, (5, 5, 10, 10)),
    row(5, 9, 3, (50, 30, 20, 20)),  # reaches out of the image
    row(6, 9, 5, (20, 20, 0.5, 9)),  # less than a pixel wide
    row(7, 9, 5, (61, 5, 9, 9)),  # outside
    row(8, 9, 5, (1, 1, 9, 9), area=0),
    row(9, 2, 5, (0, 0, 10, 40), crowd_runs(), iscrowd=1),
]


def content(**change):
    size = {"width": SIZE[0], "height": SIZE[1]}
    images = [{"id": key, "file_name": f"{key:012d}.jpg", **size} for key in (9, 2, 17)]
    return {
        "images": images,
        "annotations": ANNOTATIONS,
        "categories": [{"id": 5, "name": "cup"}, {"id": 3, "name": "plate"}],
        **change,
    }


def write(root: Path, split: str = "train", **change) -> Path:
    """Write the split and return its annotation file."""
    folder, path = root / f"{split}2017", root / "annotations" / f"instances_{split}2017.json"
    for place in (folder, path.parent):
        place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for key in (9, 2, 17):
        pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{key:012d}.jpg")
    path.write_text(json.dumps(content(**change)))
    return path
