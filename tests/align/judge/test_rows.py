"""Which row of a list one side has and the other has not."""

import numpy as np
import pytest

from align.judge.rows import Beside, rows_apart

BOXES = np.array([[0, 0, 8, 8], [1, 1, np.inf, 5], [20, 2, 24, 4.0]])
LABELS = np.array([1, 1, 2])


@pytest.mark.filterwarnings("error")
def test_a_row_is_named_beside_an_infinite_box_and_among_labels():
    missing = rows_apart(Beside(["boxes"], [BOXES], [BOXES[:2]]), 0)
    assert "row 2 of the reference (boxes [20, 2, 24, 4]) is not among the port's 2" in str(missing)
    both = [BOXES, LABELS == 2], [BOXES[[0, 2, 1]], LABELS[[0, 2, 1]] == 2]
    assert rows_apart(Beside(["boxes", "crowd"], *both), 1).has("row_moved")
    assert rows_apart(Beside(["boxes"], [BOXES], [BOXES]), 0) is None
