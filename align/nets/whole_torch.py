"""A net and its loss as one module of torch, so that one forced pass judges both."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from align.arrays.arrays_torch import is_tensor, to_tensor
from align.arrays.trees import leaves, map_leaves
from align.nets.asked import ASSIGNMENT, asked_by, given_to, offers_assignment
from align.nets.calls import WITH_LOSS_MARK
from common.errors import UserError
from common.places import place_of


class Assignment(nn.Module):
    """Which output stands for which object, as a criterion says it: a call of its own.

    So it is recorded, compared and handed on like the outputs of a layer.
    """

    criterion: Any

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.__dict__["criterion"] = criterion

    def forward(self, outputs: Any, label: Any) -> Any:
        """Return what the criterion's `assignment` returns, arrays as tensors, without gradient."""
        with torch.no_grad():
            found = self.criterion.assignment(outputs, label)
        return map_leaves(found, lambda leaf: leaf if is_tensor(leaf) else to_tensor(leaf))


class NetWithLoss(nn.Module):
    """Returns the loss of `criterion(net(*args, **kwargs), label)`; without a net, of the outputs.

    A criterion that is a module is a child and is judged inside; a plain function is glue, and so
    is one that takes `net` or `inputs` by name: it gets them as they are in the graph. Where it
    `leaves_out_loss` the net runs alone.
    """

    net_with_loss_mark = WITH_LOSS_MARK  # it is known by this, never by its name
    asked: frozenset[str]
    leaves_out_loss: bool

    def __init__(self, net: nn.Module | None, criterion: Callable[..., Any]) -> None:
        super().__init__()
        if net is not None:
            self.net = net
            self.training = net.training  # else a net in eval mode looks like a frozen part
        if isinstance(criterion, nn.Module):
            self.criterion = criterion
        else:
            self.__dict__["criterion"] = criterion
        if offers_assignment(criterion):
            self.assignment = Assignment(criterion)
        self.__dict__["asked"] = asked_by(criterion)
        self.leaves_out_loss = False

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield what an optimizer is given: those that the net's own `parameters` gives."""
        held = [child for child in self._modules.values() if child is not None]
        every = [each for child in held for each in child.parameters()]
        yield from {id(each): each for each in every if recurse}.values()

    def forward(self, args: tuple, kwargs: dict[str, Any], label: torch.Tensor) -> Any:
        """Return what the criterion, or the net, returns; UserError of a loss that is no tensor."""
        if self.leaves_out_loss:
            return self.net(*args, **kwargs)
        loss = self._loss(args, kwargs, label)
        if not any(map(is_tensor, leaves(loss))):
            place = place_of(getattr(self.criterion, "forward", self.criterion))
            raise UserError(
                f"could not check: the reference's loss (--torch-loss, torch_loss) returns "
                f"{type(loss).__name__}{f' ({place})' if place else ''}, expected a scalar tensor"
            )
        return loss

    def _loss(self, args: tuple, kwargs: dict[str, Any], label: torch.Tensor) -> Any:
        net = self._modules.get("net")
        more = given_to(self.asked, net, args, kwargs)
        outputs = net(*args, **kwargs) if net is not None else args[0] if len(args) == 1 else args
        run: Any = self.criterion
        if more:
            forward = getattr(type(self.criterion), "forward", None)
            run = self.criterion if forward is None else partial(forward, self.criterion)
        if ASSIGNMENT in self._modules:
            more = {**more, ASSIGNMENT: self.assignment(outputs, label)}
        return run(outputs, label, **more)
