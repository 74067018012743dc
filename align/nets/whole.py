"""A net and its loss as one net, on both sides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from align.nets.asked import ASSIGNMENT, asked_by, offers_assignment
from common.errors import UserError
from common.places import refuse_signature

if TYPE_CHECKING:
    from convert.names.spec import TensorSpec


Criterion = Callable[..., Any]  # of (outputs, label), and of `net` and `inputs` where it asks


def whole_pair(
    torch_net: Any, paddle_net: Any, torch_loss: Criterion, paddle_loss: Criterion
) -> tuple[Any, Any]:
    """Return (torch module, Paddle layer) that run a net and its loss; the nets may be None.

    Raises UserError where a loss cannot be called with (outputs, label), and where one offers its
    assignment and the other does not.
    """
    from align.nets import whole_paddle, whole_torch

    for loss, side, option in (
        (torch_loss, "reference", "torch"),
        (paddle_loss, "port", "paddle"),
    ):
        what = f"the {side}'s loss (--{option}-loss, {option}_loss)"
        function = getattr(loss, "forward", loss)
        refuse_signature(function, what, ("outputs", "label"), asked_by(loss))
    refuse_one_sided(offers_assignment(torch_loss), offers_assignment(paddle_loss))
    theirs = whole_torch.NetWithLoss(torch_net, torch_loss)
    return theirs, whole_paddle.NetWithLoss(paddle_net, paddle_loss)


def refuse_one_sided(theirs: bool, ours: bool) -> None:
    """Raise UserError where one side's loss alone offers its `assignment`: none can be handed on.

    Args: whether the reference's loss offers it, and the port's.
    """
    if theirs != ours:
        has, lacks = ("reference", "port") if theirs else ("port", "reference")
        raise UserError(
            f"could not check: the {has}'s loss offers {ASSIGNMENT}(outputs, label) and takes "
            f"{ASSIGNMENT}=, the {lacks}'s does not; write both there too, or take them away"
        )


@contextmanager
def with_loss(whole: Any, included: bool = True) -> Iterator[None]:
    """Let a net with its loss, of either framework, run with its loss, or the net alone."""
    before, whole.leaves_out_loss = whole.leaves_out_loss, not included
    try:
        yield
    finally:
        whole.leaves_out_loss = before


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
