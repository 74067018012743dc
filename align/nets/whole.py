"""A net and its loss as one net, on both sides."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    from convert.names.spec import TensorSpec


Criterion = Callable[..., Any]  # of (outputs, label), and of `net` and `inputs` where it asks

ASKED = ("net", "inputs")


def asked_by(criterion: Any) -> frozenset[str]:
    """Return which of `ASKED` a criterion takes by name, besides the outputs and the label."""
    function = getattr(criterion, "forward", criterion)
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(ASKED) & frozenset(parameters[2:])


def given_to(asked: frozenset[str], net: Any, args: tuple, kwargs: Mapping[str, Any]) -> Any:
    """Return what a criterion asked for: the net, and its inputs as the criterion takes outputs.

    One input is passed as it is, several as a tuple, those by keyword as a dict.
    """
    if asked and net is None:
        raise UserError(
            f"a loss asks for {' and '.join(sorted(asked))}, but it is judged alone: judge it with "
            "its net (align_backward, align_training)"
        )
    inputs = dict(kwargs) if kwargs and not args else args[0] if len(args) == 1 else args
    return {name: net if name == "net" else inputs for name in asked}


def whole_pair(
    torch_net: Any, paddle_net: Any, torch_loss: Criterion, paddle_loss: Criterion
) -> tuple[Any, Any]:
    """Return (torch module, Paddle layer) that run a net and its loss; the nets may be None."""
    from align.nets import whole_paddle, whole_torch

    theirs = whole_torch.NetWithLoss(torch_net, torch_loss)
    return theirs, whole_paddle.NetWithLoss(paddle_net, paddle_loss)


NET = "net."  # where `NetWithLoss` holds the net that it wraps with a loss


def unwrapped(spec: "TensorSpec", prefix: str) -> "TensorSpec":
    """Return `spec` as the wrapped net itself names it."""
    if not prefix:
        return spec
    path = spec.torch_path
    return replace(
        spec,
        key=spec.key.removeprefix(prefix),
        torch_path=None if path is None else path.removeprefix(prefix),
        elsewhere=tuple(replace(p, key=p.key.removeprefix(prefix)) for p in spec.elsewhere),
        tied_to=None if spec.tied_to is None else spec.tied_to.removeprefix(prefix),
    )
