"""Faults of optimizers, schedules and losses, on a convolution, BatchNorm and Linear."""

import functools
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import torch
import torch.nn.functional as TF
from paddle import nn
from torch import nn as tnn

from common.schedules import poly, warmup_poly
from paddle_impl.average import Average
from paddle_impl.layers import BatchNorm2D
from tests.faults.core import Fault, Subject, attribute, fault, setting
from tests.faults.students import make_pair
from torch_ref.average import Average as TorchAverage


class TorchNet(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = tnn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = tnn.BatchNorm2d(4)
        self.drop = tnn.Dropout(0.3)
        self.fc = tnn.Conv2d(4, 5, 1)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(TF.gelu(self.norm(self.conv(x)))))


class Net(nn.Layer):
    def __init__(self, norm: Any = BatchNorm2D) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, padding=1, bias_attr=False)
        self.norm = norm(4)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Conv2D(4, 5, 1)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(F.gelu(self.norm(self.conv(x)))))


def torch_ce(outputs: Any, label: Any) -> Any:
    return TF.cross_entropy(outputs, label, ignore_index=255)


def ce(outputs: Any, label: Any, **options: Any) -> Any:
    return F.cross_entropy(outputs, label, **{"ignore_index": 255, "axis": 1, **options})


def sgd(parameters: Any, **options: Any) -> Any:
    return torch.optim.SGD(
        parameters, **{"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, **options}
    )


def momentum(parameters: Any, **options: Any) -> Any:
    return paddle.optimizer.Momentum(
        **{"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, **options},
        parameters=parameters,
    )


def schedule(step: int) -> float:
    return warmup_poly(
        step, base_lr=0.1, warmup_start_lr=0.01, warmup_steps=2, max_steps=9, power=0.9
    )


def linear_warmup(step: int) -> float:
    return 0.01 + (0.1 - 0.01) * step / 2 if step < 2 else schedule(step)


def _subject(theirs: Any = sgd, ours: Any = momentum, scheduled: bool = True) -> Any:
    def make() -> Subject:
        torch.manual_seed(8)
        paddle.seed(8)
        rng = np.random.default_rng(8)
        label = rng.integers(0, 5, (3, 5, 5))
        label[:, 0] = 255
        s = Subject(*make_pair(TorchNet(), Net()))
        s.inputs, s.label = [rng.standard_normal((3, 3, 5, 5))], label
        s.outputs = rng.standard_normal((3, 5, 5, 5))
        s.torch_loss, s.paddle_loss = torch_ce, ce
        s.torch_optimizer, s.paddle_optimizer = theirs, ours
        if scheduled:
            s.torch_schedule, s.paddle_schedule = schedule, schedule
        s.torch_average = functools.partial(TorchAverage, decay=0.9, warm_up=False)
        s.paddle_average = functools.partial(Average, decay=0.9, warm_up=False)
        s.stages = ("weights", "forward", "train", "loss", "backward", "step", "training")
        return s

    return make


class _Clipped(torch.optim.SGD):
    """A loop's clip_grad_norm_ in front of the step."""

    def step(self, closure: Any = None) -> Any:
        parameters = [p for g in self.param_groups for p in g["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 0.05)
        return super().step(closure)


def clipped(parameters: Any, **options: Any) -> Any:
    return _Clipped(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4, **options)


def paddle_clipped(parameters: Any, limit: float = 0.05) -> Any:
    from paddle_impl.optim import ClipGradNorm

    return momentum(parameters, grad_clip=ClipGradNorm(limit))


sgd_subject = _subject()
clip_subject = _subject(clipped, paddle_clipped)
plain_subject = _subject(
    lambda p: torch.optim.SGD(p, lr=0.1), lambda p: paddle.optimizer.SGD(0.1, parameters=p)
)
dampened_subject = _subject(
    lambda p: sgd(p, momentum=0.5, weight_decay=0.0),
    lambda p: momentum(p, momentum=0.5, weight_decay=None),
)
adam_subject = _subject(
    lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    lambda p: paddle.optimizer.Adam(0.01, parameters=p, weight_decay=0.01),
    scheduled=False,
)
adamw_subject = _subject(
    lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.02),
    lambda p: paddle.optimizer.AdamW(0.01, parameters=p, weight_decay=0.02),
    scheduled=False,
)
adagrad_subject = _subject(
    lambda p: torch.optim.Adagrad(p, lr=0.01),
    lambda p: paddle.optimizer.Adagrad(0.01, epsilon=1e-10, parameters=p),
    scheduled=False,
)


def _own_rmsprop(parameters: Any) -> Any:
    from paddle_impl.optim import ClippedRMSprop

    return ClippedRMSprop(
        parameters, lr=0.01, alpha=0.99, epsilon=1e-8, weight_decay=0.0, momentum=0.9, max_norm=1e9
    )


rmsprop_subject = _subject(
    lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9), _own_rmsprop, scheduled=False
)

ALL_LAYERS = ("conv", "norm", "fc")


def _optimizer(**options: Any) -> Any:
    return setting("paddle_optimizer", functools.partial(momentum, **options))


def _grouped(s: Subject) -> None:
    """The reference spares norms and biases; the port decays everything."""

    def theirs(parameters: Any) -> Any:
        spared = [p for p in parameters if p.dim() == 1]
        decayed = [p for p in parameters if p.dim() > 1]
        return sgd([{"params": decayed}, {"params": spared, "weight_decay": 0.0}])

    s.torch_optimizer = theirs


def _multiplied(s: Subject) -> None:
    """torch's rate of a group is absolute, Paddle multiplies."""

    def theirs(parameters: Any) -> Any:
        return sgd([{"params": parameters[:3]}, {"params": parameters[3:], "lr": 1.0}])

    def ours(parameters: Any) -> Any:
        rest = parameters[:3]
        return momentum([{"params": rest}, {"params": parameters[3:], "learning_rate": 1.0}])

    s.torch_optimizer, s.paddle_optimizer = theirs, ours


def _not_cleared(s: Subject) -> None:
    def ours(parameters: Any) -> Any:
        optimizer = momentum(parameters)
        optimizer.clear_grad = lambda *args, **kwargs: None
        return optimizer

    s.paddle_optimizer = ours


def _scaled_gradients(factor: float) -> Any:
    """A port that adds up micro-batches without dividing, or divides twice."""

    def apply(s: Subject) -> None:
        inner = s.paddle_optimizer

        def ours(parameters: Any) -> Any:
            optimizer = inner(parameters)
            step = optimizer.step

            def scaled() -> None:
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter.grad.set_value(parameter.grad * factor)
                step()

            optimizer.step = scaled
            return optimizer

        s.paddle_optimizer = ours

    return apply


def _decoupled(s: Subject) -> None:
    s.paddle_optimizer = lambda p: paddle.optimizer.AdamW(0.01, parameters=p, weight_decay=0.01)


def _forgot_one(s: Subject) -> None:
    s.paddle_optimizer = lambda p: momentum([q for q in p if q.ndim > 1])


class _OfParameters(Average):
    """Copies running statistics instead of averaging them."""

    def update(self) -> None:
        super().update()
        for name, tensor in self._live().items():
            if name.endswith(("_mean", "_variance")):
                self.held[name].set_value(tensor)


def _wrong_ignore(outputs: Any, label: Any) -> Any:
    label = paddle.where(label == 255, paddle.zeros_like(label), label)
    return ce(outputs, label)


STEP = "step training"
rec = functools.partial(fault, subject="sgd")

FAULTS: tuple[Fault, ...] = (
    rec(
        "schedule one step ahead",
        apply=setting("paddle_schedule", lambda k: schedule(k + 1)),
        stages="training",
        layers="(optimizer)",
        cause="one step ahead",
    ),
    rec(
        "schedule one step behind",
        apply=setting("paddle_schedule", lambda k: schedule(max(k - 1, 0))),
        stages="training",
        layers="(optimizer)",
        cause="one step behind",
    ),
    rec(
        "linear warm-up for the geometric one",
        apply=setting("paddle_schedule", linear_warmup),
        stages="training",
        layers="(optimizer)",
        cause="the rate is",
    ),
    rec(
        "no warm-up",
        stages="training",
        layers="(optimizer)",
        cause="the rate is",
        apply=setting("paddle_schedule", lambda k: poly(k, base_lr=0.1, max_steps=9, power=0.9)),
    ),
    rec(
        "rate wrong from step 2 on",
        stages="training",
        layers="(optimizer)",
        apply=setting("paddle_schedule", lambda k: schedule(k) * (1.01 if k > 1 else 1.0)),
        cause=r"1\.01 times",
    ),
    rec(
        "no group without decay",
        apply=_grouped,
        stages=STEP,
        layers=["norm", "fc"],
        cause="weight decay 0.0005, the reference has 0",
    ),
    rec(
        "absolute rate taken for a multiplier",
        apply=_multiplied,
        stages=STEP,
        layers="fc",
        cause="the rate is",
    ),
    rec(
        "another decay",
        apply=_optimizer(weight_decay=1e-4),
        stages=STEP,
        layers=ALL_LAYERS,
        cause="weight decay 0.0001, the reference has 0.0005",
    ),
    rec(
        "nesterov",
        apply=_optimizer(use_nesterov=True),
        stages=STEP,
        layers=ALL_LAYERS,
        cause="nesterov",
    ),
    rec(
        "another momentum",
        apply=_optimizer(momentum=0.8),
        stages="training",
        layers=ALL_LAYERS,
        step="(optimizer)",
        cause=r"momentum is 0\.8",
    ),
    rec(
        "plain SGD for momentum",
        stages=STEP,
        layers=ALL_LAYERS,
        cause="momentum",
        apply=setting(
            "paddle_optimizer", lambda p: paddle.optimizer.SGD(0.1, parameters=p, weight_decay=5e-4)
        ),
    ),
    rec(
        "gradient not cleared",
        apply=_not_cleared,
        stages="training",
        layers=ALL_LAYERS,
        cause="not cleared",
    ),
    rec(
        "gradients of micro-batches summed",
        apply=_scaled_gradients(2.0),
        stages=STEP,
        layers=ALL_LAYERS,
        cause="2 times the gradient",
    ),
    rec(
        "gradients of micro-batches averaged twice",
        apply=_scaled_gradients(0.25),
        stages=STEP,
        layers=ALL_LAYERS,
        cause=r"0\.25 times the gradient",
    ),
    rec(
        "parameters that the optimizer does not hold",
        apply=_forgot_one,
        stages=STEP,
        layers=["norm", "fc"],
        cause="does not hold it",
    ),
    rec(
        "BatchNorm momentum in torch's meaning",
        apply=attribute("norm", _momentum=0.1),
        stages="weights train step",
        layers="norm",
        cause="momentum=0.1 of Paddle keeps 10 %",
    ),
    rec(
        "dropout keeps another share",
        apply=attribute("drop", p=0.5),
        stages="weights train backward step",
        layers="drop",
        cause="rate is 0.5",
    ),
    rec(
        "ignored pixels count as class 0",
        apply=setting("paddle_loss", _wrong_ignore),
        stages="loss",
        layers="",
        step="(loss)",
    ),
    rec(
        "loss is summed",
        apply=setting("paddle_loss", functools.partial(ce, reduction="sum")),
        stages="loss",
        layers="",
        step="(loss)",
        cause="reduction|times",
    ),
    rec(
        "loss is halved",
        stages="loss",
        layers="",
        step="(loss)",
        cause=r"0\.5 times",
        apply=setting("paddle_loss", lambda o, y: ce(o, y) * 0.5),
    ),
    rec(
        "label smoothing",
        stages="loss",
        layers="",
        step="(loss)",
        apply=setting(
            "paddle_loss", lambda o, y: ce(o, y) * 0.9 - 0.1 * F.log_softmax(o, axis=1).mean()
        ),
    ),
    rec(
        "cross-entropy over the last axis",
        stages="loss",
        layers="",
        step="(loss)",
        apply=setting("paddle_loss", lambda o, y: F.cross_entropy(o, y, ignore_index=255, axis=-1)),
        cause="cross_entropy.*axis",
    ),
    rec(
        "average with another decay",
        apply=setting("paddle_average", functools.partial(Average, decay=0.99, warm_up=False)),
        stages=STEP,
        layers="(average)",
        cause="an update keeps 0.99 of the moving average, in the reference 0.9$",
    ),
    rec(
        "average with a warm-up",
        apply=setting("paddle_average", functools.partial(Average, decay=0.9, warm_up=True)),
        stages=STEP,
        layers="(average)",
        cause="an update keeps 0.1 of",
    ),
    rec(
        "running statistics are not averaged",
        apply=setting("paddle_average", functools.partial(_OfParameters, decay=0.9, warm_up=False)),
        stages=STEP,
        layers="norm",
        cause="an update keeps 0 of",
    ),
    fault(
        "clip missing",
        "clip",
        setting("paddle_optimizer", momentum),
        STEP,
        ALL_LAYERS,
        cause="clipped not at all, in the reference by the norm of all together",
    ),
    fault(
        "clip at another norm",
        "clip",
        setting("paddle_optimizer", lambda p: paddle_clipped(p, 0.1)),
        STEP,
        ALL_LAYERS,
        cause=r"all together \(0\.1\), in the reference by the norm of all together \(0\.05",
    ),
    fault(
        "momentum for plain SGD",
        "plain",
        setting("paddle_optimizer", lambda p: momentum(p, weight_decay=None)),
        STEP,
        ALL_LAYERS,
        cause="keeps momentum_buffer",
    ),
    fault(
        "dampening",
        "dampened",
        lambda s: setattr(
            s, "torch_optimizer", lambda p: sgd(p, momentum=0.5, weight_decay=0.0, dampening=0.5)
        ),
        "training",
        ALL_LAYERS,
        cause="dampening|times the gradient",
    ),
    fault(
        "decoupled decay for the coupled one", "adam", _decoupled, STEP, ALL_LAYERS, cause="coupl"
    ),
    fault(
        "no decay in AdamW",
        "adamw",
        setting(
            "paddle_optimizer",
            lambda p: paddle.optimizer.AdamW(0.01, parameters=p, weight_decay=0.0),
        ),
        STEP,
        ALL_LAYERS,
        cause="weight decay 0, the reference has 0.02",
    ),
    fault(
        "beta2",
        "adam",
        setting(
            "paddle_optimizer",
            lambda p: paddle.optimizer.Adam(0.01, beta2=0.99, parameters=p, weight_decay=0.01),
        ),
        STEP,
        ALL_LAYERS,
        cause="beta2",
    ),
    fault(
        "epsilon of Adam",
        "adam",
        setting(
            "paddle_optimizer",
            lambda p: paddle.optimizer.Adam(0.01, epsilon=1e-6, parameters=p, weight_decay=0.01),
        ),
        STEP,
        ALL_LAYERS,
        cause="epsilon",
    ),
    fault(
        "epsilon of Adagrad",
        "adagrad",
        setting(
            "paddle_optimizer", lambda p: paddle.optimizer.Adagrad(0.01, epsilon=1e-6, parameters=p)
        ),
        STEP,
        ALL_LAYERS,
        cause="epsilon",
    ),
    fault(
        "RMSProp of Paddle",
        "rmsprop",
        setting(
            "paddle_optimizer",
            lambda p: paddle.optimizer.RMSProp(
                0.01, rho=0.99, epsilon=1e-8, momentum=0.9, parameters=p
            ),
        ),
        STEP,
        ALL_LAYERS,
        cause="epsilon|multiplied",
    ),
    fault(
        "rho of RMSProp",
        "rmsprop",
        setting(
            "paddle_optimizer", lambda p: paddle.optimizer.RMSProp(0.01, momentum=0.9, parameters=p)
        ),
        STEP,
        ALL_LAYERS,
        cause="alpha",
    ),
)
