"""Precision of a training: what torch computes on a CPU, and what is refused there."""

import importlib

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.settings.load import load_settings
from common.settings.train import Train
from tests.nets.training.test_average import small
from tests.nets.training.test_freeze import Paddle, Torch, arrays
from tests.paths import ROOT

CONFIG = ROOT / "configs" / "stdc1_toy.yml"
SIDES = {"torch": Torch, "paddle": Paddle}


@pytest.fixture(params=SIDES)
def side(request):
    return SIDES[request.param]()


def trained(side, **keys):
    """Return a side whose precision is what `keys` of `train` say."""
    train = importlib.import_module(f"{side.room}.train")
    precision_of = importlib.import_module(f"{side.room}.precision").precision_of
    loss = importlib.import_module(f"{side.room}.losses").LOSSES["cross_entropy"]()
    net = side.net()
    rng = np.random.default_rng(0)
    drawn = {
        k: rng.standard_normal(v.shape).astype(v.dtype) if k.endswith(("weight", "bias")) else v
        for k, v in sorted(arrays(net).items())
    }
    train.load_arrays(net, drawn)
    settings = Train(iterations=9, **keys)
    made, optimizer = None, side.sgd(net)
    if side.room == "torch_ref":
        made = train.TorchSide(net, loss, optimizer)
        made.precision = precision_of(settings, net)
    else:
        made = train.PaddleSide(net, loss, optimizer)
        made.precision = precision_of(settings, net, optimizer)
    return made


def test_torch_computes_in_bfloat16_on_a_cpu():
    plain, half = trained(Torch()), trained(Torch(), precision="amp_o1")
    losses = [[made.step([small(k)], 0.1)["loss"] for k in range(3)] for made in (plain, half)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != pytest.approx(losses[1], rel=1e-5)
    assert {str(p.dtype) for p in half.net.parameters()} == {"torch.float32"}
    assert half.state().keys() == plain.state().keys()


def test_a_scaled_loss_skips_what_overflows_and_its_scale_is_resumed():
    keys = {"precision": "amp_o1", "amp": {"dtype": "float16", "loss_scale": 2.0**60}}
    made = trained(Torch(), **keys)
    before = arrays(made.net)
    loss = made.step([small(0)], 0.1)["loss"]
    assert np.isfinite(loss)
    after, state = arrays(made.net), made.state()
    assert np.array_equal(before["0.0.weight"], after["0.0.weight"])
    assert state["scaler.scale"] == 2.0**59
    keys["amp"] = {"dtype": "float16", "loss_scale": 8.0, "growth_interval": 2}
    made = trained(Torch(), **keys)
    for seed in range(3):
        made.step([small(seed)], 0.1)
    state = made.state()
    assert (state["scaler.scale"], state["scaler.growth"]) == (16.0, 1)
    fresh = trained(Torch(), **keys)
    fresh.load_state(state)
    for each in (made, fresh):
        each.step([small(9)], 0.1)
    one, other = made.state(), fresh.state()
    assert one["scaler.scale"] == 32.0
    assert all(np.array_equal(value, other[key]) for key, value in one.items())


class Scaler:
    """What Paddle's GradScaler does on a GPU; on a CPU it switches itself off."""

    def __init__(self):
        self.known = {"scale": np.array([8.0], "float32"), "incr_count": 3, "decr_count": 1}

    def scale(self, loss):
        return loss * float(self.known["scale"][0])

    def step(self, optimizer):
        for parameter in optimizer._parameter_list:
            if parameter.grad is not None:
                parameter.grad.set_value(parameter.grad / float(self.known["scale"][0]))
        optimizer.step()

    def update(self):
        self.known["incr_count"] += 1

    def state_dict(self):
        return dict(self.known)

    def load_state_dict(self, state):
        self.known = dict(state)


def test_a_step_of_paddle_goes_through_its_scaler():
    plain, scaled = trained(Paddle()), trained(Paddle())
    kind = importlib.import_module("paddle_impl.precision").Precision
    scaled.precision = kind("O0", "float16", Scaler())
    for made in (plain, scaled):
        made.step([small(0)], 0.1)
    for key, value in arrays(plain.net).items():
        np.testing.assert_allclose(arrays(scaled.net)[key], value, rtol=1e-6, atol=1e-7)
    state = scaled.state()
    assert (float(state["scaler.scale"]), float(state["scaler.growth"])) == (8.0, 4.0)
    state["scaler.scale"] = np.asarray(2.0)
    scaled.load_state(state)
    assert scaled.precision.scaler.known["scale"].tolist() == [2.0]
    assert scaled.precision.scaler.known["decr_count"] == 0


def test_master_weights_and_their_slots_are_saved_under_the_names_of_the_net():
    side = Paddle()
    train = importlib.import_module("paddle_impl.train")
    net = side.net()
    own = net[0][0].weight
    master = side.fw.ones(own.shape)
    master.name = f"{own.name}_fp32_master_0"
    velocity = side.fw.full(own.shape, 2.0)

    class Optimizer:
        def state_dict(self):
            slots = {f"{master.name}_velocity_0": velocity}
            return {**slots, "master_weights": {own.name: master}}

    slots = train.read_slots(net, None, Optimizer())
    assert {key: float(array.flat[0]) for key, array in slots.items()} == {
        "master.0.0.weight": 1.0,
        "velocity.0.0.weight": 2.0,
    }


def test_bfloat16_tensors_are_filled_from_bits_and_from_numbers():
    side = Paddle()
    train = importlib.import_module("paddle_impl.train")
    layer = side.fw.nn.Layer()
    layer.register_buffer("bits", side.fw.zeros([3]).astype("bfloat16"))
    numbers = np.array([1.0, 2.5, -3.0], "float32")
    train.load_arrays(layer, {"bits": numbers})
    held = train.read_arrays(layer)["bits"]
    assert held.dtype == np.uint16
    train.load_arrays(layer, {"bits": np.zeros(3, "float32")})
    train.load_arrays(layer, {"bits": held})
    assert layer.bits.astype("float32").numpy().tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"precision": "amp_o1"}, "train.precision is amp_o1, and on a CPU Paddle's auto_cast"),
        ({"precision": "amp_o2"}, "train.precision is amp_o2"),
        ({"tf32": True}, "train.tf32 is true, and on a CPU"),
        ({"channels_last": True}, "train.channels_last is true"),
    ],
)
def test_what_paddle_silently_does_not_do_on_a_cpu_is_refused(keys, told):
    pytest.importorskip("paddle").set_device("cpu")
    with pytest.raises(UserError, match=told) as caught:
        trained(Paddle(), **keys)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"precision": "amp_o2"}, "which is Paddle's: .* train.precision=amp_o1"),
        ({"tf32": False}, "a switch of a GPU's kernels"),
    ],
)
def test_what_torch_does_not_do_on_a_cpu_is_refused(keys, told):
    with pytest.raises(UserError, match=told):
        trained(Torch(), **keys)


def test_channels_last_of_torch_trains_the_same():
    plain, other = trained(Torch()), trained(Torch(), channels_last=True)
    for made in (plain, other):
        made.step([small(0)], 0.1)
    for key, value in arrays(plain.net).items():
        np.testing.assert_allclose(arrays(other.net)[key], value, rtol=1e-5, atol=1e-6)


def test_a_compiled_net_of_paddle_trains_the_same():
    plain, compiled = trained(Paddle()), trained(Paddle(), compile=True)
    for seed in range(2):
        losses = [made.step([small(seed)], 0.1)["loss"] for made in (plain, compiled)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for key, value in arrays(plain.net).items():
        np.testing.assert_allclose(arrays(compiled.net)[key], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("train.precision=amp", "train.precision is 'amp'"),
        ("train.amp={dtype: float16}", "amp goes with precision amp_o1 or amp_o2"),
        ("train={precision: amp_o1, amp: {loss_scale: 8.0}}", "bfloat16 needs no scaling"),
        ("train.amp.dtyp=float16", "did you mean train.amp.dtype?"),
        ("train.compil=true", "did you mean train.compile?"),
    ],
)
def test_keys_are_checked(given, told):
    with pytest.raises(ConfigError) as caught:
        load_settings(CONFIG, [given])
    assert told in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("level", ["amp_o1", "amp_o2"])
def test_paddle_trains_in_half_precision_on_a_gpu(level, dtype):
    paddle = pytest.importorskip("paddle")
    paddle.set_device("gpu")
    try:
        plain = trained(Paddle())
        half = trained(Paddle(), precision=level, amp={"dtype": dtype})
        losses = [[made.step([small(k)], 0.1)["loss"] for k in range(4)] for made in (plain, half)]
        assert losses[0] == pytest.approx(losses[1], rel=0.1)
        assert losses[0] != pytest.approx(losses[1], rel=1e-5)
        state = half.state()
        assert any(key.startswith("master.") for key in state) == (level == "amp_o2")
        fresh = trained(Paddle(), precision=level, amp={"dtype": dtype})
        fresh.load_state(state)
        for made in (half, fresh):
            made.step([small(9)], 0.1)
        one, other = half.state(), fresh.state()
        assert all(np.array_equal(value, other[key]) for key, value in one.items())
    finally:
        paddle.set_device("cpu")
