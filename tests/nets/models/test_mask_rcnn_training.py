"""Mask R-CNN in train mode: the same losses and gradients on both sides, whatever is in a batch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from common.errors import UserError
from tests.nets.models.thin_mask_rcnn import FIRST, SECOND, SIZES, objects, pictures, thin_pair

FEW = {"rpn_batch_size_per_image": 20, "box_batch_size_per_image": 16}  # fewer than candidates
BATCHES = {
    "two objects each": [FIRST, SECOND],
    "one image without": [FIRST, objects(SIZES[1], [], [])],
    "none at all": [objects(size, [], []) for size in SIZES],
}


@pytest.fixture(scope="module")
def doubles():
    """The nets in train mode and float64, that draw fewer boxes than there are."""
    pytest.importorskip("paddle")
    reference, port = thin_pair(**FEW)
    port.to(dtype="float64")
    return reference.double(), port


def losses(net, targets, seed=0, kind="float64"):
    """Return the losses of a net of either side, of draws of `seed`."""
    tensor = torch.tensor
    if not isinstance(net, torch.nn.Module):
        import paddle

        tensor = paddle.to_tensor
    for layer in (net.rpn.teach.sampler, net.roi_heads.teach.select.sampler):
        layer.seed_samples(seed)
    images = [tensor(image.astype(kind)) for image in pictures()]
    return net(images, [{k: tensor(v) for k, v in one.items()} for one in targets])


@pytest.mark.parametrize("batch", BATCHES)
def test_losses_and_gradients_of_both_sides(doubles, batch):
    reference, port = doubles
    theirs, ours = (losses(net, BATCHES[batch]) for net in doubles)
    assert list(theirs) == list(ours)
    for name, value in theirs.items():
        assert np.isfinite(float(value.detach()))
        assert float(ours[name]) == pytest.approx(float(value.detach()), rel=1e-10)
    reference.zero_grad()
    port.clear_gradients()
    for found in (theirs, ours):
        sum(found.values()).backward()
    held = dict(port.named_parameters())
    frozen = set()
    for name, parameter in reference.named_parameters():
        if not parameter.requires_grad:
            assert held[name].stop_gradient
            frozen.add(".".join(name.split(".")[:3]))
            continue
        right, found = parameter.grad.numpy(), held[name].grad.numpy()
        found = found.T if right.ndim == 2 else found
        np.testing.assert_allclose(found, right, atol=1e-9 * (np.abs(right).max() or 1))
    assert frozen == {"backbone.body.conv1", "backbone.body.layer1"}


def test_without_objects_boxes_and_masks_learn_nothing(doubles):
    found = losses(doubles[0], BATCHES["none at all"])
    kept = {name for name, value in found.items() if float(value.detach())}
    assert kept == {"loss_classifier", "loss_objectness"}
    doubles[0].zero_grad()
    sum(found.values()).backward()
    masks = doubles[0].roi_heads.mask_predictor.mask_fcn_logits
    assert masks.weight.grad is not None  # as torchvision: decay and momentum go on
    assert not masks.weight.grad.any()


def test_draws_follow_the_seed_and_change_from_step_to_step(doubles):
    def told(net, seed):
        return [float(x.detach()) for x in losses(net, [FIRST, SECOND], seed).values()]

    reference, _ = doubles
    first = told(reference, 3)
    assert first == told(reference, 3)
    assert first != told(reference, 4)
    sampler = reference.rpn.teach.sampler
    labels = [torch.zeros(50, dtype=torch.int64)]
    sampler.seed_samples(3)
    assert not torch.equal(sampler(labels)[1][0], sampler(labels)[1][0])


def test_statistics_are_frozen_in_train_mode(doubles):
    for net in doubles:
        before = {k: np.array(v.detach().numpy()) for k, v in net.state_dict().items()}
        losses(net, BATCHES["one image without"])
        for key, value in net.state_dict().items():
            np.testing.assert_array_equal(value.detach().numpy(), before[key])


@pytest.mark.prove
def test_boxes_stay_in_float32_where_a_net_runs_in_half_precision():
    pytest.importorskip("paddle")
    net, _ = thin_pair()  # of Paddle, CPUs have no such mode
    right = losses(net, [FIRST, SECOND], kind="float32")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(net, [FIRST, SECOND], kind="float32")
        assert net.eval()([torch.rand(3, 64, 64)])[0]["boxes"].dtype == torch.float32
    for name, value in right.items():
        assert found[name].dtype == torch.float32
        assert float(found[name].detach()) == pytest.approx(float(value.detach()), rel=0.3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.array([1, 5])}, r"targets\[0\]: labels hold 5; expected 1 to 4, 0 is"),
        ({"labels": np.array([1, 0])}, r"labels hold 0; expected 1 to 4"),
        ({"boxes": FIRST["boxes"][:1]}, r"boxes \[1, 4\], labels \[2\] and masks \[2, 64, 96\]"),
        (
            {"boxes": FIRST["boxes"][:, [2, 1, 0, 3]]},
            r"box \[40\.0, 6\.0, 4\.0, 50\.0\] has no ext",
        ),
        ({"boxes": np.full([2, 4], np.nan)}, r"box \[nan, nan, nan, nan\] has no extent"),
        ({"boxes": FIRST["boxes"] + [0, 0, np.inf, 0]}, r"50\.0\] has no extent"),
        ({"boxes": FIRST["boxes"].astype(int)}, r"boxes are int64, expected a floating dtype"),
        ({"masks": FIRST["masks"][:, :-1]}, r"masks \[2, 63, 96\] do not belong to an image of \["),
        (
            {"masks": FIRST["masks"] * np.uint8(255)},
            r"masks hold 0 to 255; expected 0 and 1",
        ),
        ({"masks": None}, r"targets\[0\] has no masks; expected boxes, labels, masks"),
        ({"iscrowd": np.array([False, True])}, r"iscrowd marks a crowd.*leave crowds out"),
    ],
)
def test_targets_that_misfit_are_refused(doubles, change, said):
    wrong = {k: v for k, v in {**FIRST, **change}.items() if v is not None}
    for net in doubles:
        with pytest.raises(UserError, match=said):
            losses(net, [wrong, SECOND])


def test_targets_are_asked_for_one_for_each_image(doubles):
    image = torch.rand(3, 64, 64, dtype=torch.float64)
    with pytest.raises(UserError, match=r"computes its losses in train mode: give it targets"):
        doubles[0]([image])
    with pytest.raises(UserError, match=r"0 targets for 1 images"):
        doubles[0]([image], [])
