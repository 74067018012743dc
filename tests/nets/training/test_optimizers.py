"""Optimizer groups by name, and the same steps on both sides."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.param_groups import CRITERION, stdc_param_plan
from common.schedules import warmup_poly
from tests.nets.training.stubs import SIDES, Paddle, Torch, build_stub

DATA = Path(__file__).parent
PAIRS = ("stdc1_seg", "stdc2_seg")
FUSE = CRITERION + "detail.fuse_kernel"


def authors_groups(name):
    """What the authors' own `get_params` returned: [(decay, multiplier, names)], names left out."""
    found = json.loads((DATA / f"{name}_param_groups.json").read_text())
    rename = {"LOSS.fuse_kernel": FUSE}
    groups = [
        (g["weight_decay"], g["lr_mult"], sorted(rename.get(n, n) for n in g["names"]))
        for g in found["groups"]
    ]
    return groups, sorted(found["not_optimized"])


def as_authors(plan):
    groups = [(g.weight_decay, g.lr_multiplier, sorted(g.names)) for g in plan.groups]
    return groups, sorted(plan.not_optimized)


def all_names(name):
    groups, left_out = authors_groups(name)
    return [n for _, _, names in groups for n in names] + left_out


# ---------------------------------------------------------------------------------------- plan


@pytest.mark.parametrize("name", PAIRS)
def test_plan_is_the_authors(name):
    names = all_names(name)
    np.random.default_rng(0).shuffle(names)
    assert as_authors(stdc_param_plan(names)) == authors_groups(name)


def test_options_change_only_what_they_say():
    names = all_names("stdc1_seg")
    groups, left_out = authors_groups("stdc1_seg")
    plan = stdc_param_plan(names, weight_decay=1e-4, head_lr_multiplier=1.0)
    expected = [(1e-4 if decay else 0.0, 1.0, members) for decay, _, members in groups]
    assert as_authors(plan) == (expected, left_out)
    trained = stdc_param_plan(names, train_backbone_norm=True)
    assert as_authors(trained) == ([*groups, (0.0, 1.0, left_out)], [])


def test_plan_has_no_empty_group():
    plan = stdc_param_plan(["conv_out.conv_out.weight"])
    assert [g.role for g in plan.groups] == ["head weights"]


@pytest.mark.parametrize(
    "stranger",
    [
        "cp.backbone.features.0.conv.bias",
        "cp.backbone.x2.0.0.conv.weight",
        "conv_out64.conv_out.weight",
        "xcp.conv_avg.conv.weight",
        "ffm.conv1.weight.extra",
        "fuse_kernel",
    ],
)
def test_a_parameter_without_a_role_is_an_error_that_names_it(stranger):
    with pytest.raises(UserError, match=stranger):
        stdc_param_plan([*all_names("stdc1_seg"), stranger])


@pytest.mark.parametrize("option", ["weight_decay", "head_lr_multiplier"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_negative_number_is_refused(option, value):
    with pytest.raises(ConfigError, match=f"{option}.* {value}"):
        stdc_param_plan([], **{option: value})


# --------------------------------------------------------------------------------------- sides


STUB = (
    "cp.backbone.features.0.conv.weight",
    "cp.backbone.features.0.bn.weight",
    "cp.backbone.conv_last.conv.weight",  # takes part in no forward: no gradient
    "cp.conv_avg.conv.weight",
    "cp.conv_avg.bn.bias",
    "conv_out.conv_out.weight",
    "conv_out.conv.bn.weight",
    FUSE,
)


def stub_arrays():
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal([2, 3, 1, 1]) for name in STUB}


def stub_gradients(steps):
    """Of every step; the authors' loss gives the fuse kernel a zero and dead weights nothing."""
    rng = np.random.default_rng(2)
    for _ in range(steps):
        given = {name: rng.standard_normal([2, 3, 1, 1]) for name in STUB if "last" not in name}
        yield {**given, FUSE: np.zeros([2, 3, 1, 1])}


def run_steps(side, steps, **options):
    net, criterion = build_stub(side, stub_arrays())
    optimizer = side.optim.build_optimizer("stdc_sgd", net, criterion, base_lr=0.01, **options)
    parameters = side.optim.trainable_parameters(net, criterion)
    for step, given in enumerate(stub_gradients(steps)):
        side.push(parameters, given)
        lr = warmup_poly(
            step,
            base_lr=0.01,
            warmup_start_lr=1e-3,
            warmup_steps=3,
            max_steps=steps,
            power=0.9,
        )
        side.optim.set_lr(optimizer, lr)
        optimizer.step()
        side.clear(optimizer)
    return {name: side.array(parameter) for name, parameter in parameters.items()}


def sgd_numpy(steps, momentum=0.9, decay=5e-4):
    """The same steps by hand: coupled decay, velocity without dampening."""
    weights = stub_arrays()
    velocity = dict.fromkeys(STUB, 0.0)
    rates = [1e-3 * 10 ** (i / 3) for i in range(4)]
    rates += [0.01 * (1 - (i - 3) / (steps - 3)) ** 0.9 for i in range(4, steps)]
    for lr, given in zip(rates, stub_gradients(steps), strict=True):
        for name, gradient in given.items():
            if name == "cp.backbone.features.0.bn.weight":
                continue
            if ".bn." not in name:
                gradient = gradient + decay * weights[name]
            velocity[name] = momentum * velocity[name] + gradient
            weights[name] = weights[name] - lr * velocity[name] * (10 if "out" in name else 1)
    return weights


@pytest.mark.parametrize("steps", [5, 40])
def test_steps_are_sgd_with_the_recipes_groups(side, steps):
    single = {"momentum": float(np.float32(0.9)), "decay": float(np.float32(5e-4))}
    # Paddle holds both constants in float32 (paddle_impl/optim.py).
    expected = sgd_numpy(steps, **(single if isinstance(side, Paddle) else {}))
    for name, weight in run_steps(side, steps).items():
        np.testing.assert_allclose(weight, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_twins_differ_by_the_constants_that_paddle_holds_in_float32():
    reference, port = (run_steps(side(), 40) for side in SIDES.values())
    for name in STUB:
        scale = np.abs(reference[name]).max()
        assert np.abs(reference[name] - port[name]).max() <= 1e-6 * scale, name
    single = {"momentum": float(np.float32(0.9)), "weight_decay": float(np.float32(5e-4))}
    rounded = run_steps(Torch(), 40, **single)
    for name in STUB:
        np.testing.assert_allclose(port[name], rounded[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_frozen_and_unused_parameters_stand_still(side):
    after, before = run_steps(side, 5), stub_arrays()
    for name in STUB:
        still = name in ("cp.backbone.features.0.bn.weight", "cp.backbone.conv_last.conv.weight")
        assert np.array_equal(after[name], before[name]) == still, name
    trained = run_steps(side, 5, train_backbone_norm=True)
    assert (trained[STUB[1]] != before[STUB[1]]).all()


def test_a_parameter_frozen_by_the_user_is_in_no_group(side):
    net, criterion = build_stub(side, stub_arrays())
    side.freeze(net.cp.conv_avg.conv.weight)
    params = side.optim.trainable_parameters(net, criterion)
    assert sorted({*STUB} - {*params}) == ["cp.conv_avg.conv.weight"]


def test_a_net_of_another_recipe_and_an_unknown_row_are_errors(side):
    net, criterion = build_stub(side, {**stub_arrays(), "head.weight": np.zeros([2, 2])})
    with pytest.raises(UserError, match=r"head\.weight"):
        side.optim.build_optimizer("stdc_sgd", net, criterion, base_lr=0.01)
    with pytest.raises(ConfigError, match="'adm' is not known; choose one of"):
        side.optim.build_optimizer("adm", net, criterion, base_lr=0.01)


@pytest.mark.parametrize("name", PAIRS)
def test_groups_of_the_real_net_are_the_authors(side, name):
    net, criterion = side.room.build_model(name), side.losses.LOSSES["stdc"]()
    optimizer = side.optim.build_optimizer("stdc_sgd", net, criterion, base_lr=0.01)
    parameters = side.optim.trainable_parameters(net, criterion)
    groups, left_out = authors_groups(name)
    assert side.settings(optimizer, parameters) == groups
    grouped = {n for _, _, names in groups for n in names}
    assert sorted({*parameters} - grouped) == left_out


def test_a_constant_fuse_kernel_is_in_no_group(side):
    net, _ = build_stub(side, stub_arrays())
    criterion = side.losses.LOSSES["stdc"](detail={"decaying_fuse_kernel": False})
    assert FUSE not in side.optim.trainable_parameters(net, criterion)
    side.optim.build_optimizer("stdc_sgd", net, criterion, base_lr=0.01)


def test_twins_have_the_same_table():
    reference, port = (side().optim.OPTIMIZERS for side in SIDES.values())
    assert list(reference) == list(port)
