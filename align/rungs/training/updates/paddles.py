"""Updates that Paddle's optimizers compute in another way than torch's of the same name.

Each is written out, so that a port's update can be held against it to the last digits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Slots = Mapping[str, np.ndarray]  # by their names in torch
Settings = Mapping[str, Any]  # of a group, by torch's names


def adamax(
    weight: np.ndarray, gradient: np.ndarray, slots: Slots, step: int, group: Settings
) -> tuple[np.ndarray, Slots]:
    """Return (weight, slots) after Paddle's Adamax, which has made `step` steps before this one.

    It adds epsilon to the decayed norm, torch to the gradient beside it.
    """
    beta1, beta2, epsilon = map(_held, (*group["betas"], group["eps"]))
    gradient = gradient + group.get("weight_decay", 0.0) * weight
    zero = np.zeros_like(weight)
    average = beta1 * slots.get("exp_avg", zero) + (1 - beta1) * gradient
    norm = np.maximum(beta2 * slots.get("exp_inf", zero) + epsilon, np.abs(gradient))
    rate = group["lr"] / (1 - group["betas"][0] ** (step + 1))  # this power is no kernel's
    return weight - rate * average / norm, {"exp_avg": average, "exp_inf": norm}


def rmsprop(
    weight: np.ndarray, gradient: np.ndarray, slots: Slots, step: int, group: Settings
) -> tuple[np.ndarray, Slots]:
    """Return (weight, slots) after Paddle's RMSProp.

    Its epsilon stands inside the root, and its momentum holds the rate.
    """
    alpha, epsilon, momentum = (_held(group[name]) for name in ("alpha", "eps", "momentum"))
    gradient = gradient + group.get("weight_decay", 0.0) * weight
    zero = np.zeros_like(weight)
    square = alpha * slots.get("square_avg", zero) + (1 - alpha) * gradient**2
    found = {"square_avg": square}
    spread = square
    if group.get("centered"):
        mean = alpha * slots.get("grad_avg", zero) + (1 - alpha) * gradient
        spread, found["grad_avg"] = square - mean**2, mean
    kept = momentum * slots.get("momentum_buffer", zero)
    move = kept + group["lr"] * gradient / np.sqrt(spread + epsilon)
    return weight - move, {**found, "momentum_buffer": move}


def _held(value: float) -> float:
    """Return a setting as a kernel of Paddle holds it, in float32."""
    return float(np.float32(value))


# By the name of torch's class: (kind of cause, what Paddle's computes).
OTHERWISE: dict[str, tuple[str, Callable[..., tuple[np.ndarray, Slots]]]] = {
    "Adamax": ("epsilon_beside_norm", adamax),
    "RMSprop": ("epsilon_inside_root", rmsprop),
}
# Of these the difference is no port's fault: it is noted, with the prediction checked.
KNOWN = frozenset(("Adamax",))

# Options of torch that no optimizer of Paddle has, and what it does instead.
NOT_IN_PADDLE = {"dampening": 0.0, "maximize": False}

# torch's classes, and Paddle's that compute the same thing.
COUNTERPARTS: dict[str, frozenset[str]] = {
    "SGD": frozenset(("SGD", "Momentum")),
    "Adam": frozenset(("Adam", "AdamW")),
    "AdamW": frozenset(("Adam", "AdamW")),
    "RMSprop": frozenset(("RMSProp",)),
    **{
        name: frozenset((name,))
        for name in ("Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "Rprop")
    },
}
