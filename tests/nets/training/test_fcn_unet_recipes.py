"""FCN's and U-Net's losses and optimizers, against NumPy written here and against each other."""

import json
from contextlib import nullcontext

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.param_groups import fcn_param_plan
from common.schedules import SCHEDULES
from tests.nets.losses.criteria import (
    VOID,
    Paddle,
    Torch,
    assert_twins,
    evaluate,
    make_label,
    make_logits,
)
from tests.nets.losses.criteria import pixel_losses_numpy as cross_entropy_numpy
from tests.nets.training.stubs import build_stub
from tests.paths import MANIFESTS

CLASSES = 5


@pytest.fixture(params=[Torch, Paddle], ids=["torch", "paddle"])
def losses(request):
    return request.param()


def case(classes=CLASSES, void=0.3):
    label = make_label((2, 9, 11), seed=1, void=void, classes=max(classes, 2))
    return make_logits(label, 1.0, seed=2, classes=classes), label


# ------------------------------------------------------------------------------------- losses


def test_fcns_loss_is_the_sum_of_an_image(losses):
    logits, label = case()
    (value,), ((gradient,),) = evaluate(losses, losses.build("summed_cross_entropy"), logits, label)
    pixels, expected = cross_entropy_numpy(logits, label)
    assert value == pytest.approx(pixels.sum() / 2, rel=1e-12)
    np.testing.assert_allclose(gradient, expected / 2, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["summed_cross_entropy", "unet"])
def test_ignored_pixels_only(losses, name):
    label = np.full((2, 4, 5), VOID, np.int64)
    logits = make_logits(label, 0, 3)
    (value,), ((gradient,),) = evaluate(losses, losses.build(name), logits, label)
    assert value == 0.0
    assert not gradient.any()
    label[0, 1, 1] = 2
    logits[0, 0, 1, 1] = np.nan
    (value,), _ = evaluate(losses, losses.build(name), logits, label)
    assert np.isnan(value)


def dice_numpy(probability, label, axes):
    """1 - Dice over `axes`; a pixel of `label` 255 is nowhere."""
    classes = probability.shape[1]
    ids = np.arange(classes)[:, None, None] if classes > 1 else 1
    target = (label[:, None] == ids).astype(float)
    probability = probability * (label != VOID)[:, None]
    overlap, total = (probability * target).sum(axes), (probability + target).sum(axes)
    return 1 - ((2 * overlap + 1e-6) / (total + 1e-6)).mean()


@pytest.mark.parametrize(("pooled", "axes"), [(True, (0, 1, 2, 3)), (False, (0, 2, 3))])
def test_unets_loss_is_cross_entropy_and_dice(losses, pooled, axes):
    logits, label = case()
    criterion = losses.build("unet", pooled_classes=pooled)
    parts = criterion.parts(losses.tensor(logits), losses.tensor(label))
    assert list(parts) == ["cross_entropy", "dice"]
    mean = cross_entropy_numpy(logits, label)[0].sum() / (label != VOID).sum()
    exponentials = np.exp(logits)
    dice = dice_numpy(exponentials / exponentials.sum(1, keepdims=True), label, axes)
    assert float(losses.array(parts["cross_entropy"])) == pytest.approx(mean, rel=1e-12)
    assert float(losses.array(parts["dice"])) == pytest.approx(dice, rel=1e-12)
    (value,), _ = evaluate(losses, criterion, logits, label)
    assert value == pytest.approx(mean + dice, rel=1e-12)


def test_pooled_and_separate_dice_are_two_losses():
    logits, label = case()
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    pooled, separate = (dice_numpy(probability, label, a) for a in ((0, 1, 2, 3), (0, 2, 3)))
    assert abs(pooled - separate) > 1e-4


def test_unets_loss_of_one_class(losses):
    logits, label = case(classes=1)
    parts = losses.build("unet").parts(losses.tensor(logits), losses.tensor(label))
    assert list(parts) == ["bce", "dice"]
    probability = 1 / (1 + np.exp(-logits))
    counted = label != VOID
    right = np.where(label == 1, probability[:, 0], 1 - probability[:, 0])
    bce = -np.log(right)[counted].mean()
    assert float(losses.array(parts["bce"])) == pytest.approx(bce, rel=1e-12)
    dice = dice_numpy(probability, label, (0, 1, 2, 3))
    assert float(losses.array(parts["dice"])) == pytest.approx(dice, rel=1e-12)
    label[0, 0, 0] = 2
    with pytest.raises(UserError, match=r"label holds 2.*num_classes"):
        evaluate(losses, losses.build("unet"), logits, label)


@pytest.mark.parametrize(
    ("name", "settings", "classes"),
    [
        ("summed_cross_entropy", {}, CLASSES),
        ("unet", {}, CLASSES),
        ("unet", {"pooled_classes": False}, CLASSES),
        ("unet", {}, 1),
    ],
)
def test_twins_of_the_losses(name, settings, classes):
    assert_twins(name, *case(classes), 1e-12, **settings)


@pytest.mark.parametrize("name", ["summed_cross_entropy", "unet"])
def test_losses_refuse_what_does_not_fit(losses, name):
    logits, label = case()
    with pytest.raises(UserError, match="height or width"):
        evaluate(losses, losses.build(name), logits[..., :5], label)


# ------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize("file", ["fcn8s_wkentaro", "fcn32s_wkentaro"])
def test_groups_of_fcn(file):
    keys = [k for k, *_ in json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]]
    plan = fcn_param_plan(keys)
    weights, biases = plan.groups
    assert (weights.weight_decay, weights.lr_multiplier) == (5e-4, 1.0)
    assert (biases.weight_decay, biases.lr_multiplier) == (0.0, 2.0)
    assert list(biases.names) == [k for k in keys if k.endswith(".bias")]
    assert list(plan.not_optimized) == [k for k in keys if k.startswith("upscore")]
    assert sorted((*weights.names, *biases.names, *plan.not_optimized)) == sorted(keys)


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn8s_vgg16bn"])
def test_every_parameter_of_the_nets_has_a_group(side, name):
    net = side.room.build_model(name, num_classes=3, width=1 / 32)
    parameters = side.optim.trainable_parameters(net, None)
    optimizer = side.optim.build_optimizer("fcn_sgd", net, base_lr=1e-10)
    grouped = [n for _, _, names in side.settings(optimizer, parameters) for n in names]
    left_out = sorted({*parameters} - {*grouped})
    assert left_out
    assert left_out == sorted(n for n in parameters if "upscore" in n)


def test_fcn_refuses_unknown_names_and_negative_numbers():
    with pytest.raises(UserError, match=r"outc\.conv\.weight: FCN's recipe"):
        fcn_param_plan(["fc6.weight", "outc.conv.weight"])
    with pytest.raises(ConfigError, match="bias_lr_multiplier -1"):
        fcn_param_plan([], bias_lr_multiplier=-1)


# --------------------------------------------------------------------------------- optimizers

STUB = ("fc6.weight", "fc6.bias", "upscore.weight")
STEPS = 30


def stub_arrays():
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal([2, 3]) for name in STUB}


def stub_gradients(scale):
    rng = np.random.default_rng(2)
    for _ in range(STEPS):
        yield {name: scale * rng.standard_normal([2, 3]) for name in STUB}


def run_steps(side, name, base_lr, scale, **options):
    net, _ = build_stub(side, stub_arrays())
    optimizer = side.optim.build_optimizer(name, net, base_lr=base_lr, **options)
    parameters = side.optim.trainable_parameters(net, None)
    for given in stub_gradients(scale):
        side.push(parameters, given)
        side.optim.set_lr(optimizer, base_lr)
        optimizer.step()
        side.clear(optimizer)
    return {name: side.array(parameter) for name, parameter in parameters.items()}


def test_fcn_sgd_by_hand(side):
    # Paddle holds momentum and decay in float32 (paddle_impl/optim.py).
    single = np.float32 if type(side).__name__ == "Paddle" else float
    momentum, decay = float(single(0.99)), float(single(5e-4))
    weights, velocity = stub_arrays(), dict.fromkeys(STUB, 0.0)
    for given in stub_gradients(1.0):
        for name, lr, wd in (("fc6.weight", 0.01, decay), ("fc6.bias", 0.02, 0.0)):
            velocity[name] = momentum * velocity[name] + given[name] + wd * weights[name]
            weights[name] = weights[name] - lr * velocity[name]
    for name, weight in run_steps(side, "fcn_sgd", 0.01, 1.0).items():
        np.testing.assert_allclose(weight, weights[name], rtol=1e-12, atol=1e-13, err_msg=name)


def rmsprop_numpy(base_lr, scale, max_norm, momentum=0.999, decay=1e-8):
    weights = stub_arrays()
    square, buffer = dict.fromkeys(STUB, 0.0), dict.fromkeys(STUB, 0.0)
    clipped = 0
    for given in stub_gradients(scale):
        norm = np.sqrt(sum((g**2).sum() for g in given.values()))
        factor = min(max_norm / (norm + 1e-6), 1.0)
        clipped += factor < 1
        for name in STUB:
            gradient = given[name] * factor + decay * weights[name]
            square[name] = 0.99 * square[name] + (1 - 0.99) * gradient**2
            buffer[name] = momentum * buffer[name] + gradient / (np.sqrt(square[name]) + 1e-8)
            weights[name] = weights[name] - base_lr * buffer[name]
    return weights, clipped


@pytest.mark.parametrize(
    ("scale", "clipped"), [(1.0, STEPS), (1e-3, 0), (1e-7, 0)], ids=["clipped", "not", "tiny"]
)
def test_unet_rmsprop_by_hand(side, scale, clipped):
    expected, count = rmsprop_numpy(1e-3, scale, max_norm=1.0)
    assert count == clipped
    for name, weight in run_steps(side, "unet_rmsprop", 1e-3, scale).items():
        np.testing.assert_allclose(weight, expected[name], rtol=1e-11, atol=1e-13, err_msg=name)


def test_slots_of_unet_rmsprop_are_saved_and_restored(side):
    paddle_side = type(side).__name__ == "Paddle"

    def rebuild(net, state):
        optimizer = side.optim.build_optimizer("unet_rmsprop", net, base_lr=1e-3)
        getattr(optimizer, "set_state_dict" if paddle_side else "load_state_dict")(state)
        return optimizer

    def steps(stop_after):
        net, _ = build_stub(side, stub_arrays())
        parameters = side.optim.trainable_parameters(net, None)
        optimizer = side.optim.build_optimizer("unet_rmsprop", net, base_lr=1e-3)
        for index, given in enumerate(stub_gradients(1.0)):
            if index == stop_after:
                optimizer = rebuild(net, optimizer.state_dict())
            side.push(parameters, given)
            # Paddle numbers the slots' names by process; a resumed run is a new one.
            with side.fw.utils.unique_name.guard() if paddle_side else nullcontext():
                optimizer.step()
            side.clear(optimizer)
        return {name: side.array(p) for name, p in parameters.items()}

    straight, resumed = steps(-1), steps(10)
    for name in STUB:
        np.testing.assert_array_equal(straight[name], resumed[name], err_msg=name)


def test_constant_schedule():
    constant = SCHEDULES["constant"]
    assert [constant(step, base_lr=1e-10, max_steps=5) for step in (0, 3, 5)] == [1e-10] * 3
    with pytest.raises(ConfigError, match="step 6"):
        constant(6, base_lr=1e-10, max_steps=5)
