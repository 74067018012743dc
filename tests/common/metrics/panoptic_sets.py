"""Small sets of panopticapi's files."""

import json

import numpy as np

from common.panoptic.ids import save_ids
from tests.common.panoptic.scenes import blocks

CATEGORIES = (7, 8, 11, 20, 21, 24, 26)  # numbers of a data set, not train ids
THINGS = (24, 26)


def write_set(path, images, categories=None):
    """Write {image_id: (ids, rows)} as `path` and its folder; of a truth with its categories."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    rows = []
    for number, (ids, segments) in images.items():
        save_ids(ids, folder / f"{number}.png")
        rows.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    data = {"annotations": rows}
    if categories is not None:
        data["categories"] = [
            {"id": c, "name": f"class {c}", "isthing": int(c in THINGS)} for c in categories
        ]
    path.write_text(json.dumps(data))
    return path


def there(ids, rows):
    """Return the rows that have pixels, with their areas and numbers of `CATEGORIES`."""
    areas = [(row, int((ids == row["id"]).sum())) for row in rows]
    category = [CATEGORIES[row["category_id"] % len(CATEGORIES)] for row in rows]
    return [
        {**row, "area": area, "category_id": number}
        for (row, area), number in zip(areas, category, strict=True)
        if area
    ]


def drawn_pair(seed):
    """Return truth and prediction of an image: (ids, rows) each; the prediction is moved about."""
    rng = np.random.default_rng(seed)
    ids, rows = blocks(seed)
    rows = there(ids, rows)
    moved = np.roll(ids, rng.integers(0, 2, 2), (0, 1))
    moved[: int(rng.integers(1, 9))] = rows[0]["id"]
    guessed = [
        {"id": row["id"], "category_id": row["category_id"]}
        for row in rows
        if (moved == row["id"]).any()
    ]
    guessed[-1]["category_id"] = CATEGORIES[seed % len(CATEGORIES)]
    return (ids, rows), (moved, guessed)


def drawn_set(folder, count=5):
    """Write a truth and predictions of `count` drawn images; return the two JSON files."""
    pairs = [drawn_pair(seed) for seed in range(count)]
    truth = write_set(folder / "gt.json", {f"i{k}": p[0] for k, p in enumerate(pairs)}, CATEGORIES)
    order = reversed(list(enumerate(pairs)))
    return truth, write_set(folder / "pred.json", {f"i{k}": p[1] for k, p in order})
