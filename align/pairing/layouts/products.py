"""Which product with a matrix a layer computes."""

import numpy as np

IN_OUT, OUT_IN = "[in, out]", "[out, in]"


def layout_of(moved: np.ndarray, x: np.ndarray, weight: np.ndarray) -> str | None:
    """Return which product `moved` is a multiple of, None for neither."""
    for words, product in ((IN_OUT, x @ weight), (OUT_IN, x @ weight.T)):
        if moved.shape != product.shape or not np.isfinite(moved).all() or not moved.any():
            continue
        scale = float((moved * product).sum() / (product * product).sum())
        if np.abs(moved - scale * product).max() < 1e-4 * np.abs(moved).max():
            return words
    return None
