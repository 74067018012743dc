"""What the step rung reads and sets of an optimizer of Paddle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from align.arrays.arrays_paddle import to_array, to_tensor
from align.rungs.training.step_start import refuse_closure
from align.rungs.training.updates.paddles import NOT_IN_PADDLE
from common.errors import UserError

# Paddle's slots by their name in torch; what is not listed has the same name on both sides.
SLOT_NAMES = {
    "velocity": "momentum_buffer",  # Momentum
    "momentum": "momentum_buffer",  # RMSProp
    "moment1": "exp_avg",
    "moment2": "exp_avg_sq",
    "moment2_max": "max_exp_avg_sq",
    "mean_square": "square_avg",
    "moment": "sum",  # Adagrad
    "_avg_squared_grad": "square_avg",  # Adadelta
    "_avg_squared_update": "acc_delta",
    "inf_norm": "exp_inf",  # Adamax
    "prevs": "prev",  # Rprop
    "learning_rates": "step_size",
}
# What one optimizer calls as another one calls something else.
OWN_SLOT_NAMES = {"Adamax": {"moment": "exp_avg"}}
# Counters: both sides count the same steps.
COUNTERS = ("_pow_acc", "_pow", "mu_product", "rho")


# Settings that kernels of Paddle hold in float32 whatever the parameters, by torch's names.
FLOAT32_SETTINGS: dict[type, frozenset[str]] = {
    paddle.optimizer.Momentum: frozenset({"momentum", "weight_decay"}),
    paddle.optimizer.AdamW: frozenset({"weight_decay"}),
    paddle.optimizer.Adagrad: frozenset({"eps"}),
    paddle.optimizer.RMSProp: frozenset({"alpha", "eps", "momentum"}),
    paddle.optimizer.Adadelta: frozenset({"rho", "eps"}),
    paddle.optimizer.Adamax: frozenset({"betas", "eps"}),
    **{
        getattr(paddle.optimizer, name): frozenset({"betas", "eps", "momentum_decay"})
        for name in ("NAdam", "RAdam")  # not in 2.6
        if hasattr(paddle.optimizer, name)
    },
}


def float32_settings(optimizer: paddle.optimizer.Optimizer) -> frozenset[str]:
    """Return the settings that this optimizer rounds, by their names in torch."""
    kinds = [kind for kind in FLOAT32_SETTINGS if isinstance(optimizer, kind)]
    return frozenset().union(*(FLOAT32_SETTINGS[kind] for kind in kinds))


def usable(optimizer: Any) -> Any:
    """Return `optimizer` as it is; UserError where a step of it cannot be judged."""
    missing = [
        n for n in ("step", "clear_grad", "get_lr") if not callable(getattr(optimizer, n, None))
    ]
    if missing:
        raise UserError(
            f"the port's optimizer is of {type(optimizer).__name__}, which has no "
            f"{missing[0]}(): --paddle-optimizer (paddle_optimizer) has to return a "
            "paddle.optimizer.Optimizer, or an object with step(), clear_grad() and get_lr()"
        )
    refuse_closure(optimizer, "port", "--paddle-optimizer (paddle_optimizer)")
    return optimizer


def is_plain(optimizer: Any) -> bool:
    """Tell whether it is a class of the port's own, whose slots and parameters are not known."""
    return not isinstance(optimizer, paddle.optimizer.Optimizer)


def kind_of(optimizer: Any) -> str:
    """Return the name of the first class of Paddle that `optimizer` is, "" for none."""
    kinds = type(optimizer).__mro__
    return next((k.__name__ for k in kinds if k.__module__.startswith("paddle.optimizer")), "")


def decay_l1(optimizer: Any, parameter: paddle.Tensor) -> float:
    """Return the coefficient of the absolute decay of a parameter, 0 where it has none."""
    own = getattr(parameter, "regularizer", None) or getattr(optimizer, "regularization", None)
    return float(own._coeff) if isinstance(own, paddle.regularizer.L1Decay) else 0.0


def can_set_rate(optimizer: Any) -> bool:
    """Tell whether its rate can be set."""
    return not is_plain(optimizer) or callable(getattr(optimizer, "set_lr", None))


def multiplier(parameter: paddle.Tensor) -> float:
    """Return what the optimizer's rate is multiplied by for this parameter."""
    return float(parameter.optimize_attr.get("learning_rate", 1.0))


def rate(optimizer: paddle.optimizer.Optimizer) -> float:
    """Return the rate of the next step (`scheduler.get_lr()` can be one step ahead)."""
    return float(optimizer.get_lr())


def set_rate(optimizer: paddle.optimizer.Optimizer, value: float) -> None:
    """Set the rate of the next step, below any scheduler that the optimizer holds."""
    scheduler = getattr(optimizer, "_learning_rate", None)
    if isinstance(scheduler, paddle.optimizer.lr.LRScheduler):
        scheduler.last_lr = value
    else:
        optimizer.set_lr(value)


def held(optimizer: paddle.optimizer.Optimizer) -> set[int]:
    """Return the ids of the parameters that the optimizer updates."""
    found = set()
    for entry in getattr(optimizer, "_parameter_list", None) or []:
        parameters = entry["params"] if isinstance(entry, dict) else [entry]
        found |= {id(parameter) for parameter in parameters}
    return found


def slots(optimizer: paddle.optimizer.Optimizer) -> dict[str, dict[str, paddle.Tensor]]:
    """Return {name of parameter: {slot in torch's words: live tensor}}; counters are left out."""
    found: dict[str, dict[str, paddle.Tensor]] = {}
    kinds = {kind.__name__ for kind in type(optimizer).__mro__}
    own = {
        k: v for kind, names in OWN_SLOT_NAMES.items() if kind in kinds for k, v in names.items()
    }
    names = {**SLOT_NAMES, **own}
    for slot, tensors in getattr(optimizer, "_accumulators", {}).items():
        for parameter, tensor in tensors.items():
            if not slot.endswith(COUNTERS):
                found.setdefault(parameter, {})[names.get(slot, slot)] = tensor
    return found


def set_slots(
    optimizer: paddle.optimizer.Optimizer, wanted: Mapping[str, Mapping[str, Any]]
) -> None:
    """Give live slots the values of `wanted`, {name of parameter: {slot: array}}."""
    for parameter, own in slots(optimizer).items():
        for slot, tensor in own.items():
            array = wanted.get(parameter, {}).get(slot)
            if array is not None:
                tensor.set_value(to_tensor(array))


def add_gradients(pairs: list[tuple[paddle.Tensor, np.ndarray]]) -> None:
    """Add arrays to the gradients of parameters, as a backward pass does.

    What an earlier step left there stays: a gradient that nobody cleared shows. One at a time, as
    all together hold each tensor three times.
    """
    for parameter, array in pairs:
        (parameter * to_tensor(np.asarray(array, order="C"))).sum().backward()


def values(parameter: paddle.Tensor) -> np.ndarray:
    """Return a copy of the values."""
    return np.array(to_array(parameter))


# Settings of Paddle's optimizers by their names in torch.
_SETTINGS = {
    "momentum": "_momentum",
    "nesterov": "_use_nesterov",
    "eps": "_epsilon",
    "alpha": "_rho",
    "rho": "_rho",
    "centered": "_centered",
    "momentum_decay": "_momentum_decay",
    "amsgrad": "_amsgrad",
}


def settings(optimizer: paddle.optimizer.Optimizer) -> dict[str, Any]:
    """Return the settings of `optimizer`, in torch's words, as far as they are known."""
    found = {
        name: getattr(optimizer, own) for name, own in _SETTINGS.items() if hasattr(optimizer, own)
    }
    if not is_plain(optimizer):
        found |= NOT_IN_PADDLE
    if hasattr(optimizer, "_beta1"):
        found["betas"] = (float(optimizer._beta1), float(optimizer._beta2))
    return found


class HeldScheduler:
    """The scheduler in `optimizer`, if it holds one.

    A rate may be forced on the optimizer between the steps: the schedule goes on from its own.
    """

    def __init__(self, optimizer: Any) -> None:
        held = getattr(optimizer, "_learning_rate", None)
        known = isinstance(held, paddle.optimizer.lr.LRScheduler)
        self.found: paddle.optimizer.lr.LRScheduler | None = held if known else None
        if self.found is not None:
            self._rate, self._count = self.found.last_lr, self.found.last_epoch

    @property
    def name(self) -> str:
        """The name of its class, "" for none."""
        return "" if self.found is None else type(self.found).__name__

    def step(self, loss: float) -> None:
        """Step it after an update whose loss was `loss`, unless the update did so itself."""
        if self.found is None:
            return
        if self.found.last_epoch == self._count:
            self.found.last_lr = self._rate
            if isinstance(self.found, paddle.optimizer.lr.ReduceOnPlateau):
                self.found.step(loss)
            else:
                self.found.step()
        self._rate, self._count = self.found.last_lr, self.found.last_epoch
