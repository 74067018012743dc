"""The moving average of weights: torch's on both sides, evaluated, saved, resumed."""

import importlib
from functools import partial

import numpy as np
import pytest

from common.errors import ConfigError
from common.schedules import ema_decay
from common.settings.load import load_settings
from common.settings.run import Evaluate
from tests.nets.training.test_freeze import Paddle, Torch, arrays
from tests.nets.training.test_step import batch
from tests.paths import ROOT

SIDES = {"torch": Torch, "paddle": Paddle}


@pytest.fixture(params=SIDES)
def side(request):
    return SIDES[request.param]()


def average_of(side, net, decay=0.75, warm_up=False):
    return importlib.import_module(f"{side.room}.average").Average(net, decay, warm_up)


def fill(side, net, seed):
    """Give every tensor of a net values that depend on `seed` and the place alone."""
    rng = np.random.default_rng(seed)
    load = importlib.import_module(f"{side.room}.train").load_arrays
    drawn = {}
    for key, array in sorted(arrays(net).items()):
        whole = array.dtype.kind == "i"
        drawn[key] = np.asarray(seed, array.dtype) if whole else rng.standard_normal(array.shape)
    load(net, drawn)
    return drawn


@pytest.fixture
def double(side):
    """Build nets in float64."""
    kind = side.fw.get_default_dtype()
    side.fw.set_default_dtype(side.fw.float64 if side.room == "torch_ref" else "float64")
    yield
    side.fw.set_default_dtype(kind)


@pytest.mark.parametrize("warm_up", [False, True])
def test_it_is_the_formula_over_some_steps(side, double, warm_up):
    net = side.net()
    expected = fill(side, net, 0)
    average = average_of(side, net, 0.75, warm_up)
    for seed in range(1, 12):
        drawn = fill(side, net, seed)
        average.update()
        keep = min(0.75, seed / (9 + seed)) if warm_up else 0.75
        for key, array in drawn.items():
            floating = array.dtype.kind == "f"
            expected[key] = keep * expected[key] + (1 - keep) * array if floating else array
    average.show(True)
    shown = arrays(net)
    for key, array in expected.items():
        np.testing.assert_allclose(shown[key], array, rtol=1e-13, atol=1e-15, err_msg=key)
    average.show(False)
    again = arrays(net)
    assert all(np.array_equal(again[key], drawn[key]) for key in drawn)


def test_it_is_torchs_averaged_model():
    side = Torch()
    net = side.net()
    fill(side, net, 0)
    swa = side.fw.optim.swa_utils
    theirs = swa.AveragedModel(net, multi_avg_fn=swa.get_ema_multi_avg_fn(0.75), use_buffers=True)
    theirs.update_parameters(net)  # the first one copies
    average = average_of(side, net)
    for seed in range(1, 6):
        fill(side, net, seed)
        theirs.update_parameters(net)
        average.update()
    average.show(True)
    shown, expected = arrays(net), arrays(theirs.module)
    for key, array in expected.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(shown[key], array, rtol=1e-5, atol=1e-6, err_msg=key)


def averages_after_steps(decays):
    """Return the averages of both sides after the same four steps in float64, by torch's names."""
    from align.pairing.fill import fill_port
    from align.pairing.reference_torch import LiveReference

    sides, found = (Torch(), Paddle()), []
    kinds = [side.fw.get_default_dtype() for side in sides]
    try:
        sides[0].fw.set_default_dtype(sides[0].fw.float64)
        sides[1].fw.set_default_dtype("float64")
        theirs, ours = (side.net() for side in sides)
        fill_port(LiveReference(theirs), ours)
        for side, net, decay in zip(sides, (theirs, ours), decays, strict=True):
            made = side_with_average(side, net, decay, warm_up=True)
            for seed in range(4):
                made.step([small(seed)], 0.1)
            found.append({k[4:]: v for k, v in made.state().items() if k.startswith("ema.")})
    finally:
        for side, kind in zip(sides, kinds, strict=True):
            side.fw.set_default_dtype(kind)
    renamed = {"_mean": "running_mean", "_variance": "running_var"}
    ours = {}
    for key, array in found[1].items():
        place, _, name = key.rpartition(".")
        ours[f"{place}.{renamed.get(name, name)}".lstrip(".")] = array
    return found[0], ours


def test_k_steps_of_both_sides_have_the_same_average_and_another_decay_shows():
    theirs, ours = averages_after_steps((0.75, 0.75))
    assert theirs.keys() == ours.keys()
    for key, array in theirs.items():
        np.testing.assert_allclose(ours[key], array, rtol=1e-10, atol=1e-10, err_msg=key)
    theirs, ours = averages_after_steps((0.75, 0.2))
    assert np.abs(theirs["0.0.weight"] - ours["0.0.weight"]).max() > 1e-6


def side_with_average(side, net=None, decay=0.5, warm_up=False):
    train = importlib.import_module(f"{side.room}.train")
    loss = importlib.import_module(f"{side.room}.losses").LOSSES["cross_entropy"]()
    net = side.net() if net is None else net
    kind = train.TorchSide if side.room == "torch_ref" else train.PaddleSide
    made = kind(net, loss, side.sgd(net))
    made.averaged = partial(
        importlib.import_module(f"{side.room}.average").Average, decay=decay, warm_up=warm_up
    )
    return made


def small(seed):
    given = batch(2, seed, (6, 7))
    given.label[:] %= 5
    return type(given)(given.image, given.label[:, :4, :5])


def test_it_is_evaluated_and_saved_and_not_trained(side, tmp_path):
    made = side_with_average(side)
    options = Evaluate()
    before = arrays(made.net)
    plain = type(made)(side.net(), made.criterion, None)
    importlib.import_module(f"{side.room}.train").load_arrays(plain.net, before)
    plain.optimizer = side.sgd(plain.net)
    for seed in range(3):
        made.step([small(seed)], 0.5)
        plain.step([small(seed)], 0.5)
        made.predict(small(seed).image, options)  # shows the average; the next step does not use it
    assert {k for k, v in arrays(plain.net).items() if not np.array_equal(v, arrays(made.net)[k])}
    state = made.state()
    own = {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}
    assert all(np.array_equal(value, own[key]) for key, value in arrays(plain.net).items())
    averaged = {k.removeprefix("ema."): v for k, v in state.items() if k.startswith("ema.")}
    path = tmp_path / "weights"
    made.save_weights(path)
    saved = side.fw.load(str(path), **({"weights_only": True} if side.room == "torch_ref" else {}))
    saved = {k: np.asarray(v.numpy() if hasattr(v, "numpy") else v) for k, v in saved.items()}
    kept = [key for key in saved if key in averaged]
    assert len(kept) >= 8
    assert all(np.array_equal(saved[key], averaged[key]) for key in kept)
    assert not np.array_equal(saved["0.0.weight"], own["0.0.weight"])
    fresh = side_with_average(side)
    fresh.load_state(state)
    for each in (made, fresh):
        each.step([small(9)], 0.5)
    one, other = made.state(), fresh.state()
    assert one.keys() == other.keys()
    assert all(np.array_equal(value, other[key]) for key, value in one.items())


def test_the_decay_of_the_warm_up():
    assert [ema_decay(t, 0.9, True) for t in (0, 1, 10_000)] == [0.1, 2 / 11, 0.9]
    assert ema_decay(0, 0.9, False) == 0.9


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{decay: 1.0}", "train.ema.decay is 1.0"),
        ("{deca: 0.9}", "did you mean train.ema.decay?"),
        ("true", "expected keys below it"),
    ],
)
def test_keys_are_checked(given, told):
    with pytest.raises(ConfigError) as caught:
        load_settings(ROOT / "configs" / "stdc1_toy.yml", [f"train.ema={given}"])
    assert told in str(caught.value)
