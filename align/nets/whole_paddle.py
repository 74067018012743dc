"""A net and its loss as one module of Paddle, so that one forced pass judges both."""

from collections.abc import Callable
from functools import partial
from typing import Any

import paddle
from paddle import nn

from align.arrays.arrays_paddle import is_tensor, to_tensor
from align.arrays.trees import map_leaves
from align.nets.asked import ASSIGNMENT, asked_by, given_to, offers_assignment
from align.nets.calls import WITH_LOSS_MARK


class Assignment(nn.Layer):
    """Which output stands for which object, as a criterion says it: a call of its own.

    So it is recorded, compared and handed on like the outputs of a layer.
    """

    criterion: Any

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.__dict__["criterion"] = criterion

    def forward(self, outputs: Any, label: Any) -> Any:
        """Return what the criterion's `assignment` returns, arrays as tensors, without gradient."""
        with paddle.no_grad():
            found = self.criterion.assignment(outputs, label)
        return map_leaves(found, lambda leaf: leaf if is_tensor(leaf) else to_tensor(leaf))


class NetWithLoss(nn.Layer):
    """Returns the loss of `criterion(net(*args, **kwargs), label)`; without a net, of the outputs.

    A criterion that is a layer is a child and is judged inside; a plain function is glue, and so
    is one that takes `net` or `inputs` by name: it gets them as they are in the graph. Where it
    `leaves_out_loss` the net runs alone.
    """

    net_with_loss_mark = WITH_LOSS_MARK  # it is known by this, never by its name
    asked: frozenset[str]
    leaves_out_loss: bool

    def __init__(self, net: nn.Layer | None, criterion: Callable[..., Any]) -> None:
        super().__init__()
        if net is not None:
            self.net = net
            self.training = net.training  # else a net in eval mode looks like a frozen part
        if isinstance(criterion, nn.Layer):
            self.criterion = criterion
        else:
            self.__dict__["criterion"] = criterion
        if offers_assignment(criterion):
            self.assignment = Assignment(criterion)
        self.__dict__["asked"] = asked_by(criterion)
        self.leaves_out_loss = False

    def parameters(self, include_sublayers: bool = True) -> list[paddle.Tensor]:
        """Return what an optimizer is given: those that the net's own `parameters` gives."""
        held = [child for child in self._sub_layers.values() if child is not None]
        every = [each for child in held for each in child.parameters()]
        return list({id(each): each for each in every if include_sublayers}.values())

    def train(self) -> None:
        """Set train mode, of the net by its own `train`: Paddle's sets flags alone."""
        super().train()
        for child in self._sub_layers.values():
            child.train()

    def eval(self) -> None:
        """Set eval mode, of the net by its own `eval`."""
        super().eval()
        for child in self._sub_layers.values():
            child.eval()

    def forward(self, args: tuple, kwargs: dict[str, Any], label: paddle.Tensor) -> Any:
        """Return what the criterion returns, or the net alone."""
        net = self._sub_layers.get("net")
        if self.leaves_out_loss:
            return net(*args, **kwargs)
        more = given_to(self.asked, net, args, kwargs)
        outputs = net(*args, **kwargs) if net is not None else args[0] if len(args) == 1 else args
        run: Any = self.criterion
        if more:
            forward = getattr(type(self.criterion), "forward", None)
            run = self.criterion if forward is None else partial(forward, self.criterion)
        if ASSIGNMENT in self._sub_layers:
            more = {**more, ASSIGNMENT: self.assignment(outputs, label)}
        return run(outputs, label, **more)
