"""Optimizers of the papers' recipes. Which parameter goes where is in `common.param_groups`.

Two habits of Paddle's optimizers to know. `Momentum` holds momentum and decay in float32 (0.9 is
2.6e-8 of itself too small, 5e-4 4.7e-8 too large): in float64 the weights are 1e-8 to 1e-7 off
torch's after 100 steps, and equal to 1e-15 once torch gets the rounded constants. `clear_grad()`
leaves zeros, under which parameters without a gradient would decay: call
`clear_grad(set_to_zero=False)`.
"""

from collections.abc import Callable
from typing import Any

import paddle
from paddle import nn

from common.errors import ConfigError
from common.param_groups import (
    CRITERION,
    HEAD_LR_MULTIPLIER,
    MOMENTUM,
    WEIGHT_DECAY,
    stdc_param_plan,
)


def stdc_param_groups(
    net: nn.Layer,
    criterion: nn.Layer | None = None,
    *,
    weight_decay: float = WEIGHT_DECAY,
    head_lr_multiplier: float = HEAD_LR_MULTIPLIER,
    train_backbone_norm: bool = False,
) -> list[dict[str, Any]]:
    """Return groups of STDC's recipe: `params`, `weight_decay`, `learning_rate` (a multiplier).

    Options and errors are those of `common.param_groups.stdc_param_plan`.
    """
    params = trainable_parameters(net, criterion)
    plan = stdc_param_plan(
        params,
        weight_decay=weight_decay,
        head_lr_multiplier=head_lr_multiplier,
        train_backbone_norm=train_backbone_norm,
    )
    return [
        {
            "params": [params[name] for name in group.names],
            "weight_decay": float(group.weight_decay),
            "learning_rate": float(group.lr_multiplier),
        }
        for group in plan.groups
    ]


def stdc_sgd(
    net: nn.Layer,
    criterion: nn.Layer | None = None,
    *,
    base_lr: float,
    momentum: float = MOMENTUM,
    **group_options: Any,
) -> paddle.optimizer.Optimizer:
    """Return SGD with momentum over `stdc_param_groups(net, criterion, **group_options)`.

    Decay is coupled (added to the gradient). A parameter without a gradient stands still, decay
    included; the fuse kernel's gradient is 0, so it decays. Paddle writes the multiplier onto the
    parameters themselves: of two optimizers over one net the later one's count for both.
    """
    groups = stdc_param_groups(net, criterion, **group_options)
    optimizer = paddle.optimizer.Momentum(base_lr, momentum=momentum, parameters=groups)
    set_lr(optimizer, base_lr)
    return optimizer


OPTIMIZERS: dict[str, Callable[..., paddle.optimizer.Optimizer]] = {
    "stdc_sgd": stdc_sgd,
}


def build_optimizer(
    name: str,
    net: nn.Layer,
    criterion: nn.Layer | None = None,
    *,
    base_lr: float,
    **options: Any,
) -> paddle.optimizer.Optimizer:
    """Return the optimizer of table row `name` over what is trainable in `net` and `criterion`.

    options: keyword arguments of the row's function. Raises ConfigError for an unknown row.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer {name!r} is not known; choose one of {sorted(OPTIMIZERS)}")
    return OPTIMIZERS[name](net, criterion, base_lr=base_lr, **options)


def set_lr(optimizer: paddle.optimizer.Optimizer, lr: float) -> None:
    """Set the schedule's rate; every group keeps its multiplier. Call it before the step."""
    optimizer.set_lr(float(lr))


def trainable_parameters(net: nn.Layer, criterion: nn.Layer | None) -> dict[str, Any]:
    """Return parameters that are not frozen by name; the criterion's are prefixed.

    Paddle lists the running statistics of BatchNorm among the parameters, frozen.
    """
    named = dict(net.named_parameters())
    if criterion is not None:
        named.update({CRITERION + name: p for name, p in criterion.named_parameters()})
    return {name: p for name, p in named.items() if not p.stop_gradient}
