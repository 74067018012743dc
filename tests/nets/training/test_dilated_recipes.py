"""Losses and optimizer groups of PSPNet, DeepLab, torchvision's nets and GloRe."""

import json
from collections import OrderedDict

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.param_groups import (
    deeplabv2_param_plan,
    glore_param_plan,
    plain_param_plan,
    pspnet_param_plan,
    torchvision_param_plan,
)
from tests.nets.losses.criteria import (
    VOID,
    Paddle,
    Torch,
    assert_twins,
    evaluate,
    make_blocks,
    make_label,
    make_logits,
    pixel_losses_numpy,
)
from tests.paths import MANIFESTS

CLASSES = 5


@pytest.fixture(params=[Torch, Paddle], ids=["torch", "paddle"])
def losses(request):
    return request.param()


def mean_loss(logits, label):
    pixels, _ = pixel_losses_numpy(logits, label)
    return pixels.sum() / (label != VOID).sum()


# ------------------------------------------------------------------------------------- losses


def two_heads():
    label = make_label((2, 9, 11), seed=1)
    return [make_logits(label, sharpness, seed=2) for sharpness in (2.0, 0.0)], label


@pytest.mark.parametrize("weight", [0.4, 0.5, 0.0])
def test_the_auxiliary_head_counts_by_its_weight(losses, weight):
    outputs, label = two_heads()
    criterion = losses.build("auxiliary_cross_entropy", aux_weight=weight)
    (value,), ((main, aux),) = evaluate(losses, criterion, outputs, label)
    expected = [mean_loss(logits, label) for logits in outputs]
    assert value == pytest.approx(expected[0] + weight * expected[1], rel=1e-12)
    gradients = [pixel_losses_numpy(logits, label)[1] / (label != VOID).sum() for logits in outputs]
    np.testing.assert_allclose(main, gradients[0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(aux, weight * gradients[1], rtol=0, atol=1e-15)


def test_terms_for_logs_are_unweighted_and_dicts_are_taken(losses):
    outputs, label = two_heads()
    main, aux = (losses.tensor(array) for array in outputs)
    criterion = losses.build("auxiliary_cross_entropy")
    parts = criterion.parts(OrderedDict(aux=aux, out=main), losses.tensor(label))
    assert list(parts) == ["main", "aux"]
    for part, logits in zip(parts.values(), outputs, strict=True):
        assert float(losses.array(part)) == pytest.approx(mean_loss(logits, label), rel=1e-12)
    alone = criterion({"out": main}, losses.tensor(label))
    assert float(losses.array(alone)) == pytest.approx(mean_loss(outputs[0], label), rel=1e-12)


def test_auxiliary_loss_takes_what_the_net_returns(losses):
    for row in ("pspnet50", "fcn_tv_r50"):
        net = losses.room.build_model(row, width=1 / 16, num_classes=CLASSES)
        criterion = losses.build("auxiliary_cross_entropy", dtype="float32")
        image = np.random.default_rng(0).standard_normal((2, 3, 33, 41)).astype(np.float32)
        label = losses.tensor(make_blocks((2, 33, 41), seed=3, classes=CLASSES))
        criterion(net(losses.tensor(image)), label).backward()
        head = net.cls if row == "pspnet50" else net.classifier
        assert losses.array(head[4].weight.grad).any()


def shrunk(label, size):
    from PIL import Image

    images = [Image.fromarray(one.astype(np.float32)) for one in label]
    small = [image.resize(size[::-1], resample=Image.NEAREST) for image in images]
    return np.stack([np.asarray(image) for image in small]).astype(np.int64)


def many_scales():
    label = make_blocks((2, 41, 65), seed=4, classes=CLASSES)
    rng = np.random.default_rng(5)
    sizes = [(6, 9), (4, 5), (3, 7), (6, 9)]
    return [rng.standard_normal((2, CLASSES, *size)) for size in sizes], label


def test_deeplabv2s_loss_is_the_sum_over_labels_that_pil_shrinks(losses):
    outputs, label = many_scales()
    criterion = losses.build("multi_scale_cross_entropy")
    expected = [mean_loss(logits, shrunk(label, logits.shape[2:])) for logits in outputs]
    parts = criterion.parts([losses.tensor(a) for a in outputs], losses.tensor(label))
    assert list(parts) == ["out0", "out1", "out2", "out3"]
    for part, value in zip(parts.values(), expected, strict=True):
        assert float(losses.array(part)) == pytest.approx(value, rel=1e-12)
    (value,), _ = evaluate(losses, criterion, outputs, label)
    assert value == pytest.approx(sum(expected), rel=1e-12)


def test_deeplabv2s_loss_takes_what_the_net_returns(losses):
    net = losses.room.build_model(
        "deeplabv2_r101_msc", width=1 / 16, num_classes=CLASSES, freeze_bn=True
    )
    image = np.random.default_rng(0).standard_normal((1, 3, 41, 65)).astype(np.float32)
    label = losses.tensor(make_blocks((1, 41, 65), seed=6, classes=CLASSES))
    losses.build("multi_scale_cross_entropy", dtype="float32")(
        net(losses.tensor(image)), label
    ).backward()
    assert losses.array(net.base.aspp.c0.weight.grad).any()


def test_deeplabv3s_loss_leaves_the_label_alone(losses):
    label = make_label((2, 32, 48), seed=7)
    logits = np.random.default_rng(8).standard_normal((2, CLASSES, 8, 12))
    (value,), _ = evaluate(losses, losses.build("upsampled_cross_entropy"), logits, label)
    rows, columns = upsampling(8, 32), upsampling(12, 48)
    assert value == pytest.approx(mean_loss(rows @ logits @ columns.T, label), rel=1e-12)


def upsampling(small, large):
    """Bilinear interpolation of pixels that are squares, as a matrix [large, small]."""
    place = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(small)[None]))


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("auxiliary_cross_entropy", two_heads),
        ("multi_scale_cross_entropy", many_scales),
    ],
)
def test_twins_of_the_losses(name, case):
    assert_twins(name, *case(), 1e-12)


def test_twins_of_the_upsampling_loss():
    label = make_label((2, 33, 49), seed=9)
    logits = np.random.default_rng(10).standard_normal((2, CLASSES, 5, 7))
    assert_twins("upsampled_cross_entropy", logits, label, 5e-6)


def test_losses_refuse_what_does_not_fit(losses):
    outputs, label = two_heads()
    tensors = [losses.tensor(array) for array in outputs]
    target = losses.tensor(label)
    with pytest.raises(UserError, match=r"\(logits, auxiliary logits\), got .*Tensor"):
        losses.build("auxiliary_cross_entropy")(tensors[0], target)
    with pytest.raises(UserError, match="got 3"):
        losses.build("auxiliary_cross_entropy")((*tensors, tensors[0]), target)
    with pytest.raises(UserError, match=r"a list of logits, got .*Tensor"):
        losses.build("multi_scale_cross_entropy")(tensors[0], target)
    with pytest.raises(UserError, match="do not belong together"):
        losses.build("multi_scale_cross_entropy")([tensors[0][0]], target)
    with pytest.raises(UserError, match="do not belong together"):
        losses.build("upsampled_cross_entropy")(tensors[0], target[0])
    with pytest.raises(ConfigError, match="aux_weight is -1"):
        losses.build("auxiliary_cross_entropy", aux_weight=-1)


# ------------------------------------------------------------------------------------- groups


def parameters_of(file):
    """Names of a checkpoint's parameters."""
    rows = json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]
    return [key for key, *_ in rows if key.endswith((".weight", ".bias"))]


def settings(plan):
    return {g.role: (g.weight_decay, g.lr_multiplier) for g in plan.groups}


def members(plan):
    return {g.role: list(g.names) for g in plan.groups}


def test_groups_of_pspnet():
    names = parameters_of("pspnet50_semseg")
    plan = pspnet_param_plan(names)
    assert settings(plan) == {"body": (1e-4, 1.0), "heads": (1e-4, 10.0)}
    body = [n for n in names if n.startswith("layer")]
    assert members(plan) == {"body": body, "heads": names[len(body) :]}
    assert plan.not_optimized == ()


def test_groups_of_torchvisions_nets():
    names = parameters_of("deeplabv3_resnet50_torchvision")
    plan = torchvision_param_plan(names)
    assert settings(plan) == {"body": (1e-4, 1.0), "heads": (1e-4, 10.0)}
    assert members(plan)["heads"] == [n for n in names if n.startswith("aux_classifier.")]
    without = torchvision_param_plan(n for n in names if not n.startswith("aux"))
    assert list(settings(without)) == ["body"]


def test_groups_of_deeplabv2():
    names = parameters_of("deeplabv2_kazuto_r101_msc")
    plan = deeplabv2_param_plan(names)
    assert settings(plan) == {
        "weights": (5e-4, 1.0),
        "aspp weights": (5e-4, 10.0),
        "aspp biases": (0.0, 20.0),
    }
    found = members(plan)
    assert found["weights"] == [n for n in names if n.endswith(".conv.weight")]
    assert found["aspp weights"] == [f"base.aspp.c{i}.weight" for i in range(4)]
    assert found["aspp biases"] == [f"base.aspp.c{i}.bias" for i in range(4)]
    assert list(plan.not_optimized) == [n for n in names if ".bn." in n]


def test_one_group_of_everything():
    names = parameters_of("deeplabv3_kazuto_r50_os16")
    plan = plain_param_plan(names, weight_decay=4e-5)
    assert (settings(plan), members(plan)) == ({"all": (4e-5, 1.0)}, {"all": names})


@pytest.mark.parametrize(
    ("optimizer", "row", "left_out"),
    [
        ("pspnet_sgd", "pspnet101", 0),
        ("torchvision_sgd", "fcn_tv_r50", 0),
        ("glore_sgd", "glore_r50", 0),
        ("deeplabv2_sgd", "deeplabv2_r101_msc", 208),
        ("sgd", "deeplabv3plus_r50", 0),
    ],
)
def test_every_parameter_of_the_nets_has_a_place(side, optimizer, row, left_out):
    net = side.room.build_model(row, num_classes=3, width=1 / 32)
    parameters = side.optim.trainable_parameters(net, None)
    made = side.optim.build_optimizer(optimizer, net, base_lr=0.01)
    grouped = [name for _, _, names in side.settings(made, parameters) for name in names]
    assert len(grouped) == len({*grouped})
    assert len({*parameters} - {*grouped}) == left_out


def test_plans_refuse_unknown_names_and_negative_numbers():
    for plan, recipe in (
        (pspnet_param_plan, "PSPNet"),
        (torchvision_param_plan, "torchvision"),
        (glore_param_plan, "GloRe"),
        (deeplabv2_param_plan, "DeepLabV2"),
    ):
        with pytest.raises(UserError, match=rf"outc\.conv\.weight: {recipe}'s recipe"):
            plan(["outc.conv.weight"])
        with pytest.raises(ConfigError, match="weight_decay is -1"):
            plan([], weight_decay=-1)
    with pytest.raises(ConfigError, match="aspp_lr_multiplier is nan"):
        deeplabv2_param_plan([], aspp_lr_multiplier=float("nan"))


def test_the_groups_steps_by_hand(side):
    """Two updates of PSPNet's recipe on single numbers."""
    net = side.module()
    for part in ("layer0", "cls"):
        setattr(net, part, side.module())
        side.parameter(getattr(net, part), "weight", np.full([1, 1], 2.0))
    optimizer = side.optim.build_optimizer("pspnet_sgd", net, base_lr=0.01, weight_decay=0.25)
    parameters = side.optim.trainable_parameters(net, None)
    weights, velocity = dict.fromkeys(parameters, 2.0), dict.fromkeys(parameters, 0.0)
    momentum = float(np.float32(0.9)) if type(side).__name__ == "Paddle" else 0.9
    for lr in (0.01, 0.005):
        side.push(parameters, {name: np.ones([1, 1]) for name in parameters})
        side.optim.set_lr(optimizer, lr)
        optimizer.step()
        side.clear(optimizer)
        for name in weights:
            velocity[name] = momentum * velocity[name] + 1.0 + 0.25 * weights[name]
            weights[name] -= lr * (10 if name == "cls.weight" else 1) * velocity[name]
    for name, parameter in parameters.items():
        np.testing.assert_allclose(side.array(parameter), weights[name], rtol=1e-14)
