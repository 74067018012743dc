"""Rows of docs/differences.yml: optimizers, schedules, files."""

import os
import pickle

import numpy as np
import pytest

from tests.docs.differences.frameworks import (
    PADDLE2,
    apart,
    filled,
    float64_layers,
    optimizers_apart,
    paddle,
    pnn,
    popt,
    pt,
    tnn,
    topt,
    torch,
    tt,
)


def test_rmsprop():
    def error(scale: float = 1.0, **settings: float) -> float:
        return optimizers_apart(
            lambda p: topt.RMSprop(p, 0.01),
            lambda p: popt.RMSProp(0.01, parameters=p, **settings),
            scale,
        )

    assert error() > 0.05
    assert error(rho=0.99, epsilon=1e-8) < 1e-6
    assert error(1e-6, rho=0.99, epsilon=1e-8) > 0.1


def test_adagrad_epsilon():
    def error(**settings: float) -> float:
        return optimizers_apart(
            lambda p: topt.Adagrad(p, 0.01),
            lambda p: popt.Adagrad(0.01, parameters=p, **settings),
            scale=1e-6,
        )

    assert error() > 1e-3
    assert error(epsilon=1e-10) < 1e-12


def test_adadelta_rho():
    def error(**settings: float) -> float:
        return optimizers_apart(
            lambda p: topt.Adadelta(p, 1.0),
            lambda p: popt.Adadelta(1.0, parameters=p, **settings),
        )

    assert error() > 1e-3
    assert error(rho=0.9, epsilon=1e-6) < 1e-8


def test_adamax_epsilon():
    error = optimizers_apart(
        lambda p: topt.Adamax(p, 0.01), lambda p: popt.Adamax(0.01, parameters=p), scale=1e-6
    )
    assert 1e-4 < error < 1e-2


def test_asgd():
    if PADDLE2:
        assert not hasattr(popt, "ASGD")
        return
    error = optimizers_apart(
        lambda p: topt.ASGD(p, 0.01), lambda p: popt.ASGD(0.01, batch_num=4, parameters=p)
    )
    assert 1e-2 < error < 0.1


def test_momentum_float32():
    def reference(momentum: float, decay: float) -> float:
        return optimizers_apart(
            lambda p: topt.SGD(p, 0.01, momentum=momentum, weight_decay=decay),
            lambda p: popt.Momentum(0.01, 0.9, weight_decay=1e-4, parameters=p),
            steps=100,
        )

    assert 1e-8 < reference(0.9, 1e-4) < 1e-6
    assert reference(float(np.float32(0.9)), float(np.float32(1e-4))) < 1e-14


def test_momentum_dampening():
    error = optimizers_apart(
        lambda p: topt.SGD(p, 0.1, momentum=0.9, dampening=0.5),
        lambda p: popt.Momentum(0.1, 0.9, parameters=p),
    )
    assert error > 0.1
    with pytest.raises(TypeError):
        popt.Momentum(0.1, 0.9, dampening=0.5)


def test_optimizer_defaults():
    weight = filled(1)
    assert popt.Momentum(parameters=[weight])._momentum == 0.9
    assert popt.SGD(parameters=[weight]).get_lr() == 0.001
    assert torch.optim.SGD([tnn.Parameter(tt([1.0]))]).defaults["momentum"] == 0


def test_group_learning_rate():
    weight = filled(1)
    groups = [{"params": [weight], "learning_rate": 10.0}]
    optimizer = popt.SGD(0.1, parameters=groups)
    weight.sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(-1)
    theirs = tnn.Parameter(torch.zeros(1))
    reference = topt.SGD([{"params": [theirs], "lr": 10.0}], lr=0.1)
    theirs.sum().backward()
    reference.step()
    assert theirs.item() == pytest.approx(-10)


def test_unused_parameter_decays():
    def after(clear) -> float:
        weight = filled(1, value=1.0)
        optimizer = popt.SGD(1.0, parameters=[weight], weight_decay=0.1)
        (weight * 0).sum().backward()
        clear(optimizer)
        optimizer.step()
        return weight.item()

    assert after(lambda optimizer: optimizer.clear_grad()) == pytest.approx(0.9)
    assert after(lambda optimizer: optimizer.clear_grad(set_to_zero=False)) == 1
    theirs = tnn.Parameter(torch.ones(1))
    reference = topt.SGD([theirs], 1.0, weight_decay=0.1)
    (theirs * 0).sum().backward()
    reference.zero_grad()
    reference.step()
    assert theirs.item() == 1


def test_set_lr_with_a_schedule():
    optimizer = popt.SGD(popt.lr.StepDecay(0.1, 2), parameters=[filled(1)])
    with pytest.raises(RuntimeError, match="LRScheduler"):
        optimizer.set_lr(0.2)


def test_optimizer_state_names():
    """The slots are named by a counter of the process, not by the path in the net."""
    names = []
    for _ in range(2):
        layer = pnn.Linear(1, 1)
        optimizer = popt.Momentum(parameters=layer.parameters())
        layer(pt([[1.0]])).sum().backward()
        optimizer.step()
        names.append(set(optimizer.state_dict()))
    assert all("velocity" in name for name in names[0])
    assert names[0].isdisjoint(names[1])


def clipped(make_clip) -> list[float]:
    pairs = [(filled(1), pt([3.0])), (filled(1), pt([4.0]))]
    return [gradient.item() for _, gradient in make_clip(1.0)(pairs)]


def test_clip_by_norm_is_per_tensor():
    assert clipped(pnn.ClipGradByNorm) == pytest.approx([1, 1])
    assert clipped(pnn.ClipGradByGlobalNorm) == pytest.approx([0.6, 0.8])


def test_clip_global_norm_epsilon():
    gradient = np.array([3.0, 4.0])
    with float64_layers():
        weight = filled(2, dtype="float64")
        ported = pnn.ClipGradByGlobalNorm(1.0)([(weight, pt(gradient))])[0][1]
    theirs = tnn.Parameter(torch.zeros(2, dtype=torch.float64))
    theirs.grad = tt(gradient)
    tnn.utils.clip_grad_norm_([theirs], 1.0)
    assert apart(ported, theirs.grad) == pytest.approx(0.8 * 2e-7, rel=0.01)


def test_clip_global_norm_of_groups():
    weights = [filled(1), filled(1)]
    groups = [{"params": [weight]} for weight in weights]
    optimizer = popt.SGD(1.0, parameters=groups, grad_clip=pnn.ClipGradByGlobalNorm(1.0))
    (weights[0] * 3 + weights[1] * 4).sum().backward()
    optimizer.step()
    assert [weight.item() for weight in weights] == pytest.approx([-1, -1])
    theirs = [tnn.Parameter(torch.zeros(1)) for _ in range(2)]
    reference = topt.SGD([{"params": [weight]} for weight in theirs], 1.0)
    (theirs[0] * 3 + theirs[1] * 4).sum().backward()
    tnn.utils.clip_grad_norm_(theirs, 1.0)
    reference.step()
    assert [weight.item() for weight in theirs] == pytest.approx([-0.6, -0.8])


def test_gradient_after_clipping():
    weight = filled(1)
    clip = pnn.ClipGradByGlobalNorm(1.0)
    optimizer = popt.SGD(1.0, parameters=[weight], grad_clip=clip)
    (weight * 5).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(-1)
    assert weight.grad.item() == pytest.approx(5 if PADDLE2 else 1)


def test_polynomial_decay_end():
    schedule = popt.lr.PolynomialDecay(0.1, 2)
    for _ in range(2):
        schedule.step()
    assert schedule() == 1e-4
    theirs = topt.SGD([tnn.Parameter(tt([1.0]))], 0.1)
    reference = topt.lr_scheduler.PolynomialLR(theirs, 2)
    for _ in range(2):
        theirs.step(), reference.step()
    assert reference.get_last_lr() == [0]


def test_one_cycle_end():
    schedule = popt.lr.OneCycleLR(1.0, 10)
    theirs = topt.SGD([tnn.Parameter(tt([1.0]))], 1.0)
    reference = topt.lr_scheduler.OneCycleLR(theirs, 1.0, 10)
    for _ in range(9):
        schedule.step(), theirs.step(), reference.step()
    assert schedule() == pytest.approx(1e-4)
    assert reference.get_last_lr() == pytest.approx([4e-6])


def test_get_lr_of_a_schedule():
    schedule = popt.lr.CosineAnnealingDecay(0.1, 10)
    schedule.step()
    assert schedule() == pytest.approx(0.09755, abs=1e-5)
    assert schedule.last_lr == schedule()
    assert schedule.get_lr() == pytest.approx(0.09517, abs=1e-5)  # one step ahead


def test_schedule_is_given_to_the_optimizer():
    schedule = popt.lr.StepDecay(0.1, 1)
    bound, free = popt.SGD(schedule, parameters=[filled(1)]), popt.SGD(0.1, parameters=[filled(1)])
    schedule.step()
    assert bound.get_lr() == pytest.approx(0.01)
    assert free.get_lr() == 0.1
    theirs = topt.SGD([tnn.Parameter(tt([1.0]))], 0.1)
    reference = topt.lr_scheduler.StepLR(theirs, 1)
    theirs.step(), reference.step()
    assert theirs.param_groups[0]["lr"] == pytest.approx(0.01)


def test_set_state_dict_mismatch():
    state = {"weight": np.zeros((3, 2), "float32"), "extra": np.zeros(1, "float32")}
    layer = pnn.Linear(2, 3)
    before = layer.weight.numpy().copy()
    missing, unexpected = layer.set_state_dict(state)
    assert set(missing) == {"weight", "bias"}
    assert set(unexpected) == {"weight", "extra"}
    assert apart(layer.weight, before) == 0
    with pytest.raises(RuntimeError, match="size mismatch"):
        tnn.Linear(3, 2).load_state_dict({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)})


def test_set_state_dict_dtype():
    arrays = {"weight": np.zeros((2, 3)), "bias": np.zeros(3)}
    with pytest.raises(AssertionError, match="dtype not match"):
        pnn.Linear(2, 3).set_state_dict(arrays)
    torch_arrays = {"weight": torch.zeros(3, 2).double(), "bias": torch.zeros(3).double()}
    tnn.Linear(2, 3).load_state_dict(torch_arrays)


class MakesFolder:
    """A harmless stand-in for what an attacker would write."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_load_runs_code(tmp_path):
    content = pickle.dumps({"weight": MakesFolder(str(tmp_path / "ran"))})
    (tmp_path / "weights.pdparams").write_bytes(content)
    paddle.load(str(tmp_path / "weights.pdparams"))
    assert (tmp_path / "ran").is_dir()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "weights.pdparams")


def test_load_of_a_torch_file(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="can not parse"):
        paddle.load(str(tmp_path / "weights.pth"))


def test_bfloat16_is_saved_as_uint16(tmp_path):
    path = str(tmp_path / "weights.pdparams")
    paddle.save({"a": paddle.ones([1]).astype("bfloat16")}, path)
    assert paddle.load(path, return_numpy=True)["a"].dtype == np.uint16


def test_saved_ties(tmp_path):
    weight, path = paddle.ones([2]), str(tmp_path / "weights.pdparams")
    paddle.save({"a": weight, "b": weight}, path)
    loaded = paddle.load(path)
    loaded["a"].set_value(np.zeros(2, "float32"))
    assert loaded["b"].tolist() == [1, 1]
    theirs, path = torch.ones(2), str(tmp_path / "weights.pth")
    torch.save({"a": theirs, "b": theirs}, path)
    read = torch.load(path)
    read["a"].zero_()
    assert read["b"].tolist() == [0, 0]


def test_loader_order():
    def ours(seed: int) -> list[int]:
        np.random.seed(seed)
        data = paddle.io.TensorDataset([paddle.arange(64)])
        return [batch[0].tolist()[0] for batch in paddle.io.DataLoader(data, shuffle=True)]

    paddle.seed(0), torch.manual_seed(0)
    assert sorted(ours(0)) == list(range(64))
    assert ours(0) == ours(0) != ours(1)  # NumPy's generator decides, not paddle.seed
    data = torch.utils.data.TensorDataset(torch.arange(64))
    loader = torch.utils.data.DataLoader(data, shuffle=True)
    assert ours(0) != [batch[0].tolist()[0] for batch in loader]
