"""Optimizers of the papers' recipes. Which parameter goes where is in `common.param_groups`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from common.errors import ConfigError
from common.param_groups import (
    CRITERION,
    FCN_MOMENTUM,
    MOMENTUM,
    ParamPlan,
    deeplabv2_param_plan,
    fcn_param_plan,
    glore_param_plan,
    plain_param_plan,
    pspnet_param_plan,
    stdc_param_plan,
    torchvision_param_plan,
)


def unet_rmsprop(
    net: nn.Module,
    criterion: nn.Module | None = None,
    *,
    base_lr: float,
    momentum: float = 0.999,
    weight_decay: float = 1e-8,
    alpha: float = 0.99,
    epsilon: float = 1e-8,
    max_norm: float = 1.0,
) -> torch.optim.Optimizer:
    """Return `ClippedRMSprop` over everything that is trainable.

    Source: milesial/Pytorch-UNet, train.py; alpha and epsilon are torch's defaults.
    """
    params = list(trainable_parameters(net, criterion).values())
    return ClippedRMSprop(
        params,
        lr=base_lr,
        alpha=alpha,
        eps=epsilon,
        weight_decay=weight_decay,
        momentum=momentum,
        max_norm=max_norm,
    )


def planned(
    plan: Callable[..., ParamPlan], kind: Callable[..., torch.optim.Optimizer], **defaults: Any
) -> Callable[..., torch.optim.Optimizer]:
    """Return an optimizer's function: `kind` over the groups of `plan`.

    Its options are `base_lr`, `clip` (by, limit), those named in `defaults`, which go to `kind`,
    and those of `plan`. A parameter without a gradient stands still, decay included.
    """

    def optimizer(
        net: nn.Module,
        criterion: nn.Module | None = None,
        *,
        base_lr: float,
        clip: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> torch.optim.Optimizer:
        own = {name: options.pop(name, default) for name, default in defaults.items()}
        params = trainable_parameters(net, criterion)
        groups = groups_of_plan(plan(params, **options), params)
        made = kind(groups, lr=base_lr, **own)
        if clip:
            clip_before_steps(made, **clip)
        set_lr(made, base_lr)
        return made

    return optimizer


def planned_sgd(
    plan: Callable[..., ParamPlan], momentum: float = MOMENTUM
) -> Callable[..., torch.optim.Optimizer]:
    """Return an optimizer's function: SGD over the groups of `plan`, with coupled decay."""
    return planned(plan, torch.optim.SGD, momentum=momentum, nesterov=False)


def _adam(groups: Any, *, lr: float, epsilon: float, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=lr, eps=epsilon, **settings)


def _adamw(groups: Any, *, lr: float, epsilon: float, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=lr, eps=epsilon, **settings)


_ADAM = {"betas": (0.9, 0.999), "epsilon": 1e-8, "amsgrad": False}

stdc_sgd = planned_sgd(stdc_param_plan)

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "stdc_sgd": stdc_sgd,
    "fcn_sgd": planned_sgd(fcn_param_plan, FCN_MOMENTUM),
    "unet_rmsprop": unet_rmsprop,
    "sgd": planned_sgd(plain_param_plan),
    "adam": planned(plain_param_plan, _adam, **_ADAM),
    "adamw": planned(plain_param_plan, _adamw, **_ADAM),
    "pspnet_sgd": planned_sgd(pspnet_param_plan),
    "deeplabv2_sgd": planned_sgd(deeplabv2_param_plan),
    "torchvision_sgd": planned_sgd(torchvision_param_plan),
    "glore_sgd": planned_sgd(glore_param_plan),
}


def build_optimizer(
    name: str,
    net: nn.Module,
    criterion: nn.Module | None = None,
    *,
    base_lr: float,
    **options: Any,
) -> torch.optim.Optimizer:
    """Return the optimizer of table row `name` over what is trainable in `net` and `criterion`.

    options: keyword arguments of the row's function. Raises ConfigError for an unknown row.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer {name!r} is not known; choose one of {sorted(OPTIMIZERS)}")
    return OPTIMIZERS[name](net, criterion, base_lr=base_lr, **options)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the schedule's rate; every group keeps its multiplier. Call it before the step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_multiplier", 1.0)


def trainable_parameters(net: nn.Module, criterion: nn.Module | None) -> dict[str, nn.Parameter]:
    """Return parameters that are not frozen by name; the criterion's are prefixed."""
    named = dict(net.named_parameters())
    if criterion is not None:
        named.update({CRITERION + name: p for name, p in criterion.named_parameters()})
    return {name: p for name, p in named.items() if p.requires_grad}


def groups_of_plan(plan: ParamPlan, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of `plan` with the parameters of its names, as the optimizer takes them."""
    return [
        {
            "params": [params[name] for name in group.names],
            "weight_decay": group.weight_decay,
            "lr_multiplier": group.lr_multiplier,
        }
        for group in plan.groups
    ]


def clip_before_steps(optimizer: torch.optim.Optimizer, by: str, limit: float) -> None:
    """Have every step cut the gradients to `limit` first, in place.

    by: "value" (each element), "norm" (each tensor), "global_norm" (all of all groups together).
    """

    def clip(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if by == "value":
            nn.utils.clip_grad_value_(params, limit)
        for together in [params] if by == "global_norm" else [[p] for p in params]:
            if by != "value":
                nn.utils.clip_grad_norm_(together, limit)

    optimizer.register_step_pre_hook(clip)


class ClippedRMSprop(torch.optim.RMSprop):
    """RMSprop with momentum; the norm of all gradients together is cut to `max_norm` first."""

    def __init__(self, params: Iterable[nn.Parameter], *, max_norm: float, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.max_norm = max_norm

    def step(self, closure: Any = None) -> Any:
        """Clip the gradients in place, then update."""
        params = [p for group in self.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(params, self.max_norm)
        return super().step(closure)
