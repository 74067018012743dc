"""Optimizers of the papers' recipes. Which parameter goes where is in `common.param_groups`.

Two habits of Paddle's optimizers to know. `Momentum` holds momentum and decay in float32 (0.9 is
2.6e-8 of itself too small, 5e-4 4.7e-8 too large): in float64 the weights are 1e-8 to 1e-7 off
torch's after 100 steps, and equal to 1e-15 once torch gets the rounded constants. `clear_grad()`
leaves zeros, under which parameters without a gradient would decay: call
`clear_grad(set_to_zero=False)`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import nn

from common.errors import ConfigError
from common.param_groups import (
    CRITERION,
    FCN_MOMENTUM,
    HEAD_LR_MULTIPLIER,
    MOMENTUM,
    WEIGHT_DECAY,
    ParamPlan,
    deeplabv2_param_plan,
    fcn_param_plan,
    glore_param_plan,
    plain_param_plan,
    pspnet_param_plan,
    stdc_param_plan,
    torchvision_param_plan,
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
    return groups_of_plan(plan, params)


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


def unet_rmsprop(
    net: nn.Layer,
    criterion: nn.Layer | None = None,
    *,
    base_lr: float,
    momentum: float = 0.999,
    weight_decay: float = 1e-8,
    alpha: float = 0.99,
    epsilon: float = 1e-8,
    max_norm: float = 1.0,
) -> paddle.optimizer.Optimizer:
    """Return `ClippedRMSprop` over everything that is trainable.

    Source: milesial/Pytorch-UNet, train.py; alpha and epsilon are torch's defaults.
    """
    params = list(trainable_parameters(net, criterion).values())
    return ClippedRMSprop(
        params,
        lr=base_lr,
        alpha=alpha,
        epsilon=epsilon,
        weight_decay=weight_decay,
        momentum=momentum,
        max_norm=max_norm,
    )


def planned_sgd(
    plan: Callable[..., ParamPlan], momentum: float = MOMENTUM
) -> Callable[..., paddle.optimizer.Optimizer]:
    """Return an optimizer's function: SGD with momentum over the groups of `plan`.

    Its options are `base_lr`, `momentum` (by default the one given here) and those of `plan`. Decay
    is coupled; a parameter without a gradient stands still.
    """

    def sgd(
        net: nn.Layer,
        criterion: nn.Layer | None = None,
        *,
        base_lr: float,
        momentum: float = momentum,
        **group_options: Any,
    ) -> paddle.optimizer.Optimizer:
        params = trainable_parameters(net, criterion)
        groups = groups_of_plan(plan(params, **group_options), params)
        optimizer = paddle.optimizer.Momentum(base_lr, momentum=momentum, parameters=groups)
        set_lr(optimizer, base_lr)
        return optimizer

    return sgd


OPTIMIZERS: dict[str, Callable[..., paddle.optimizer.Optimizer]] = {
    "stdc_sgd": stdc_sgd,
    "fcn_sgd": planned_sgd(fcn_param_plan, FCN_MOMENTUM),
    "unet_rmsprop": unet_rmsprop,
    "sgd": planned_sgd(plain_param_plan),
    "pspnet_sgd": planned_sgd(pspnet_param_plan),
    "deeplabv2_sgd": planned_sgd(deeplabv2_param_plan),
    "torchvision_sgd": planned_sgd(torchvision_param_plan),
    "glore_sgd": planned_sgd(glore_param_plan),
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
    """Set the schedule's rate; every group keeps its multiplier. Call it before the step.

    It lies over what a scheduler says that an optimizer of the user's holds.
    """
    held = getattr(optimizer, "_learning_rate", None)
    if isinstance(held, paddle.optimizer.lr.LRScheduler):
        held.last_lr = float(lr)
    else:
        optimizer.set_lr(float(lr))


def trainable_parameters(net: nn.Layer, criterion: nn.Layer | None) -> dict[str, Any]:
    """Return parameters that are not frozen by name; the criterion's are prefixed.

    Paddle lists the running statistics of BatchNorm among the parameters, frozen.
    """
    named = dict(net.named_parameters())
    if criterion is not None:
        named.update({CRITERION + name: p for name, p in criterion.named_parameters()})
    return {name: p for name, p in named.items() if not p.stop_gradient}


def groups_of_plan(plan: ParamPlan, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of `plan` with the parameters of its names, as the optimizer takes them."""
    return [
        {
            "params": [params[name] for name in group.names],
            "weight_decay": float(group.weight_decay),
            "learning_rate": float(group.lr_multiplier),
        }
        for group in plan.groups
    ]


class ClippedRMSprop(paddle.optimizer.Optimizer):
    """RMSprop with momentum as torch computes it; gradients are cut to a common norm first.

    Paddle's own adds epsilon under the root, where it dwarfs small gradients; torch's adds it to
    the root. Slots: `square_avg` and `momentum_buffer`, as in torch.
    """

    def __init__(
        self,
        params: list[Any],
        *,
        lr: float,
        alpha: float,
        epsilon: float,
        weight_decay: float,
        momentum: float,
        max_norm: float,
    ) -> None:
        clip = ClipGradNorm(max_norm)
        super().__init__(lr, params, weight_decay=float(weight_decay), grad_clip=clip)
        self.alpha = alpha
        self.epsilon = epsilon
        self.momentum = momentum

    def _create_accumulators(self, block: Any, parameters: list[Any]) -> None:
        for parameter in parameters:
            self._add_accumulator("square_avg", parameter)
            self._add_accumulator("momentum_buffer", parameter)

    @paddle.no_grad()
    def _append_optimize_op(self, block: Any, param_and_grad: tuple[Any, Any]) -> None:
        parameter, gradient = param_and_grad
        square = self._get_accumulator("square_avg", parameter)
        buffer = self._get_accumulator("momentum_buffer", parameter)
        # Tensors of the parameter's dtype: Paddle holds plain numbers in float32 here and there.
        alpha, rest, epsilon, momentum, lr = (
            paddle.to_tensor(value, dtype=parameter.dtype)
            for value in (
                self.alpha,
                1 - self.alpha,
                self.epsilon,
                self.momentum,
                self.get_lr() * parameter.optimize_attr["learning_rate"],
            )
        )
        square.set_value(square * alpha + gradient * gradient * rest)
        buffer.set_value(buffer * momentum + gradient / (square.sqrt() + epsilon))
        parameter.set_value(parameter - buffer * lr)


class ClipGradNorm(nn.clip.ClipGradBase):
    """Scales all gradients so that their common norm is at most `max_norm`, as torch does."""

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = max_norm

    @paddle.no_grad()
    def _dygraph_clip(self, params_grads: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        given = [g for _, g in params_grads if g is not None]
        if not given:
            return params_grads
        norm = float(sum((g * g).sum() for g in given).sqrt())
        # torch adds 1e-6 (clip_grad_norm_).
        factor = min(self.max_norm / (norm + 1e-6), 1.0)
        scales = {g.dtype: paddle.to_tensor(factor, dtype=g.dtype) for g in given}
        return [(p, g if g is None else g * scales[g.dtype]) for p, g in params_grads]
