"""Optimizers of the papers' recipes. Which parameter goes where is in `common.param_groups`.

Two habits of Paddle's optimizers to know. `Momentum` holds momentum and decay in float32 (0.9 is
2.6e-8 of itself too small, 5e-4 4.7e-8 too large): in float64 the weights are 1e-8 to 1e-7 off
torch's after 100 steps, and equal to 1e-15 once torch gets the rounded constants. `clear_grad()`
leaves zeros, under which parameters without a gradient would decay: call
`clear_grad(set_to_zero=False)`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

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


def planned(
    plan: Callable[..., ParamPlan], kind: Callable[..., paddle.optimizer.Optimizer], **defaults: Any
) -> Callable[..., paddle.optimizer.Optimizer]:
    """Return an optimizer's function: `kind` over the groups of `plan`.

    Its options are `base_lr`, `clip` (by, limit), those named in `defaults`, which go to `kind`,
    and those of `plan`. A parameter without a gradient stands still, decay included. Paddle writes
    the multiplier onto the parameters: of two optimizers over one net the later one's count for
    both.
    """

    def optimizer(
        net: nn.Layer,
        criterion: nn.Layer | None = None,
        *,
        base_lr: float,
        clip: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> paddle.optimizer.Optimizer:
        own = {name: options.pop(name, default) for name, default in defaults.items()}
        params = trainable_parameters(net, criterion)
        groups = groups_of_plan(plan(params, **options), params)
        held = [param for group in groups for param in group["params"]]
        cut = CLIPS[clip["by"]](clip["limit"], held) if clip else None
        made = kind(base_lr, parameters=groups, grad_clip=cut, **own)
        set_lr(made, base_lr)
        return made

    return optimizer


def planned_sgd(
    plan: Callable[..., ParamPlan], momentum: float = MOMENTUM
) -> Callable[..., paddle.optimizer.Optimizer]:
    """Return an optimizer's function: SGD over the groups of `plan`, with coupled decay."""
    return planned(plan, _sgd, momentum=momentum, nesterov=False)


def _sgd(rate: float, *, nesterov: bool, **settings: Any) -> paddle.optimizer.Optimizer:
    return paddle.optimizer.Momentum(rate, use_nesterov=nesterov, **settings)


def _adam(rate: float, **settings: Any) -> paddle.optimizer.Optimizer:
    return paddle.optimizer.Adam(rate, **_as_paddle(**settings))


def _adamw(rate: float, **settings: Any) -> paddle.optimizer.Optimizer:
    return paddle.optimizer.AdamW(rate, **_as_paddle(**settings))


def _as_paddle(*, betas: tuple[float, float], amsgrad: bool, **settings: Any) -> dict[str, Any]:
    """Return torch's settings of Adam in Paddle's words; ConfigError for what 2.6 has not."""
    if amsgrad and "amsgrad" not in inspect.signature(paddle.optimizer.Adam.__init__).parameters:
        raise ConfigError(
            f"optimizer.amsgrad is true, and Paddle {paddle.__version__} has none: install "
            "Paddle 3, or leave it out"
        )
    found = {"beta1": betas[0], "beta2": betas[1], **settings}
    return {**found, "amsgrad": True} if amsgrad else found


_ADAM = {"betas": (0.9, 0.999), "epsilon": 1e-8, "amsgrad": False}

stdc_sgd = planned_sgd(stdc_param_plan)

OPTIMIZERS: dict[str, Callable[..., paddle.optimizer.Optimizer]] = {
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
    """Scales all gradients so that their common norm is at most `max_norm`, as torch does.

    parameters: whose gradients have that norm; none: those that are clipped at one time, which
    are the ones of a group. Paddle's `ClipGradByGlobalNorm` cuts every group to the norm alone.
    """

    def __init__(self, max_norm: float, parameters: Sequence[Any] = ()) -> None:
        super().__init__()
        self.max_norm, self.parameters = max_norm, parameters

    @paddle.no_grad()
    def _dygraph_clip(self, params_grads: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        all_of = [p.grad for p in self.parameters] or [g for _, g in params_grads]
        given = [g for g in all_of if g is not None]
        if not given:
            return params_grads
        factor = clip_factor(given, self.max_norm)
        return [(p, g if g is None else _times(g, factor)) for p, g in params_grads]


class ClipGradNormOfEach(nn.clip.ClipGradBase):
    """Scales every gradient so that its norm is at most `max_norm`, as torch does."""

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = max_norm

    @paddle.no_grad()
    def _dygraph_clip(self, params_grads: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        return [
            (p, g if g is None else _times(g, clip_factor([g], self.max_norm)))
            for p, g in params_grads
        ]


def clip_factor(gradients: Sequence[Any], max_norm: float) -> float:
    """Return by what torch's `clip_grad_norm_` multiplies `gradients`: it adds 1e-6 to the norm."""
    wide = (g if g.dtype == paddle.float64 else g.astype("float32") for g in gradients)
    norm = float(sum((g * g).sum() for g in wide).sqrt())
    return min(max_norm / (norm + 1e-6), 1.0)


def _times(gradient: Any, factor: float) -> Any:
    wide = gradient if gradient.dtype == paddle.float64 else gradient.astype("float32")
    return (wide * paddle.to_tensor(factor, dtype=wide.dtype)).astype(gradient.dtype)


CLIPS: dict[str, Callable[[float, Sequence[Any]], nn.clip.ClipGradBase]] = {
    "value": lambda limit, held: nn.ClipGradByValue(limit),
    "norm": lambda limit, held: ClipGradNormOfEach(limit),
    "global_norm": ClipGradNorm,
}
