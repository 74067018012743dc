"""Small scenes of segments: a map of ids, and the list that belongs to it."""

import numpy as np

ROAD, CAR, SMALL, CROWD = 7, 26000, 26001, 24
THINGS = tuple(range(11, 19))  # of Cityscapes, train ids


def segment(number, category, crowd=0, area=0):
    return {"id": number, "category_id": category, "iscrowd": crowd, "area": area}


def street():
    """Return ids uint32 [6, 8] and segments: road, a car, a small one, a crowd of persons; void."""
    ids = np.full((6, 8), ROAD, np.uint32)
    ids[0] = 0
    ids[1:4, 1:5] = CAR
    ids[2, 6:8] = SMALL
    ids[4:, 5:] = CROWD
    rows = [(CROWD, 11, 1), (ROAD, 0, 0), (CAR, 13, 0), (SMALL, 13, 0)]
    return ids, [segment(*row, int((ids == row[0]).sum())) for row in rows]


def blocks(seed, size_hw=(33, 41), count=9, most=1 << 24):
    """Return a map of overlapping rectangles, and segments of drawn classes 0..18, some crowds."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(size_hw, np.uint32)
    names = rng.choice(np.arange(1, most), count, replace=False).tolist()
    for name in names:
        (y, x), (h, w) = rng.integers(0, size_hw), rng.integers(2, np.array(size_hw) // 2)
        ids[y : y + h, x : x + w] = name
    rows = [
        segment(name, int(rng.integers(0, 19)), int(rng.random() < 0.3), int((ids == name).sum()))
        for name in names
    ]
    return ids, rows
