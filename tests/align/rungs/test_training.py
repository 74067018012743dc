"""The step and training rungs: every fault of a recipe shows at the first step where it acts."""

import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF
from paddle import nn as pnn
from torch import nn as tnn

from align import align_step, align_training
from align.pairing.fill import fill_port, load_state
from align.pairing.reference_torch import LiveReference
from common.schedules import warmup_poly
from convert import convert_state
from paddle_impl import losses as paddle_losses
from paddle_impl import optim as paddle_optim
from paddle_impl.layers import BatchNorm2D
from torch_ref import losses as torch_losses
from torch_ref import optim as torch_optim


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv = tnn.Conv2d(3, 4, 3, padding=1)
        self.norm = tnn.BatchNorm2d(4)
        self.drop = tnn.Dropout(0.3)
        self.fc = tnn.Linear(4, 5)
        self.spare = tnn.Linear(3, 3)

    def forward(self, x):
        return self.fc(self.drop(TF.gelu(self.norm(self.conv(x)))).mean((2, 3)))


class Port(pnn.Layer):
    def __init__(self, norm):
        super().__init__()
        self.conv = pnn.Conv2D(3, 4, 3, padding=1)
        self.norm = norm(4)
        self.drop = pnn.Dropout(0.3)
        self.fc = pnn.Linear(4, 5)
        self.spare = pnn.Linear(3, 3)

    def forward(self, x):
        return self.fc(self.drop(PF.gelu(self.norm(self.conv(x)))).mean(axis=[2, 3]))


def pair(norm=BatchNorm2D):
    torch.manual_seed(0)
    reference, port = Reference(), Port(norm)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def batches(count=4):
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((3, 3, 6, 5)), rng.integers(0, 5, (3,))) for _ in range(count)]


def sgd(parameters, decay=5e-4, **options):
    return torch.optim.SGD(
        parameters, **{"lr": 0.1, "momentum": 0.9, "weight_decay": decay, **options}
    )


def momentum(parameters, decay=5e-4, **options):
    return paddle.optimizer.Momentum(
        **{"learning_rate": 0.1, "momentum": 0.9, "weight_decay": decay, **options},
        parameters=parameters,
    )


def schedule(step):
    return warmup_poly(
        step, base_lr=0.1, warmup_start_lr=0.01, warmup_steps=2, max_steps=9, power=0.9
    )


def run(nets=None, optimizers=(sgd, momentum), schedules=(schedule, schedule), **options):
    nets = nets or pair()
    return align_training(
        *nets, batches(), TF.cross_entropy, PF.cross_entropy, *optimizers, *schedules, **options
    )


def found(report):
    return {(d.step, d.layer, d.where) for d in report.divergences}


OPTIMIZERS = {
    "momentum": (sgd, momentum),
    "nesterov": (
        lambda p: sgd(p, nesterov=True),
        lambda p: momentum(p, use_nesterov=True),
    ),
    "sgd": (
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: paddle.optimizer.SGD(0.1, parameters=p),
    ),
    "adam": (
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda p: paddle.optimizer.Adam(0.01, parameters=p),
    ),
    "adam with decay": (
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-3),
        lambda p: paddle.optimizer.Adam(0.01, parameters=p, weight_decay=1e-3),
    ),
    "adamw": (
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.02),
        lambda p: paddle.optimizer.AdamW(0.01, parameters=p, weight_decay=0.02),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_healthy_optimizers_are_aligned(name):
    report = run(optimizers=OPTIMIZERS[name])
    assert report.exit_code == 0, report.verdict
    assert len(report.settings["steps"]) == 4
    assert max(report.settings["free_run"][:1]) < 1e-12
    slots = {call.where for call in report.calls if call.where.startswith("slot")}
    assert bool(slots) == (name != "sgd")


def test_off_by_one_of_the_schedule_is_seen_at_the_first_step():
    report = run(schedules=(schedule, lambda step: schedule(step + 1)))
    assert found(report) == {(0, "(optimizer)", "lr")}
    assert "the rate is 0.0316" in report.divergences[0].cause


def test_schedule_that_differs_later_is_seen_where_it_acts():
    report = run(schedules=(schedule, lambda step: schedule(step) * (1.0 if step < 3 else 1.01)))
    assert found(report) == {(3, "(optimizer)", "lr")}


def test_other_rate_of_one_group_is_named_by_its_tensors():
    def theirs(parameters):
        return sgd([{"params": parameters[:4]}, {"params": parameters[4:], "lr": 1.0}])

    report = run(optimizers=(theirs, momentum))
    assert {(step, layer) for step, layer, where in found(report) if where == "lr"} == {
        (0, "fc"),
        (0, "spare"),
    }
    assert {where for _, _, where in found(report)} == {"lr"}


def test_decay_on_batchnorm_is_named_with_its_size():
    def ours(parameters):
        norm = [parameters[2], parameters[3]]
        rest = [p for p in parameters if all(p is not n for n in norm)]
        return momentum([{"params": rest}, {"params": norm, "weight_decay": 1e-3}])

    report = run(optimizers=(sgd, ours))
    assert {(step, layer) for step, layer, _ in found(report)} == {(0, "norm"), (1, "norm")} or {
        layer for _, layer, _ in found(report)
    } == {"norm"}
    weight = next(d for d in report.divergences if d.where == "weight:weight")
    assert weight.step == 0
    assert "as with weight decay 0.001, the reference has 0.0005" in weight.cause


def test_parameter_that_only_one_optimizer_holds_is_named():
    report = run(optimizers=(sgd, lambda p: momentum([q for q in p if q.shape != [4]])))
    layers = {d.layer for d in report.divergences}
    assert layers == {"conv", "norm"}
    assert "the port's does not hold it" in report.divergences[0].cause


def test_gradient_that_was_not_cleared_is_told():
    def ours(parameters):
        optimizer = momentum(parameters)
        optimizer.clear_grad = lambda *args, **kwargs: None
        return optimizer

    report = run(optimizers=(sgd, ours))
    assert min(d.step for d in report.divergences) == 1
    assert "not cleared" in report.divergences[0].cause


def test_biased_running_variance_is_a_known_difference():
    report = run(nets=pair(norm=pnn.BatchNorm2D))
    assert report.exit_code == 0, report.verdict
    notes = [note for note in report.notes if "biased" in note]
    assert len(notes) == 1
    assert "norm)" in notes[0]
    assert f"{89 / 90:.6g} of torch's" in notes[0]
    assert max(row["worst"] for row in report.settings["steps"]) < 1e-9  # it is no error


@pytest.mark.parametrize("name", ["_variance", "_mean"])
def test_running_statistics_beyond_the_known_difference_are_a_divergence(name):
    class Off(pnn.BatchNorm2D):
        def forward(self, input):
            output = super().forward(input)
            tensor = getattr(self, name)
            tensor.set_value(tensor * (1.0 + 1e-7))
            return output

    report = run(nets=pair(norm=Off))
    assert {(d.layer, d.where) for d in report.divergences} == {("norm", f"buffer:{name}")}


def test_momentum_in_torchs_meaning_is_no_known_difference():
    report = run(nets=pair(norm=lambda width: pnn.BatchNorm2D(width, momentum=0.1)))
    assert {d.layer for d in report.divergences} == {"norm"}
    words = (
        "momentum=0.1 of Paddle keeps 10 % of the old statistics, the reference's momentum=0.1 of "
        "torch keeps 90 %: Paddle needs momentum=0.9"
    )
    assert any(words in (d.cause or "") for d in report.divergences)


def test_other_momentum_shows_at_the_second_step():
    def other(parameters):
        return momentum(parameters, momentum=0.8)

    report = run(optimizers=(sgd, other))
    assert min(d.step for d in report.divergences) == 1
    assert report.verdict == (
        "not aligned: (optimizer): the optimizer's momentum is 0.8, the reference's 0.9"
    )
    line = f"test_training.py:{other.__code__.co_firstlineno}"
    assert all(str(d.paddle_source).endswith(line) for d in report.divergences)


def test_a_factory_may_say_where_it_is_written():
    def other(parameters):
        return momentum(parameters, momentum=0.8)

    other.source = "my.yml: optimizer"
    report = run(optimizers=(sgd, other))
    assert {d.paddle_source for d in report.divergences} == {"my.yml: optimizer"}


def test_wrong_loss_is_blamed_on_the_loss():
    nets = pair()
    report = align_training(
        *nets,
        batches(2),
        TF.cross_entropy,
        lambda o, y: PF.cross_entropy(o, y) * 1.0001,
        sgd,
        momentum,
    )
    assert {d.layer for d in report.divergences} == {"(loss)"}


def test_no_batch_could_not_be_checked():
    nets = pair()
    report = align_training(*nets, [], TF.cross_entropy, PF.cross_entropy, sgd, momentum)
    assert report.exit_code == 2


def test_nets_come_back_as_they_were():
    reference, port = pair()
    before = {k: v.numpy().tobytes() for k, v in port.state_dict().items()}
    theirs = {k: v.numpy().tobytes() for k, v in reference.state_dict().items()}
    run(nets=(reference, port))
    assert before == {k: v.numpy().tobytes() for k, v in port.state_dict().items()}
    assert theirs == {k: v.numpy().tobytes() for k, v in reference.state_dict().items()}
    assert all(str(v.dtype).endswith("float32") for v in port.state_dict().values())


def stdc_step(pair, image, **paddle_options):
    torch_net, paddle_net = pair
    batch = (image, np.random.default_rng(0).integers(0, 19, (len(image), *image.shape[2:])))
    theirs, ours = torch_losses.StdcLoss(), paddle_losses.StdcLoss()
    return align_step(
        torch_net,
        paddle_net,
        batch,
        theirs,
        ours,
        lambda _: torch_optim.stdc_sgd(torch_net, theirs, base_lr=0.01),
        lambda _: paddle_optim.stdc_sgd(paddle_net, ours, base_lr=0.01, **paddle_options),
    )


def test_step_of_the_stdc_recipe_is_aligned(stdc1_pair, stdc_input):
    report = stdc_step(stdc1_pair, stdc_input)
    assert report.exit_code == 0, report.verdict
    assert not report.noise
    assert "(loss)" in {call.layer for call in report.calls}
    assert any(call.where == "weight:fuse_kernel" for call in report.calls)


@pytest.mark.prove
def test_missing_group_of_the_stdc_recipe_is_named(stdc1_pair, stdc_input):
    report = stdc_step(stdc1_pair, stdc_input, head_lr_multiplier=1.0)
    heads = {d.layer.split(".")[0] for d in report.divergences if d.where == "lr"}
    assert heads == {"ffm", "conv_out", "conv_out16", "conv_out32"} | {
        f"conv_out_sp{stride}" for stride in (2, 4, 8, 16)
    }
    assert {d.where for d in report.divergences} == {"lr"}


def test_slot_that_only_the_port_keeps_is_found():
    plain = (lambda p: torch.optim.SGD(p, lr=0.1), lambda p: momentum(p, decay=None))
    report = run(optimizers=plain, schedules=(None, None))
    assert any("keeps momentum_buffer" in (d.cause or "") for d in report.divergences)


def test_schedules_that_start_at_zero_are_told():
    report = run(schedules=(schedule, lambda step: schedule(step) if step else 0.0))
    assert (0, "(optimizer)", "lr") in found(report)
    report = run(schedules=(lambda step: schedule(step) if step else 0.0, schedule))
    assert (0, "(optimizer)", "lr") in found(report)


def test_gradients_and_rates_that_the_caller_holds_come_back():
    reference, port = pair()
    port.fc.weight.grad = paddle.ones_like(port.fc.weight)
    report = run(nets=(reference, port))
    assert report.exit_code == 0, report.verdict
    assert (port.fc.weight.grad.numpy() == 1).all()
    assert port.conv.weight.grad is None


def test_decay_is_told_under_nesterov_and_a_failing_loss_ends_the_free_run():
    reference, port = torch.nn.Linear(4, 3), paddle.nn.Linear(4, 3)
    fill_port(LiveReference(reference), port)
    draw = np.random.default_rng(0)
    batches = [[draw.standard_normal((5, 4)), draw.integers(0, 3, 5)] for _ in range(2)]

    def loss(out, label):
        return paddle.nn.functional.cross_entropy(out, label)

    def fails(out, label):
        raise ValueError("no such class")

    def theirs(parameters):
        return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def ours(parameters):
        return paddle.optimizer.Momentum(
            0.1, 0.9, parameters=parameters, weight_decay=1e-4, use_nesterov=True
        )

    sides = reference, port, batches, torch.nn.functional.cross_entropy
    report = align_training(*sides, loss, theirs, ours)
    causes = {call.cause for call in report.divergences}
    assert causes == {"as with weight decay 0.0001, the reference has 0.0005"}
    report = align_training(*sides, fails, theirs, ours)
    assert report.exit_code == 1
    assert any("no such class" in str(call.cause) for call in report.divergences)
    assert any("run freely, the port fails at step 0" in note for note in report.notes)


def counting(kind, each):
    """A net of either framework that counts its calls in an attribute, by `each`, and uses it."""

    class Counting(kind):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.calls = 0

        def forward(self, x):
            self.calls += each
            return super().forward(x) * (1 + 0.1 * self.calls)

    return Counting


@pytest.mark.parametrize("each", [1, 2])
def test_what_layers_count_in_attributes_begins_anew_at_every_step(each):
    torch.manual_seed(0)
    reference, port = counting(Reference, 1)(), counting(Port, each)(BatchNorm2D)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    report = run((reference, port))
    assert (reference.calls, port.calls) == (0, 0)
    assert report.exit_code == each - 1
    if each == 1:
        assert max(report.settings["free_run"]) < 1e-9
    else:
        found = {(d.layer, d.where, d.step) for d in report.divergences}
        assert found == {("", "output:0", 0), ("", "grad_output:0", 0)}


def test_a_step_keeps_few_copies_of_the_weights():
    width, deep = 256, 8
    reference = tnn.Sequential(*(tnn.Linear(width, width) for _ in range(deep)))
    port = pnn.Sequential(*(pnn.Linear(width, width) for _ in range(deep)))
    fill_port(LiveReference(reference), port, None)

    def climb():
        return align_step(
            *(reference, port, [np.ones((2, width), "float32"), np.zeros(1)]),
            *(lambda outputs, _: (outputs**2).mean(),) * 2,
            lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
            lambda parameters: paddle.optimizer.Momentum(0.1, parameters=parameters),
        )

    climb()  # imports and caches
    tracemalloc.start()
    try:
        assert climb().exit_code == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    weights = deep * width * (width + 1) * 8
    assert peak < 3 * weights  # numpy's alone: the start, the gradients
