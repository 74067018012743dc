"""Which boxes stay where every box that stays drives others away."""

import numpy as np


def greedy(beaten: np.ndarray) -> np.ndarray:
    """Return the places that stay, int64 [K], rising.

    beaten: bool [N, N], from the best box to the worst: whether the box of a row, if it stays,
    drives away that of a column. A box drives nothing away that stands before it.
    """
    gone, kept = np.zeros(len(beaten), dtype=bool), []
    for i, row in enumerate(beaten):
        if not gone[i]:
            kept.append(i)
            gone |= row
    return np.asarray(kept, dtype=np.int64)
