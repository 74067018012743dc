"""What the pictures of a run show: nothing is cut off, joined or coloured as something else."""

import numpy as np
import pytest

from align.judge.comparison import EQUAL, Comparison
from align.report.picture import added_up
from commands.reproduce import pictures


@pytest.mark.parametrize(
    ("losses", "end"),
    [([2.3, 2.2], 2.415), ([2.0, float("nan"), 4.0], 4.2), ([float("inf")], None), ([], None)],
)
def test_the_axis_of_the_losses_ends_over_the_highest(losses, end):
    assert pictures.highest(losses) == (None if end is None else pytest.approx(end))


def test_void_never_has_the_colour_of_a_class():
    colors = np.zeros((256, 3), np.uint8)
    colors[1] = 204  # the first grey
    changed = pictures.with_void(colors, np.array([0, 1, 255]))
    assert changed[255].tolist() == [255, 255, 255]
    assert np.array_equal(changed[:255], colors[:255])
    kept = np.zeros((256, 3), np.uint8)
    kept[:3] = 7
    assert pictures.with_void(kept, np.array([0, 1, 255])) is kept


def test_no_line_goes_from_one_step_to_the_next():
    def of(step, cumulative):
        common = {"layer": "a", "call": "a#0", "where": "output:0", "kind": "value"}
        return Comparison(**common, verdict=EQUAL, relative_error=0.0, floor=1.0,
                          cumulative=cumulative, step=step)  # fmt: skip

    found = added_up([of(0, 1e-9), of(0, None), of(0, 1e-8), of(1, 1e-9), of(1, 1e-8)])
    assert [place for place, _ in found] == [0, 2, 3, 3, 4]
    assert [error != error for _, error in found] == [False, False, True, False, False]
    alone = added_up([of(None, 1e-9), of(None, 1e-8)])
    assert not any(error != error for _, error in alone)


def test_every_picture_of_a_run_is_drawn(tmp_path):
    rows = [{"iteration": 1, "loss": 2.0}, {"iteration": 2, "mean_iou": 0.5}]
    pictures.loss_curve(rows, tmp_path / "loss.png")
    labels = np.zeros((2, 8, 8), np.int64)
    labels[:, :2] = 255
    images = np.zeros((2, 8, 8, 3))
    colors = np.zeros((256, 3), np.uint8)
    pictures.prediction_sheet(images, labels, labels * 0, colors, tmp_path / "predictions.png")
    assert {path.name for path in tmp_path.iterdir()} == {"loss.png", "predictions.png"}
