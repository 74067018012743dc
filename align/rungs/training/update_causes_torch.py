"""Why an optimizer's update differs: the reference's optimizer is run again with other settings.

Every update is elementwise, so one parameter stands alone, in the port's layout. What is said was
measured: under that change the reference's optimizer makes the port's update.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from align.judge.relations import REST, factor_of, same
from align.judge.words import Cause, Words, joined
from align.rungs.training.optimizers_torch import as_float32

NamedValues = Mapping[str, np.ndarray]


@dataclass
class Update:
    """One parameter's update: what it started from, and where the port came to.

    `group` are the reference's settings, `own` those of the port's optimizer in torch's words;
    `step` counts the reference's steps before this one.
    """

    weight: np.ndarray
    gradient: np.ndarray
    slots: NamedValues
    step: int
    group: Mapping[str, Any]
    own: Mapping[str, Any]
    after: np.ndarray
    slots_after: NamedValues
    rounded: Set[str] = frozenset()  # settings that the port holds in float32
    other: tuple[Cause, np.ndarray] | None = None  # a gradient that the port used, and why
    earlier: np.ndarray | None = None  # the gradient of the step before
    expected: np.ndarray = field(default_factory=lambda: np.zeros(0))  # where the reference came


def base_class(optimizer: torch.optim.Optimizer) -> type:
    """Return the first class of torch itself that `optimizer` is."""
    kinds = (kind for kind in type(optimizer).__mro__ if kind.__module__.startswith("torch.optim"))
    return next(kinds, torch.optim.Optimizer)


def cause_of(kind: type, update: Update) -> Cause | None:
    """Return what the port's optimizer does otherwise; None where nothing explains it."""
    for cause, gradient, other, group in _hypotheses(kind, update):
        try:
            after, slots = _run(other, update, gradient, group)
        except (TypeError, ValueError, RuntimeError, KeyError):
            continue  # this kind of optimizer has no such setting
        if _is_the_ports(after, slots, update):
            return cause
    return _scaled_gradient(update) or _inside_the_root(kind, update)


def _hypotheses(kind: type, update: Update) -> Iterator[tuple[Cause, np.ndarray, type, Any]]:
    """Yield (cause, gradient, class, settings)."""
    group, own = dict(update.group), dict(update.own)
    wrong = {n: v for n, v in own.items() if n in group and not _equal(group[n], v)}
    for name, value in wrong.items():
        yield _setting(name, value, group), update.gradient, kind, {**group, name: value}
    if len(wrong) > 1:
        all_of_them = joined(_setting(n, v, group) for n, v in wrong.items())
        assert all_of_them is not None
        yield all_of_them, update.gradient, kind, {**group, **wrong}
    if update.earlier is not None:
        gradient = update.gradient + update.earlier
        yield Cause("gradient_not_cleared"), gradient, kind, group
    if update.other is not None:
        clipped, gradient = update.other
        yield clipped, gradient, kind, group
        if wrong:
            besides = joined(_setting(n, v, group) for n, v in wrong.items())
            yield clipped.also(besides), gradient, kind, {**group, **wrong}
    for one, other, how in (
        (torch.optim.Adam, torch.optim.AdamW, "decay_decoupled"),
        (torch.optim.AdamW, torch.optim.Adam, "decay_coupled"),
    ):
        if kind is one:
            # AdamW is a subclass of Adam in new versions of torch, with a switch of its own.
            settings = {**group, "decoupled_weight_decay": other is torch.optim.AdamW}
            for changed in ({}, wrong):
                yield Cause(how), update.gradient, other, {**settings, **changed}


def _run(kind: type, update: Update, gradient: np.ndarray, group: Any) -> tuple[Any, NamedValues]:
    """Return (weight, slots) after one step of `kind` under the settings of `group`."""
    parameter = torch.nn.Parameter(torch.from_numpy(np.array(update.weight)))
    parameter.grad = torch.from_numpy(np.array(gradient))
    optimizer = kind([parameter], lr=group["lr"])
    optimizer.param_groups[0].update(
        {n: as_float32(v) if n in update.rounded else v for n, v in group.items() if n != "params"}
    )
    if update.slots:
        state: dict[str, Any] = {
            name: torch.from_numpy(np.array(array)) for name, array in update.slots.items()
        }
        if kind is not torch.optim.SGD:
            state["step"] = torch.tensor(float(update.step))
        optimizer.state[parameter] = state
    optimizer.step()
    found = {
        name: value.numpy()
        for name, value in optimizer.state[parameter].items()
        if isinstance(value, torch.Tensor) and name != "step"
    }
    return parameter.detach().numpy(), found


def _is_the_ports(after: np.ndarray, slots: NamedValues, update: Update) -> bool:
    moved = float(np.abs(update.after - update.weight).max(initial=0.0))
    pairs = [(slots[n], array) for n, array in update.slots_after.items() if n in slots]
    return same(after, update.after, 1e-6 * moved) and all(
        one.shape == other.shape and same(one, other, 1e-6 * float(np.abs(one).max(initial=0.0)))
        for one, other in pairs
    )


def _scaled_gradient(update: Update) -> Cause | None:
    """Tell by what factor each side takes the gradient, from the momentum or the plain step."""
    group = update.group
    if "betas" in group or "eps" in group:
        return None
    decay = float(group.get("weight_decay", 0.0)) * update.weight
    kept = float(group.get("momentum", 0.0)) * update.slots.get("momentum_buffer", 0.0)
    factors = []
    for after in (update.after, update.expected):
        moved = (update.weight - after) / group["lr"] - kept - decay
        rest = REST * float(np.abs(update.gradient).max(initial=0.0))
        factors.append(factor_of(moved, update.gradient, rest))
    ours, theirs = factors
    if ours is None or theirs is None or abs(ours - theirs) <= REST * abs(theirs):
        return None
    return Cause("gradient_scaled", port=ours, reference=theirs)


def _inside_the_root(kind: type, update: Update) -> Cause | None:
    """Tell whether the port is Paddle's RMSProp, whose epsilon stands inside the root."""
    own = {**update.group, **update.own}
    if kind is not torch.optim.RMSprop or update.group.get("centered"):
        return None
    square = update.slots.get("square_avg", np.zeros_like(update.weight))
    for settings, besides in ((update.group, None), (own, joined(_differing(update)))):
        gradient = update.gradient + settings.get("weight_decay", 0.0) * update.weight
        average = settings["alpha"] * square + (1 - settings["alpha"]) * gradient**2
        step = gradient / np.sqrt(average + settings["eps"])
        step = step + settings["momentum"] * update.slots.get("momentum_buffer", 0.0)
        after = update.weight - settings["lr"] * step
        if same(after, update.after, REST * float(np.abs(update.after - update.expected).max())):
            return Cause("epsilon_inside_root").also(besides)
    return None


def _differing(update: Update) -> list[Cause]:
    return [
        _setting(n, v, update.group)
        for n, v in update.own.items()
        if n in update.group and not _equal(update.group[n], v)
    ]


def _setting(name: str, value: Any, group: Mapping[str, Any]) -> Cause:
    reference = _value(group[name])
    return Cause("attribute", name=_said(name), port=_value(value), reference=reference)


def _equal(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=1e-6, atol=0.0))


def _said(name: str) -> str:
    kinds = {"eps": "epsilon", "weight_decay": "weight_decay", "betas": "betas"}
    return Words(kinds[name]) if name in kinds else name


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(f'{entry:g}' for entry in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)
