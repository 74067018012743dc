"""One-to-one matching of slots with objects, for order-free losses of either framework."""

import numpy as np
from scipy.optimize import linear_sum_assignment

FREE = -1  # of a slot that no object was given to


def objects_of_slots(similarity: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return which object every slot is matched with, `FREE` where with none: int64 [N, slots].

    The sum of the similarities of an image's pairs is the largest that one-to-one pairs can have
    (Kuhn, The Hungarian method for the assignment problem, 1955).

    Args:
        similarity: of every slot and object, floating [N, slots, objects].
        sizes: how many of the objects of each image are real, whole numbers [N]; the others pad.

    What is not finite counts as 0: a training that went wrong shows it in its loss.
    """
    count, slots, _ = similarity.shape
    found = np.full((count, slots), FREE, np.int64)
    for image in range(count):
        known = similarity[image, :, : int(sizes[image])].astype(np.float64)
        known = np.where(np.isfinite(known), known, 0.0)
        rows, columns = linear_sum_assignment(known, maximize=True)
        found[image, rows] = columns
    return found


def chosen_pairs(objects: np.ndarray, count: int) -> np.ndarray:
    """Return `objects` [N, slots] of `objects_of_slots` as pairs: [N, slots, count] bool."""
    pairs: np.ndarray = objects[..., None] == np.arange(count)
    return pairs
