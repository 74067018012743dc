"""Metrics at their edges: made batches show what few of the user's do, and say why."""

import numpy as np
import pytest

from align import align_metric

CLASSES = 4


class MeanIoU:
    """The mean over classes of one counted table, or of one a batch or image."""

    def __init__(self, absent="skip", pool="counts", of=None):
        self.absent, self.pool, self.of, self.tables = absent, pool, of, []

    def update(self, prediction, label):
        images = zip(prediction, label, strict=True)
        parts = list(images) if self.pool == "images" else [(prediction, label)]
        self.tables += [self.count(*part) for part in parts]

    @staticmethod
    def count(prediction, label):
        keep = label != 255
        cells = label[keep].astype(int) * CLASSES + prediction[keep].astype(int)
        return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)

    def score(self, table):
        union = table.sum(0) + table.sum(1) - np.diag(table)
        iou = np.diag(table) / union
        if self.of == "class":
            return iou
        if self.absent == "labelled":
            return iou[table.sum(1) > 0].mean()
        if self.absent == "hit":  # of ENet's, CGNet's and DABNet's authors
            return iou[np.diag(table) > 0].mean()
        value = {"zero": 0.0, "one": 1.0}.get(self.absent)
        return np.nanmean(iou) if value is None else np.where(union > 0, iou, value).mean()

    def compute(self):
        tables = [sum(self.tables)] if self.pool == "counts" else self.tables
        return np.mean([self.score(table) for table in tables], axis=0)


def batches(logits=False):
    """Return one batch in which every class occurs and no pixel is void."""
    rng = np.random.default_rng(1)
    classes, label = rng.integers(0, CLASSES, (2, 2, 8, 8))
    if logits:
        classes = np.eye(CLASSES, dtype=np.float32)[classes].transpose(0, 3, 1, 2)
    return [(classes, label)]


@pytest.mark.parametrize("options", [{}, {"pool": "batches"}, {"absent": "one"}, {"of": "class"}])
def test_a_right_metric_is_aligned_at_every_edge(options):
    report = align_metric(MeanIoU(**options), MeanIoU(**options), batches())
    assert report.exit_code == 0, report.divergences
    assert len(report.settings["made"]) == 9
    assert "class 3 absent from the label alone" in report.notes[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"absent": "zero"}, "the port counts them as 0, the reference leaves out those absent"),
        ({"absent": "one"}, "the port counts them as 1"),
        ({"absent": "labelled"}, "the port leaves out those absent from the label, "),
        ({"absent": "hit"}, "the port leaves out those without one right pixel"),
        ({"pool": "batches"}, "the port averages the batches' scores"),
    ],
)
def test_a_wrong_metric_that_the_batches_do_not_show_is_found_and_explained(wrong, said):
    given = [tuple(array[:1] for array in pair) for pair in batches()]
    if "pool" not in wrong:
        assert MeanIoU(**wrong).score(MeanIoU.count(*given[0])) == MeanIoU().score(
            MeanIoU.count(*given[0])
        )
    report = align_metric(MeanIoU(), MeanIoU(**wrong), given)
    assert report.exit_code == 1
    assert all(found.layer.startswith("made batch") for found in report.divergences)
    assert all(said in found.cause for found in report.divergences)


class Single(MeanIoU):
    """The same, computed in float32 and handed on as Python's number."""

    def __init__(self, off=0.0):
        super().__init__()
        self.off = off

    def score(self, table):
        union = (table.sum(0) + table.sum(1) - np.diag(table)).astype(np.float32)
        iou = np.diag(table).astype(np.float32) / union
        return float(np.float32(np.nanmean(iou, dtype=np.float32) + self.off))


def test_rounding_of_float32_is_no_difference_where_it_hides_no_pixel():
    assert align_metric(MeanIoU(), Single(), batches()).exit_code == 0
    assert align_metric(Single(), MeanIoU(), batches()).exit_code == 0
    report = align_metric(MeanIoU(), Single(1e-5), batches())
    assert report.exit_code == 1
    assert align_metric(MeanIoU(), MeanIoU("one"), batches()).exit_code == 1


def test_rounding_that_may_hide_a_pixel_could_not_be_checked():
    rng = np.random.default_rng(1)
    large = [tuple(rng.integers(0, CLASSES, (2, 1, 400, 400)))]
    report = align_metric(MeanIoU(), Single(), large)
    assert report.exit_code == 2, report.divergences
    assert "which hides a pixel in so many" in str(report.calls[0].cause)
    assert align_metric(MeanIoU(), MeanIoU(), large).exit_code == 0


def test_a_mean_over_images_is_told_from_one_over_batches():
    report = align_metric(MeanIoU(), MeanIoU(pool="images"), batches())
    assert all("the port averages the images' scores" in d.cause for d in report.divergences)


def test_metrics_of_logits_and_functions_are_tried_too():
    def accuracy(otherwise):
        def score(logits, label):
            keep = label != 255
            return (logits.argmax(1) == label)[keep].mean() if keep.any() else otherwise

        return score

    assert align_metric(accuracy(0.0), accuracy(0.0), batches(True)).exit_code == 0
    report = align_metric(accuracy(float("nan")), accuracy(0.0), batches(True))
    assert [found.layer for found in report.divergences] == ["made batch (void alone)"]


def strict(prediction, label):
    """Take no void at all, as a metric of data without any may."""
    if (label == 255).any():
        raise ValueError("no such class: 255")
    return float((prediction == label).mean())


def test_what_both_raise_is_noted_and_what_one_raises_differs():
    report = align_metric(strict, strict, batches())
    assert report.exit_code == 0
    assert "raise alike" in report.notes[1]
    report = align_metric(strict, lambda p, y: float((p == y).mean()), batches())
    assert report.exit_code == 1
    assert "the reference's metric raises ValueError, the port's does not" in (
        report.divergences[0].cause
    )


def test_other_batches_and_metrics_that_cannot_be_copied_are_told():
    def total(*arrays):
        return float(sum(array.sum() for array in arrays))

    report = align_metric(total, total, [(np.ones((2, 3)),)])
    assert report.exit_code == 0
    assert "no made batches" in report.notes[0]

    class Held(MeanIoU):
        def __deepcopy__(self, memo):
            raise TypeError("held")

    report = align_metric(Held(), Held(), batches())
    assert "anew=" in report.notes[0]
    anew = (Held, lambda: Held("zero"))
    assert align_metric(Held(), Held("zero"), batches(), anew=anew).exit_code == 1


def test_nan_alike_on_the_users_batches_leaves_the_other_values_to_compare():
    pair = [(np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), int))]
    assert align_metric(MeanIoU(of="class"), MeanIoU(of="class"), pair).exit_code == 0
    nothing = [(pair[0][0], np.full((1, 4, 4), 255))]
    assert align_metric(MeanIoU(), MeanIoU(), nothing).exit_code == 2


def pair_of(void):
    """Two metrics that part where every pixel is void, or some are, alone."""

    def theirs(prediction, label):
        return float((prediction == label)[label != void].mean()) if (label != void).any() else 0.0

    def ours(prediction, label):
        return theirs(prediction, label) if (label != void).any() else 1.0

    return theirs, ours


def test_a_user_without_void_can_say_so():
    random = np.random.default_rng(0)
    batches = [random.integers(0, CLASSES, (2, 2, 6, 7))]
    report = align_metric(*pair_of(255), batches, num_classes=CLASSES)
    assert report.exit_code == 1
    (note,) = (note for note in report.notes if note.kind == "metric_void_alone")
    assert "metric.void: false" in note
    report = align_metric(*pair_of(255), batches, num_classes=CLASSES, ignore_index=None)
    assert report.exit_code == 0
    assert not [name for name in report.settings["made"] if "void" in name]


def test_a_fault_elsewhere_is_not_put_down_to_void():
    random = np.random.default_rng(0)
    theirs, _ = pair_of(255)
    report = align_metric(
        theirs, lambda *batch: theirs(*batch) * 2, [random.integers(0, CLASSES, (2, 2, 6, 7))]
    )
    assert report.exit_code == 1
    assert not [note for note in report.notes if note.kind == "metric_void_alone"]
