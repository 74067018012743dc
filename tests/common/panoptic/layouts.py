"""Small panoptic sets on disk, as COCO and Cityscapes lay them out, written without our code."""

import json

import numpy as np
from PIL import Image

from tests.common.panoptic.scenes import segment

CITY = "toyburg"


def colors_of(ids):
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photo(seed, size_hw):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)


def write_json(path, about):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about))
    return path


def coco_scene(number):
    """Return ids [20, 30] and segments with COCO's categories: a person, a crowd, sky; void."""
    ids = np.zeros((20, 30), np.uint32)
    names = [(3 + number) << 16, 1000 + number, 4711]
    ids[:8], ids[8:16, 4:9], ids[10:18, 15:28] = names
    rows = [segment(names[1], 1), segment(names[2], 1, 1), segment(names[0], 187)]
    return ids, [row | {"area": int((ids == row["id"]).sum())} for row in rows]


CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 187, "name": "sky-other-merged", "isthing": 0, "color": [70, 130, 180]},
]


def coco(root, train=3, val=2, scene=coco_scene):
    """Write a set whose annotations stand in another order than its images."""
    for split, count, first in (("train", train, 0), ("val", val, train)):
        images, annotations = [], []
        for number in range(first, first + count):
            ids, rows = scene(number)
            name = f"{number:012d}"
            save(photo(number, ids.shape), root / f"{split}2017" / f"{name}.jpg")
            save(colors_of(ids), root / f"annotations/panoptic_{split}2017" / f"{name}.png")
            size = {"height": ids.shape[0], "width": ids.shape[1]}
            images.append({"id": number, "file_name": f"{name}.jpg", **size})
            annotation = {"image_id": number, "file_name": f"{name}.png", "segments_info": rows}
            annotations.insert(0, annotation)
        about = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        write_json(root / f"annotations/panoptic_{split}2017.json", about)
    return root


def instance_ids(seed=0):
    """Return uint16 [16, 24]: road, sky, two cars, a crowd of persons, parking and a caravan."""
    values = np.full((16, 24), 7, np.uint16)
    values[:5], values[6:9, 2:7], values[6:9, 10 + seed : 14 + seed] = 23, 26000, 26001
    values[10:14, 3:9], values[14:, :4], values[10:13, 15:20] = 24, 9, 29000
    return values


def cityscapes(root, train=2, val=1):
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            name = f"{CITY}_{number:06d}_000019"
            values = instance_ids(number)
            folder = root / "leftImg8bit" / split / CITY
            save(photo(number + len(split), values.shape), folder / f"{name}_leftImg8bit.png")
            file = root / "gtFine" / split / CITY / f"{name}_gtFine_instanceIds.png"
            save(values, file)
    return root
