"""SGD, Adam and AdamW by name: torch's meaning on both sides, groups by pattern, clipping."""

import numpy as np
import pytest

from common.errors import ConfigError
from common.param_groups import plain_param_plan
from common.settings.load import load_settings
from tests.nets.training.stubs import SIDES, Paddle, build_stub
from tests.paths import ROOT

NAMES = ("backbone.conv.weight", "backbone.bn.bias", "head.conv.weight", "head.conv.bias")
GROUPS = (
    {"match": "^backbone", "lr_multiplier": 0.1, "weight_decay": None},
    {"match": "bias$", "lr_multiplier": 2.0, "weight_decay": 0.0},
)
ROWS = {
    "sgd": ("sgd", {"momentum": 0.5, "weight_decay": 0.25}),
    "nesterov": ("sgd", {"momentum": 0.5, "weight_decay": 0.25, "nesterov": True}),
    "adam": ("adam", {"weight_decay": 0.25}),
    "amsgrad": ("adam", {"weight_decay": 0.0, "amsgrad": True, "betas": (0.5, 0.25)}),
    "adamw": ("adamw", {"weight_decay": 0.25, "epsilon": 0.125}),
}
CLIPS = (None, "value", "norm", "global_norm")


def arrays(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.standard_normal([2, 3]) for name in NAMES}


def with_side(side, name, options, steps=4):
    """Return the weights after steps of a row, and its optimizer."""
    net, _ = build_stub(side, arrays(0))
    optimizer = side.optim.build_optimizer(name, net, base_lr=0.125, **options)
    parameters = side.optim.trainable_parameters(net, None)
    for step in range(steps):
        given = arrays(step + 1, 10.0**-step)
        if step == 2:
            del given["head.conv.bias"]  # which stands still, then
        side.push(parameters, given)
        side.optim.set_lr(optimizer, 0.125 / (step + 1))
        optimizer.step()
        side.clear(optimizer)
    return {key: side.array(parameter) for key, parameter in parameters.items()}


def by_hand(row, options, clip, steps=4):
    """The same with torch's own optimizers and functions, called as torch's users do."""
    torch = pytest.importorskip("torch")
    params = {k: torch.nn.Parameter(torch.tensor(a)) for k, a in arrays(0).items()}
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[row]
    options = {"eps" if k == "epsilon" else k: v for k, v in options.items()}
    groups = [
        {"params": [params[k] for k in NAMES[:2]], "factor": 0.1},
        {"params": [params["head.conv.bias"]], "factor": 2.0, "weight_decay": 0.0},
        {"params": [params["head.conv.weight"]], "factor": 1.0},
    ]
    optimizer = kind(groups, lr=1.0, **options)
    for step in range(steps):
        for key, array in arrays(step + 1, 10.0**-step).items():
            params[key].grad = torch.tensor(array)
        if step == 2:
            params["head.conv.bias"].grad = None
        if clip == "value":
            torch.nn.utils.clip_grad_value_(params.values(), 0.25)
        elif clip == "global_norm":
            torch.nn.utils.clip_grad_norm_(params.values(), 0.25)
        elif clip == "norm":
            for parameter in params.values():
                torch.nn.utils.clip_grad_norm_([parameter], 0.25)
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * 0.125 / (step + 1)
        optimizer.step()
    return {key: parameter.detach().numpy() for key, parameter in params.items()}


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("row", ROWS)
def test_steps_are_torchs(side, row, clip):
    name, options = ROWS[row]
    if row == "amsgrad" and isinstance(side, Paddle) and side.fw.__version__.startswith("2."):
        with pytest.raises(ConfigError, match="install Paddle 3"):
            with_side(side, name, options)
        return
    # Numbers that float32 holds, in which Paddle's kernels keep some of them.
    expected = by_hand(name, options, clip)
    given = {"by": clip, "limit": 0.25} if clip else None
    found = with_side(side, name, {**options, "groups": GROUPS, "clip": given})
    for key, weight in expected.items():
        np.testing.assert_allclose(found[key], weight, rtol=1e-12, atol=1e-13, err_msg=key)


def test_every_clipping_changes_the_steps():
    for row in ("sgd", "adam"):
        weights = [by_hand(row, {}, clip)["head.conv.weight"] for clip in CLIPS]
        for number, one in enumerate(weights):
            assert all(np.abs(one - other).max() > 1e-6 for other in weights[number + 1 :])


def test_the_first_pattern_that_finds_a_name_has_it():
    plan = plain_param_plan(NAMES, weight_decay=0.5, groups=GROUPS)
    assert [(g.names, g.weight_decay, g.lr_multiplier) for g in plan.groups] == [
        (NAMES[:2], 0.5, 0.1),
        (NAMES[3:], 0.0, 2.0),
        (NAMES[2:3], 0.5, 1.0),
    ]


@pytest.mark.parametrize(
    ("matches", "told"),
    [
        (["bakbone"], r"optimizer.groups\[0\].match is 'bakbone', .* did you mean backbone"),
        (["head", r"head\.cnv\."], r"groups\[1\].match .* did you mean head.conv"),
        (["", "zzz"], r"There are 4: backbone.conv.weight, backbone.bn.bias, head.conv.weight"),
        (["head", r"\.bias$", "bias"], r"groups\[2\].match .*is in a group above it"),
    ],
)
def test_a_pattern_that_finds_nothing_is_an_error_with_what_was_meant(matches, told):
    matches = [match for match in matches if match]
    groups = [{"match": m, "lr_multiplier": 1.0, "weight_decay": None} for m in matches]
    with pytest.raises(ConfigError, match=told):
        plain_param_plan(NAMES, groups=groups)


@pytest.mark.parametrize("row", ROWS)
def test_a_fresh_optimizer_goes_on_from_saved_slots(side, row):
    name, options = ROWS[row]
    if row == "amsgrad" and isinstance(side, Paddle) and side.fw.__version__.startswith("2."):
        pytest.skip("none in Paddle 2")
    import importlib

    package = side.optim.__name__.partition(".")[0]
    functions = importlib.import_module(f"{package}.train")
    nets, optimizers = [], []
    for _ in range(2):
        net, _ = build_stub(side, arrays(0))
        nets.append(net)
        optimizers.append(side.optim.build_optimizer(name, net, base_lr=0.125, **options))

    def step(which, seed):
        parameters = side.optim.trainable_parameters(nets[which], None)
        side.push(parameters, arrays(seed))
        optimizers[which].step()
        side.clear(optimizers[which])
        return {key: side.array(parameter) for key, parameter in parameters.items()}

    for seed in (1, 2):
        step(0, seed)
    slots = functions.read_slots(nets[0], None, optimizers[0])
    assert {key.partition(".")[2] for key in slots} == {*NAMES}
    functions.load_arrays(nets[1], functions.read_arrays(nets[0]))
    functions.write_slots(nets[1], None, optimizers[1], slots)
    one, other = step(0, 3), step(1, 3)
    assert all(np.array_equal(one[key], other[key]) for key in NAMES)


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        ("{name: adam, beta: 1}", "did you mean optimizer.betas?"),
        ("{name: adam, betas: [0.9]}", "expected 2 values"),
        ("{name: adam, betas: [0.9, 1.0]}", "optimizer.betas.1 is 1.0"),
        ("{name: adam, momentum: 0.9}", "is a setting of"),
        ("{name: adamw, epsilon: 0}", "optimizer.epsilon is 0"),
        ("{name: adm}", "did you mean adam?"),
        ("{name: sgd, momentum: 0, nesterov: true}", "nesterov goes with a momentum"),
        ("{name: sgd, clip: {by: norms, limit: 1}}", "optimizer.clip.by"),
        ("{name: sgd, clip: {by: norm}}", "optimizer.clip.limit is not set"),
        ("{name: sgd, clip: {by: norm, limit: 0}}", "optimizer.clip.limit is 0"),
        ("{name: sgd, groups: [{match: '(', lr_multiplier: 2}]}", "no regular expression"),
        ("{name: sgd, groups: [{mach: a}]}", "did you mean optimizer.groups.0.match"),
        ("{name: unet_rmsprop, clip: {by: norm, limit: 1}}", "clip is a setting of"),
    ],
)
def test_an_optimizer_that_means_nothing_is_refused_by_its_key(optimizer, told):
    with pytest.raises(ConfigError) as caught:
        load_settings(ROOT / "configs" / "stdc1_toy.yml", [f"optimizer={optimizer}"])
    assert told in str(caught.value)


def test_the_decay_of_adam_and_adamw_is_torchs_where_none_is_set():
    config = ROOT / "configs" / "stdc1_toy.yml"
    decays = [
        load_settings(config, [f"optimizer={given}"]).optimizer.options["weight_decay"]
        for given in ("{name: adam}", "{name: adamw}", "{name: adamw, weight_decay: 0}")
    ]
    assert decays == [0.0, 0.01, 0.0]


def test_twins_name_the_same_clippings():
    assert [*SIDES["paddle"]().optim.CLIPS] == [clip for clip in CLIPS if clip]
