"""How far two arrays are apart."""

import numpy as np


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two arrays of one shape, where both are finite."""
    both = np.isfinite(one) & np.isfinite(other)
    if not both.any():
        return 0.0
    apart = np.abs(one[both].astype(np.float64) - other[both].astype(np.float64))
    return float(apart.max())
