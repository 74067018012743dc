"""Why an optimizer's update differs: the reference's optimizer is run again with other settings.

Every update is elementwise, so one parameter stands alone, in the port's layout. What is said was
measured: under that change the reference's optimizer makes the port's update.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from align.judge.relations import REST, factor_of, same
from align.judge.words import Cause, Words, joined
from align.rungs.training.optimizers_torch import as_float32
from align.rungs.training.updates.paddles import COUNTERPARTS, NOT_IN_PADDLE, OTHERWISE

NamedValues = Mapping[str, np.ndarray]


@dataclass
class Update:
    """One parameter's update: what it started from, and where the port came to.

    `group` are the reference's settings, `own` those of the port's optimizer in torch's words;
    `step` counts the reference's steps before this one. `port` is the class of the
    port's optimizer where both are the frameworks' own, else ""; `decay_l1` what it decays by,
    absolute.
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
    port: str = ""
    decay_l1: float = 0.0

    def __post_init__(self) -> None:
        """Note what the port's update would be if it did all as the reference does."""
        self.base: tuple[np.ndarray, NamedValues] | None = None


# What is left of a gap that a change closes is below this share of the tensor, too: rounding.
ROUNDING = 1e-13
Hypothesis = tuple[Cause, np.ndarray, type, Any]  # cause, gradient, class, settings


def cause_of(kind: type, update: Update) -> Cause | None:
    """Return what the port's optimizer does otherwise; None where nothing explains it."""
    if (algorithms := _other_optimizer(kind, update)) is not None:
        return algorithms
    try:
        update.base = _run(kind, update, update.gradient, update.group)
    except CANNOT:
        return None
    for cause, gradient, other, group in _hypotheses(kind, update):
        try:
            after, slots = _run(other, update, gradient, group)
        except CANNOT:
            continue  # this kind of optimizer has no such setting
        if _is_the_ports(after, slots, update):
            return cause
    return _as_paddle(kind, update)


CANNOT = (TypeError, ValueError, RuntimeError, KeyError, NotImplementedError)


def _hypotheses(kind: type, update: Update) -> Iterator[Hypothesis]:
    group = dict(update.group)
    wrong = wrong_settings(update.group, update.own)
    for name, value in wrong.items():
        yield setting_in_words(name, value, group), update.gradient, kind, {**group, name: value}
    besides = joined(setting_in_words(n, v, group) for n, v in wrong.items())
    if len(wrong) > 1 and besides:
        yield besides, update.gradient, kind, {**group, **wrong}
    yield from _decays(kind, update, wrong)
    if update.earlier is not None:
        gradient = update.gradient + update.earlier
        yield Cause("gradient_not_cleared"), gradient, kind, group
    if update.other is not None:
        clipped, gradient = update.other
        yield clipped, gradient, kind, group
        if wrong:
            yield clipped.also(besides), gradient, kind, {**group, **wrong}
    yield from _slopes(kind, update)


def _decays(kind: type, update: Update, wrong: Mapping[str, Any]) -> Iterator[Hypothesis]:
    """Yield other weight decays: of another size, of the other kind, and of the absolute value."""
    group = dict(update.group)
    for one, other, how in (
        (torch.optim.Adam, torch.optim.AdamW, "decay_decoupled"),
        (torch.optim.AdamW, torch.optim.Adam, "decay_coupled"),
    ):
        if kind is one and group.get("weight_decay"):
            # AdamW is a subclass of Adam in new versions of torch, with a switch of its own.
            settings = {**group, "decoupled_weight_decay": other is torch.optim.AdamW}
            for changed in ({}, wrong):
                besides = joined(setting_in_words(n, v, group) for n, v in changed.items())
                yield Cause(how).also(besides), update.gradient, other, {**settings, **changed}
    if update.decay_l1:
        gradient = update.gradient + update.decay_l1 * np.sign(update.weight)
        cause = Cause("decay_l1", port=update.decay_l1, reference=group.get("weight_decay", 0.0))
        yield cause, gradient, kind, {**group, "weight_decay": 0.0}
    decay = float(group.get("weight_decay", 0.0))
    for own in (0.0, _fitted_decay(kind, update)):
        if own is not None and "weight_decay" in group and f"{own:.3g}" != f"{decay:.3g}":
            cause = Cause("as_with_decay", port=own, reference=decay)
            for changed in ({}, wrong):
                besides = joined(setting_in_words(n, v, group) for n, v in changed.items())
                settings = {**group, **changed, "weight_decay": own}
                yield cause.also(besides), update.gradient, kind, settings


def _fitted_decay(kind: type, update: Update) -> float | None:
    """Return the weight decay that the difference looks like, where the step is linear in it."""
    assert update.base is not None
    group = update.group
    if not group["lr"] or not isinstance(update.group.get("weight_decay"), float | int):
        return None
    # Nesterov's step goes once along the gradient and once along the momentum it is added to.
    times = 1.0 + group["momentum"] if group.get("nesterov") else 1.0
    difference = update.after - update.base[0]
    factor = factor_of(difference, update.weight, REST * float(np.abs(difference).max(initial=0.0)))
    if factor is None:
        return None
    decay = float(group["weight_decay"])
    own = decay - factor / (group["lr"] * times)
    return 0.0 if abs(own) < 1e-6 * abs(decay) else own


def _slopes(kind: type, update: Update) -> Iterator[Hypothesis]:
    """Yield a gradient of another size and another momentum, where plain steps look like these."""
    group = update.group
    if kind is not torch.optim.SGD or not group["lr"]:
        return
    assert update.base is not None
    decay = float(group.get("weight_decay", 0.0)) * update.weight
    buffer = update.slots.get("momentum_buffer")
    kept = 0.0 if buffer is None else float(group["momentum"]) * buffer
    factors = []
    for after in (update.after, update.base[0]):
        moved = (update.weight - after) / group["lr"] - kept - decay
        rest = REST * float(np.abs(update.gradient).max(initial=0.0))
        factors.append(factor_of(moved, update.gradient, rest))
    ours, theirs = factors
    if ours is not None and theirs and abs(ours - theirs) > REST * abs(theirs):
        cause = Cause("gradient_scaled", port=ours, reference=theirs)
        gradient = update.gradient * (ours / theirs)
        for settings in (group, {**group, "dampening": 0.0}):
            yield cause, gradient if settings is group else update.gradient * ours, kind, settings
    if buffer is not None:
        difference = update.after - update.base[0]
        rest = REST * float(np.abs(difference).max(initial=0.0))
        factor = factor_of(difference, buffer, rest)
        if factor is not None:
            off = -factor / group["lr"]
            settings = {**group, "momentum": group["momentum"] + off}
            yield Cause("as_with_momentum", off=off), update.gradient, kind, settings


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
    """Tell whether a change closes the gap: of the weight, and of every slot of the port."""
    assert update.base is not None
    triples = [(after, update.after, update.base[0])]
    for name, array in update.slots_after.items():
        if name in slots and slots[name].shape == array.shape:
            before = update.base[1].get(name, np.zeros_like(array))
            triples.append((slots[name], array, before))
    return all(_closes(*triple) for triple in triples)


def _closes(changed: np.ndarray, port: np.ndarray, before: np.ndarray) -> bool:
    gap = float(np.abs(port - before).max(initial=0.0))
    rounding = ROUNDING * float(np.abs(port).max(initial=0.0))
    return same(changed, port, max(REST * gap, rounding))


def _as_paddle(kind: type, update: Update) -> Cause | None:
    """Tell whether the port computes what Paddle's optimizer of this name does otherwise."""
    if kind.__name__ not in OTHERWISE:
        return None
    how, function = OTHERWISE[kind.__name__]
    wrong = wrong_settings(update.group, update.own)
    for settings in ({}, wrong)[: 1 + bool(wrong)]:
        group = {**update.group, **settings}
        after, slots = function(update.weight, update.gradient, update.slots, update.step, group)
        if _is_the_ports(after, slots, update):
            cause = Cause(how).also(
                joined(setting_in_words(n, group[n], update.group) for n in settings)
            )
            in_momentum = kind is torch.optim.RMSprop and group["momentum"]
            return cause.also(Cause("rate_in_momentum") if in_momentum else None)
    return None


def _other_optimizer(kind: type, update: Update) -> Cause | None:
    """Say that the two are other algorithms, by the names of their classes."""
    if not update.port or update.port in COUNTERPARTS.get(kind.__name__, ()):
        return None
    if kind is torch.optim.ASGD and update.port == "ASGD":
        return Cause("other_asgd")
    known = sorted(COUNTERPARTS.get(kind.__name__, ()))
    cause = Cause("other_optimizer", port=update.port, reference=kind.__name__)
    if known:
        return cause.also(Cause("counterpart", names=" / ".join(known)))
    return cause.also(Cause("no_counterpart", reference=kind.__name__))


def wrong_settings(group: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the port (`own`, in torch's words) that are not the reference's."""
    return {n: v for n, v in own.items() if n in group and not _equal(group[n], v)}


def setting_in_words(name: str, value: Any, group: Mapping[str, Any]) -> Cause:
    """Say that a setting of the port is `value`, and what it is in the reference's `group`."""
    reference = _value(group[name])
    said = {"name": _said(name), "port": _value(value), "reference": reference}
    cause = Cause("optimizer_setting", **said)
    return cause.also(Cause("no_such_option", name=name) if name in NOT_IN_PADDLE else None)


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(np.allclose(one, other, rtol=1e-6, atol=0.0))
    except TypeError:  # None, and what is no number
        return bool(one == other)


def _said(name: str) -> str:
    kinds = {"eps": "epsilon", "weight_decay": "weight_decay", "betas": "betas"}
    return Words(kinds[name]) if name in kinds else name


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_value, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)
