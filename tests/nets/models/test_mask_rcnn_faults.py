"""Mask R-CNN under judgement: right ports pass in every rung, wrong ones fail at their place."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as F

from align import align_backward, align_forward, align_loss, align_training
from commands.subjects.recipe import Recipe
from common.data.toy import write_toy_cityscapes
from paddle_impl.losses import LOSSES as PORTS
from paddle_impl.losses.detection import mask_rcnn as port_losses
from paddle_impl.models.detection import paste, rpn
from tests.nets.models.thin_mask_rcnn import FIRST, SECOND, SIZES, objects, pictures, thin_pair
from tests.paths import CONFIGS
from torch_ref.losses import LOSSES as REFERENCES

pytestmark = pytest.mark.prove

# Fewer than there are candidates, and so many that every level of the pyramid learns.
FEW = {"rpn_batch_size_per_image": 100, "box_batch_size_per_image": 6}
FEWER = {**FEW, "rpn_batch_size_per_image": 24}
# An object that one anchor overlaps more than all others do, by less than the threshold.
ONE_BEST = objects(SIZES[0], [[23, 23, 50, 49]], [2])
LOSS = np.zeros(1)  # the label, at which the criterion does not look


def batch(seed=0):
    return [pictures(seed), [FIRST, SECOND]]


def criteria():
    return REFERENCES["mask_rcnn"](), PORTS["mask_rcnn"]()


@pytest.mark.parametrize("options", [{}, FEW], ids=["all boxes", "sampled"])
def test_a_right_port_passes_forward_backward_and_in_training(options):
    nets = thin_pair(**options)
    for train in (True, False):
        report = align_forward(*nets, batch() if train else batch()[:1], train=train)
        assert report.aligned, (report.verdict, report.divergences[:3])
    report = align_backward(*nets, [*batch(), LOSS], *criteria())
    assert report.aligned, (report.verdict, report.divergences[:3])
    report = align_training(
        *nets,
        [[*batch(seed), LOSS] for seed in (0, 1)],
        *criteria(),
        lambda p: torch.optim.SGD(p, 1e-4, momentum=0.9, weight_decay=1e-4),
        lambda p: paddle.optimizer.Momentum(1e-4, 0.9, parameters=p, weight_decay=1e-4),
    )
    assert report.aligned, (report.verdict, report.divergences[:3])


def test_losses_alone():
    rng = np.random.default_rng(0)
    values = {name: rng.random() for name in port_losses.TERMS}
    outputs = {name: np.array(value) for name, value in values.items()}
    assert align_loss(*criteria(), [outputs, LOSS]).aligned


def weights_of_targets(port, patch):
    port.roi_heads.teach.box_targets.weights = (1.0, 1.0, 1.0, 1.0)


def half_a_cell_off(port, patch):
    port.roi_heads.box_roi_pool.aligned = True


def levels_compete(port, patch):
    right = rpn.grouped_nms
    patch.setattr(rpn, "grouped_nms", lambda b, s, g, t: right(b, s, paddle.zeros_like(g), t))


def statistics_learn(port, patch):
    norm = port.backbone.body.bn1

    def forward(x):
        held = norm.running_mean.clone(), norm.running_var.clone()
        return F.batch_norm(x, *held, norm.weight, norm.bias, training=True, epsilon=norm.eps)

    patch.setattr(norm, "forward", forward)


def labels_from_zero(port, patch):
    select = port.roi_heads.teach.select
    right = select.forward

    def forward(proposals, objects):
        return right(proposals, [{**one, "labels": one["labels"] - 1} for one in objects])

    patch.setattr(select, "forward", forward)


def best_are_forgotten(port, patch):
    port.rpn.teach.matcher.best_of_each_object = False


def more_objects(port, patch):
    port.rpn.teach.sampler.positive_fraction = 1.0


def another_seed(port, patch):
    port.roi_heads.teach.select.sampler.seed_samples(1)


def masks_are_rounded(port, patch):
    targets = port.roi_heads.teach.mask_targets
    right = targets.forward
    patch.setattr(targets, "forward", lambda *given: (right(*given) > 0.5).astype("float64"))


def huber(port, patch):
    def smooth_l1(deltas, places, moves):
        found = port_losses.take(deltas, places)
        return F.smooth_l1_loss(found, moves, reduction="sum", delta=1 / 9)

    patch.setattr(port_losses, "smooth_l1", smooth_l1)


TEACH = "roi_heads.teach"


@pytest.mark.parametrize(
    ("fault", "places"),
    [
        (weights_of_targets, {f"{TEACH}.box_targets"}),
        (half_a_cell_off, {"roi_heads.box_roi_pool"}),
        (levels_compete, {"rpn.select"}),
        (statistics_learn, {"backbone.body.bn1"}),
        (labels_from_zero, {f"{TEACH}.select"}),
        (best_are_forgotten, {"rpn.teach.matcher"}),
        (more_objects, {"rpn.teach.sampler"}),
        (another_seed, {f"{TEACH}.select.sampler"}),
        (masks_are_rounded, {f"{TEACH}.mask_targets"}),
        (huber, {"rpn.teach.loss", f"{TEACH}.box_loss"}),
    ],
)
def test_a_wrong_port_is_found_at_its_place_in_train_mode(fault, places, monkeypatch):
    reference, port = thin_pair(**FEWER)
    fault(port, monkeypatch)
    first = ONE_BEST if fault is best_are_forgotten else FIRST
    report = align_forward(reference, port, [pictures(), [first, SECOND]], train=True)
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == places


def test_matches_that_ties_hide_are_not_passed(monkeypatch):
    reference, port = thin_pair(**FEWER)
    best_are_forgotten(port, monkeypatch)
    tied = objects(SIZES[0], [[24, 24, 40, 40]], [2])  # anchors on all sides overlap it alike
    report = align_forward(reference, port, [pictures(), [tied, SECOND]], train=True)
    assert report.exit_code == 2


def corners_are_aligned(port, patch):
    def resize(x, size):
        return F.interpolate(x, size=list(size), mode="bilinear", align_corners=True)

    patch.setattr(paste, "resize_bilinear", resize)


def weights_of_detections(port, patch):
    port.roi_heads.detect.weights = (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("fault", "layer"), [(corners_are_aligned, ""), (weights_of_detections, "roi_heads.detect")]
)
def test_a_wrong_port_is_found_at_its_place_in_eval_mode(fault, layer, monkeypatch):
    reference, port = thin_pair()
    fault(port, monkeypatch)
    report = align_forward(reference, port, batch()[:1], train=False)
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {layer}


@pytest.mark.parametrize(("fault", "code"), [(None, 0), (weights_of_targets, 1)])
def test_the_toy_s_first_batch_teaches_boxes_to_move(fault, code, tmp_path, monkeypatch):
    """Some proposals overlap an object before anything is learnt: what moves them is not zero."""
    root = tmp_path / "toy"
    write_toy_cityscapes(root, layout="coco_instances", train=8, val=2, size_hw=(128, 128), seed=0)
    shape = "reproduce.input_shape=[2,3,64,64]"  # as `reproduce --fast` has it
    recipe = Recipe(CONFIGS / "mask_rcnn_r50_fpn_toy.yml", (f"data.root={root}", shape))
    reference, port, *_ = recipe.pair.nets(None, 0)
    if fault:
        fault(port, monkeypatch)
    report = recipe.align_forward(reference, port, train=True)
    assert report.exit_code == code, (report.verdict, report.notes)
    assert {d.layer for d in report.divergences} == ({f"{TEACH}.box_targets"} if fault else set())


@pytest.mark.parametrize(
    ("layer", "name", "value", "trains"),
    [
        ("roi_heads.detect", "nms_thresh", 0.9, False),
        ("roi_heads.detect", "per_image", 99, False),
        ("rpn.select", "after", (1000, 31), True),
        ("rpn.teach.sampler", "count", 999, True),
    ],
)
def test_settings_that_no_box_shows_are_told(layer, name, value, trains):
    """A limit of 99 boxes of which 5 are found; where one shows it is found as a difference."""
    reference, port = thin_pair(**FEW)
    setattr(dict(port.named_sublayers())[layer], name, value)
    report = align_forward(reference, port, batch() if trains else batch()[:1], train=trains)
    told = [str(note) for note in report.notes if note.kind == "other_numbers"]
    found = {d.layer for d in report.divergences}
    assert found == {layer} or (len(told) == 1 and f"{layer}.{name} is" in told[0])
