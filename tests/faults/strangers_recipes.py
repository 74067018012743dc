"""Faults in recipes of strangers: optimizers beyond SGD and Adam, clipping, schedulers, targets."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import torch
import torch.nn.functional as TF
from paddle import nn
from torch import nn as tnn
from torch.nn.utils import clip_grad_norm_

from tests.faults.core import Fault, Subject, fault, setting

STEP = "step training"
NORM = 0.05


def recipe(theirs: Any, ours: Any, losses: Any = None, label: Any = None) -> Callable[[], Subject]:
    """Return what builds two layers with a recipe; `label` draws targets of [5, 3]."""

    def make() -> Subject:
        from align.pairing.fill import fill_port
        from align.pairing.reference_torch import LiveReference

        torch.manual_seed(12)
        paddle.seed(12)
        rng = np.random.default_rng(12)
        s = Subject(tnn.Sequential(tnn.Linear(4, 5), tnn.Tanh(), tnn.Linear(5, 3)))
        s.paddle_net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        fill_port(LiveReference(s.torch_net), s.paddle_net)
        s.inputs, s.outputs = [rng.standard_normal((5, 4))], rng.standard_normal((5, 3)) * 2
        s.label = rng.integers(0, 3, 5) if label is None else label(rng)
        s.torch_loss, s.paddle_loss = losses or (TF.cross_entropy, F.cross_entropy)
        s.torch_optimizer, s.paddle_optimizer = theirs, ours
        s.stages = ("training",) if losses is None else ("loss", "training")
        s.steps = 2
        return s

    return make


def torch_sgd(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.1)


def sgd(parameters: Any, **options: Any) -> Any:
    return paddle.optimizer.SGD(0.1, parameters=parameters, **options)


class Clipped(torch.optim.SGD):
    """A loop's clip_grad_norm_ in front of the step."""

    def step(self, closure: Any = None) -> Any:
        clip_grad_norm_([p for group in self.param_groups for p in group["params"]], NORM)
        return super().step(closure)


class TorchLion(torch.optim.Optimizer):
    """As its authors publish it."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.add_(torch.sign(0.9 * m + 0.1 * p.grad), alpha=-group["lr"])
                m.mul_(0.99).add_(p.grad, alpha=0.01)


class Lion:
    """A plain class, no optimizer of Paddle's."""

    def __init__(self, parameters: Any, keeps: float = 0.99, takes: float = 0.9) -> None:
        self.parameters, self.lr, self.averages = parameters, 0.01, {}
        self.keeps, self.takes = keeps, takes

    @paddle.no_grad()
    def step(self) -> None:
        for p in self.parameters:
            m = self.averages.get(p.name, paddle.zeros_like(p))
            p.set_value(p - self.lr * paddle.sign(self.takes * m + (1 - self.takes) * p.grad))
            self.averages[p.name] = self.keeps * m + (1 - self.keeps) * p.grad

    def clear_grad(self) -> None:
        for p in self.parameters:
            p.clear_grad()

    def get_lr(self) -> float:
        return self.lr


def torch_scheduled(parameters: Any) -> Any:
    optimizer = torch_sgd(parameters)
    optimizer.schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    return optimizer


def scheduled(parameters: Any, gamma: float = 0.5) -> Any:
    rate = paddle.optimizer.lr.StepDecay(0.1, 1, gamma)
    return paddle.optimizer.SGD(rate, parameters=parameters)


def torch_bce(outputs: Any, label: Any) -> Any:
    return TF.binary_cross_entropy_with_logits(outputs, label, pos_weight=torch.tensor(3.0))


def bce(outputs: Any, label: Any, weight: float | None = 3.0) -> Any:
    weights = None if weight is None else paddle.to_tensor(weight, outputs.dtype)
    return F.binary_cross_entropy_with_logits(outputs, label, pos_weight=weights)


def torch_soft(outputs: Any, label: Any) -> Any:
    return TF.kl_div(TF.log_softmax(outputs, 1), label, reduction="batchmean")


def soft(outputs: Any, label: Any, reduction: str = "batchmean", axis: int = 1) -> Any:
    return F.kl_div(F.log_softmax(outputs, axis), label, reduction=reduction)


def torch_smooth(outputs: Any, label: Any) -> Any:
    hard = TF.cross_entropy(outputs, label, label_smoothing=0.1)
    return hard + TF.huber_loss(outputs, outputs.roll(1, 0).detach(), delta=0.3)


def smooth(outputs: Any, label: Any, smoothing: float = 0.1, delta: float = 0.3) -> Any:
    hard = F.cross_entropy(outputs, label, label_smoothing=smoothing)
    other = outputs.roll(1, 0).detach()
    return hard + F.smooth_l1_loss(outputs, other, delta=delta)


def _probabilities(rng: Any) -> Any:
    drawn = rng.random((5, 3)) + 0.1
    return (drawn / drawn.sum(1, keepdims=True)).astype("float32")


def _binary(rng: Any) -> Any:
    return rng.integers(0, 2, (5, 3)).astype("float32")


def _own(name: str, **options: Any) -> Any:
    """Return what makes an optimizer of Paddle's; it may have none of that name."""
    return lambda p: getattr(paddle.optimizer, name)(parameters=p, **options)


ADADELTA = {"learning_rate": 0.5, "rho": 0.9, "epsilon": 1e-6}
RPROP = {"learning_rate": 0.01, "learning_rate_range": (1e-6, 50.0)}

SUBJECTS = {
    "Adadelta": recipe(lambda p: torch.optim.Adadelta(p, lr=0.5), _own("Adadelta", **ADADELTA)),
    "NAdam": recipe(lambda p: torch.optim.NAdam(p, lr=0.01), _own("NAdam", learning_rate=0.01)),
    "RAdam": recipe(lambda p: torch.optim.RAdam(p, lr=0.01), _own("RAdam", learning_rate=0.01)),
    "Rprop": recipe(lambda p: torch.optim.Rprop(p, lr=0.01), _own("Rprop", **RPROP)),
    "lion": recipe(TorchLion, Lion),
    "clipped": recipe(
        lambda p: Clipped(p, lr=0.1),
        functools.partial(sgd, grad_clip=nn.ClipGradByGlobalNorm(NORM)),
    ),
    "scheduled": recipe(torch_scheduled, scheduled),
    "masks": recipe(torch_sgd, sgd, (torch_bce, bce), _binary),
    "soft labels": recipe(torch_sgd, sgd, (torch_soft, soft), _probabilities),
    "smooth": recipe(torch_sgd, sgd, (torch_smooth, smooth)),
}
NEWER = {"NAdam", "RAdam", "Rprop"}  # optimizers that Paddle 2.6.2 lacks
LACKING = {name for name in NEWER if not hasattr(paddle.optimizer, name)}
for _name in LACKING:
    del SUBJECTS[_name]

ALL_LAYERS = ("0", "2")


def wrong(
    subject: str,
    name: str,
    ours: Any,
    cause: str = "",
    stages: str = STEP,
    layers: Any = ALL_LAYERS,
) -> Fault:
    return fault(name, subject, setting("paddle_optimizer", ours), stages, layers, cause)


def wrong_loss(subject: str, name: str, cause: str = "", **options: Any) -> Fault:
    function = {"masks": bce, "soft labels": soft, "smooth": smooth}[subject]
    apply = setting("paddle_loss", functools.partial(function, **options))
    return fault(name, subject, apply, "loss", "", cause, step="(loss)")


_FAULTS: tuple[Fault, ...] = (
    wrong(
        "Adadelta",
        "rho of Adadelta",
        _own("Adadelta", **{**ADADELTA, "rho": 0.95}),
        "rho is 0.95, the reference's 0.9",
    ),
    wrong(
        "Adadelta",
        "epsilon of Adadelta",
        _own("Adadelta", **{**ADADELTA, "epsilon": 1e-4}),
        "epsilon",
    ),
    wrong("NAdam", "beta1 of NAdam", _own("NAdam", learning_rate=0.01, beta1=0.8), "beta1"),
    wrong("NAdam", "Adam for NAdam", _own("Adam", learning_rate=0.01)),
    wrong(
        "RAdam",
        "epsilon of RAdam",
        _own("RAdam", learning_rate=0.01, epsilon=1e-3),
        "epsilon",
        layers="(optimizer)",
    ),
    wrong("Rprop", "steps of Rprop", _own("Rprop", **RPROP, etas=(0.4, 1.2)), stages="training"),
    wrong("lion", "average of a plain class", lambda p: Lion(p, keeps=0.1), stages="training"),
    wrong(
        "clipped",
        "clipping per tensor",
        functools.partial(sgd, grad_clip=nn.ClipGradByNorm(NORM)),
        "norm of each tensor alone",
    ),
    wrong(
        "scheduled",
        "a scheduler that is not there",
        sgd,
        "the reference's has StepLR",
        "training",
        "(optimizer)",
    ),
    wrong(
        "scheduled",
        "another decay of the rate",
        functools.partial(scheduled, gamma=0.1),
        "the rate is",
        "training",
        "(optimizer)",
    ),
    wrong_loss("masks", "weight of the positive forgotten", weight=None),
    wrong_loss("soft labels", "mean over classes too", "reduction|times", reduction="mean"),
    wrong_loss("soft labels", "softmax over the batch", "softmax.*axis", axis=0),
    wrong_loss("smooth", "other label smoothing", "label_smoothing", smoothing=0.2),
    wrong_loss("smooth", "Huber's delta", "delta", delta=1.0),
)
FAULTS = tuple(fault for fault in _FAULTS if fault.subject not in LACKING)
