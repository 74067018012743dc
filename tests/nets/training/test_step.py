"""One step, the protocol of evaluation, and resuming, in each framework."""

import importlib

import numpy as np
import pytest

from common.data import Batch
from common.data.toy import write_toy_cityscapes
from common.errors import ConversionError, UserError
from common.settings.load import load_settings
from common.settings.run import Evaluate
from common.training import Reporter, train
from common.training.feed import open_data
from common.training.net_side import main_logits
from tests.paths import ROOT

CONFIG = ROOT / "configs" / "stdc1_toy.yml"


class Torch:
    name, package = "torch", "torch_ref"

    def __init__(self):
        self.fw = pytest.importorskip("torch")
        self.fw.set_num_threads(1)
        self.nn, self.train = self.fw.nn, importlib.import_module("torch_ref.train")

    def net(self, dropout=0.0):
        nn, fw = self.nn, self.fw

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, padding=1)
                self.drop = nn.Dropout(dropout)
                self.out = nn.Conv2d(8, 19, 1)
                self.use_all = False
                self.unused = nn.Conv2d(3, 2, 1)

            def forward(self, x):
                logits = self.out(self.drop(fw.nn.functional.relu(self.conv(x))))
                return logits + self.unused(x)[:, :1] if self.use_all else logits

        return Net()

    def optimizer(self, net):
        return self.fw.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)

    def side(self, net, criterion, optimizer):
        return self.train.TorchSide(net, criterion, optimizer)

    def pick(self):
        """A net whose logits are channels of the image."""
        nn = self.nn

        class Pick(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(self_fw.ones(1))

            def forward(self, x):
                seen.append(tuple(x.shape))
                return (x[:, :2] * self.weight, x)

        self_fw, seen = self.fw, []
        return Pick(), seen


class Paddle(Torch):
    name, package = "paddle", "paddle_impl"

    def __init__(self):
        self.fw = pytest.importorskip("paddle")
        self.nn, self.train = self.fw.nn, importlib.import_module("paddle_impl.train")

    def net(self, dropout=0.0):
        nn, fw = self.nn, self.fw

        class Net(nn.Layer):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2D(3, 8, 3, padding=1)
                self.drop = nn.Dropout(dropout)
                self.out = nn.Conv2D(8, 19, 1)
                self.use_all = False
                self.unused = nn.Conv2D(3, 2, 1)

            def forward(self, x):
                logits = self.out(self.drop(fw.nn.functional.relu(self.conv(x))))
                return logits + self.unused(x)[:, :1] if self.use_all else logits

        return Net()

    def optimizer(self, net):
        return self.fw.optimizer.Momentum(
            1.0, momentum=0.9, parameters=net.parameters(), weight_decay=0.1
        )

    def side(self, net, criterion, optimizer):
        return self.train.PaddleSide(net, criterion, optimizer)

    def pick(self):
        nn = self.nn

        class Pick(nn.Layer):
            def __init__(self):
                super().__init__()
                one = nn.initializer.Constant(1.0)
                self.weight = self.create_parameter([1], default_initializer=one)

            def forward(self, x):
                seen.append(tuple(x.shape))
                return (x[:, :2] * self.weight, x)

        seen = []
        return Pick(), seen


@pytest.fixture(params=[Torch, Paddle], ids=["torch", "paddle"])
def side(request):
    return request.param()


def criterion(side, name="cross_entropy"):
    return importlib.import_module(f"{side.package}.losses").LOSSES[name]()


def batch(count, seed=0, size=(16, 24)):
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((count, 3, *size)).astype(np.float32)
    return Batch(image, rng.integers(0, 19, (count, *size)))


def split(whole, size):
    return [
        Batch(whole.image[at : at + size], whole.label[at : at + size])
        for at in range(0, len(whole.label), size)
    ]


def weights(net):
    return {key: np.array(value.detach().numpy()) for key, value in net.state_dict().items()}


def copy_weights(side, source, target):
    side.train.load_arrays(target, weights(source))


def test_micro_batches_give_the_update_of_the_whole_batch(side):
    one, other = side.net(), side.net()
    copy_weights(side, one, other)
    whole = batch(6)
    loss = criterion(side)
    optimizers = [side.optimizer(net) for net in (one, other)]
    for _ in range(3):
        a = side.train.train_step(one, loss, optimizers[0], [whole], 0.1)
        b = side.train.train_step(other, loss, optimizers[1], split(whole, 2), 0.1)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    for key, value in weights(one).items():
        assert np.allclose(value, weights(other)[key], atol=1e-6), key


def test_the_mean_over_micro_batches_is_not_their_sum(side):
    one, other = side.net(), side.net()
    copy_weights(side, one, other)
    whole = batch(4)
    side.train.train_step(one, criterion(side), side.optimizer(one), [whole], 0.5)
    side.train.train_step(other, criterion(side), side.optimizer(other), [whole, whole], 0.5)
    for key, value in weights(one).items():
        assert np.allclose(value, weights(other)[key], atol=1e-6), key


class OfSeveral:
    """A criterion of a target with several arrays: a cross-entropy, weighted pixel by pixel."""

    def __init__(self, loss):
        self.loss, self.named_parameters = loss, loss.named_parameters

    def parts(self, outputs, target):
        weight = target["weight"].mean()
        return {"semantic": self.loss(outputs, target["semantic"]) * weight, "twice": weight * 2}

    def total(self, parts):
        return parts["semantic"] + parts["twice"]


def test_a_target_may_be_several_arrays(side):
    one, other = side.net(), side.net()
    copy_weights(side, one, other)
    whole = batch(4)
    arrays = {"semantic": whole.label, "weight": np.ones((4, 16, 24), np.float32)}
    of_several = Batch(whole.image, {**arrays, "points": [[], [1], [2], []]})
    a = side.train.train_step(one, criterion(side), side.optimizer(one), [whole], 0.5)
    loss = OfSeveral(criterion(side))
    b = side.train.train_step(other, loss, side.optimizer(other), [of_several], 0.5)
    assert b == {"semantic": a["loss"], "twice": 2.0, "loss": pytest.approx(a["loss"] + 2)}
    for key, value in weights(one).items():
        assert np.array_equal(value, weights(other)[key]), key


def test_the_rate_counts_in_the_very_step_it_is_given_to(side):
    net = side.net()
    before, optimizer = weights(net), side.optimizer(net)
    side.train.train_step(net, criterion(side), optimizer, [batch(2)], 0.0)
    after = weights(net)
    assert all(np.array_equal(before[key], after[key]) for key in before)
    side.train.train_step(net, criterion(side), optimizer, [batch(2)], 0.1)
    assert not np.array_equal(before["out.weight"], weights(net)["out.weight"])


def test_a_parameter_without_gradient_does_not_decay(side):
    net = side.net()
    start, optimizer = weights(net), side.optimizer(net)
    side.train.train_step(net, criterion(side), optimizer, [batch(2)], 0.1)
    assert np.array_equal(start["unused.weight"], weights(net)["unused.weight"])
    assert "velocity.unused.weight" not in side.train.read_slots(net, None, optimizer)
    assert "velocity.conv.weight" in side.train.read_slots(net, None, optimizer)
    # Nor where it had one in an earlier step.
    net.use_all = True
    side.train.train_step(net, criterion(side), optimizer, [batch(2)], 0.1)
    before = weights(net)
    assert not np.array_equal(start["unused.weight"], before["unused.weight"])
    net.use_all = False
    for _ in range(2):
        side.train.train_step(net, criterion(side), optimizer, [batch(2)], 0.1)
    assert np.array_equal(before["unused.weight"], weights(net)["unused.weight"])


def test_a_step_runs_in_the_dtype_of_the_net(side):
    default = side.fw.get_default_dtype()
    double = "float64" if side.name == "paddle" else side.fw.float64
    side.fw.set_default_dtype(double)
    try:
        net = side.net()
    finally:
        side.fw.set_default_dtype(default)
    side.train.train_step(net, criterion(side), side.optimizer(net), [batch(2)], 0.1)
    assert weights(net)["conv.weight"].dtype == np.float64


def test_slots_go_into_a_fresh_optimizer_without_touching_weights(side):
    net = side.net()
    optimizer = side.optimizer(net)
    for seed in range(3):
        side.train.train_step(net, criterion(side), optimizer, [batch(2, seed)], 0.1)
    slots, before = side.train.read_slots(net, None, optimizer), weights(net)
    twin = side.net()
    copy_weights(side, net, twin)
    fresh = side.optimizer(twin)
    side.train.write_slots(twin, None, fresh, slots)
    assert all(np.array_equal(before[key], value) for key, value in weights(twin).items())
    for a, b in ((net, optimizer), (twin, fresh)):
        side.train.train_step(a, criterion(side), b, [batch(2, 9)], 0.1)
    assert all(np.array_equal(v, weights(twin)[k]) for k, v in weights(net).items())
    with pytest.raises(UserError, match="nothing"):
        side.train.write_slots(twin, None, fresh, {"velocity.nothing": np.zeros(1)})


def test_rmsprop_continues_from_its_saved_slots(side):
    build = importlib.import_module(f"{side.package}.optim").build_optimizer

    def begin():
        net = side.net()
        return net, build("unet_rmsprop", net, base_lr=0.01)

    net, optimizer = begin()
    for seed in range(3):
        side.train.train_step(net, criterion(side), optimizer, [batch(2, seed)], 0.01)
    part = side.side(net, criterion(side), optimizer)
    state = part.state()
    assert {"velocity.conv.weight", "square_avg.conv.weight"} <= state.keys()
    twin, fresh = begin()
    side.side(twin, criterion(side), fresh).load_state(state)
    for a, b in ((net, optimizer), (twin, fresh)):
        side.train.train_step(a, criterion(side), b, [batch(2, 9)], 0.01)
    assert all(np.array_equal(v, weights(twin)[k]) for k, v in weights(net).items())


@pytest.mark.parametrize("kind", [dict, list, tuple])
def test_the_main_output_is_evaluated(kind):
    outputs = {"aux": 1, "out": 2} if kind is dict else kind([2, 1])
    assert main_logits(outputs) == 2


def resize(maps, size):
    """Bilinear with aligned corners, corner by corner: [H, W] -> size."""
    height, width = maps.shape
    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            at_y = y * (height - 1) / (size[0] - 1)
            at_x = x * (width - 1) / (size[1] - 1)
            y0, x0 = min(int(at_y), height - 2), min(int(at_x), width - 2)
            v, u = at_y - y0, at_x - x0
            out[y, x] = (1 - v) * ((1 - u) * maps[y0, x0] + u * maps[y0, x0 + 1])
            out[y, x] += v * ((1 - u) * maps[y0 + 1, x0] + u * maps[y0 + 1, x0 + 1])
    return out


@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_evaluation_resizes_the_tensor_down_and_the_logits_up(side, scale):
    net, seen = side.pick()
    image = batch(2, size=(10, 14)).image
    small = (int(10 * scale), int(14 * scale))
    expected = [[resize(resize(c, small), (10, 14)) for c in frame[:2]] for frame in image]
    classes = side.train.predict(net, image, Evaluate(scale=scale, align_corners=True))
    assert seen == [(2, 3, *small)]
    assert classes.shape == (2, 10, 14)
    assert np.array_equal(classes, np.argmax(expected, axis=1))
    assert not net.training


def test_strict_loading_names_what_does_not_fit(side):
    net = side.net()
    arrays = weights(net)
    cases = {
        "not in the file": {k: v for k, v in arrays.items() if k != "conv.bias"},
        "not in the net": {**arrays, "more": np.zeros(1)},
        r"\(5,\) in the file, \(8,\) in the net": {**arrays, "conv.bias": np.zeros(5)},
    }
    for words, given in cases.items():
        with pytest.raises(ConversionError, match=words):
            side.train.load_arrays(net, given)
    part = {k: v + 1 for k, v in arrays.items() if k.startswith("conv.")}
    side.train.load_arrays(net, part, "conv")
    assert np.array_equal(weights(net)["conv.bias"], arrays["conv.bias"] + 1)


def test_a_gpu_that_is_not_there_is_refused(side):
    if side.name == "torch" and side.fw.cuda.is_available():
        pytest.skip("there is a GPU, which nothing refuses")
    if side.name == "paddle" and side.fw.is_compiled_with_cuda():
        pytest.skip("a GPU build: there may be a GPU")
    with pytest.raises(UserError, match="--device cpu"):
        side.train.choose_device("gpu")


class StopAt(Reporter):
    def __init__(self, iteration):
        self.iteration = iteration

    def step(self, row):
        import os
        import signal

        if row["iteration"] == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_resumed_run_has_the_weights_log_and_dropout_of_an_uninterrupted_one(side, tmp_path):
    write_toy_cityscapes(tmp_path / "toy", train=4, val=2, size_hw=(64, 128))
    overrides = [
        f"data.root={tmp_path / 'toy'}",
        "data.crop_hw=[32,64]",
        "data.batch_size=2",
        "data.cards=2",
        "train.iterations=6",
        "train.log_interval=4",
        "train.eval_interval=3",
        "schedule.warmup_steps=2",
    ]

    def go(folder, reporter=None, resume=None):
        settings = load_settings(CONFIG, [*overrides, f"output={tmp_path / folder}"])
        side.fw.manual_seed(0) if side.name == "torch" else side.fw.seed(0)
        net = side.net(dropout=0.5)
        part = side.side(net, criterion(side), side.optimizer(net))
        outcome = train(settings, part, open_data(settings), resume=resume, reporter=reporter)
        return part.state(), (outcome.folder / "log.jsonl").read_bytes()

    state, log = go("whole")
    go("cut", StopAt(3))
    again, again_log = go("cut", resume="auto")
    assert again_log == log
    assert state.keys() == again.keys()
    assert any(key.startswith("velocity.") for key in state)
    assert all(np.array_equal(value, again[key]) for key, value in state.items())
    # The masks of dropout do differ between steps: without new seeds they would repeat.
    seeds = {importlib.import_module("common.training.loop").step_seed(0, k) for k in range(9)}
    assert len(seeds) == 9


def test_bfloat16_bits_are_not_taken_for_numbers():
    pytest.importorskip("paddle")
    import ml_dtypes

    side = Paddle()
    net = side.net()
    bits = np.arange(8).astype(ml_dtypes.bfloat16).view(np.uint16)
    side.train.load_arrays(net, {**weights(net), "conv.bias": bits})
    assert np.array_equal(weights(net)["conv.bias"], np.arange(8))
