"""A net and its loss as one module of Paddle, so that one forced pass judges both."""

from collections.abc import Callable
from functools import partial
from typing import Any

import paddle
from paddle import nn

from align.nets.asked import asked_by, given_to
from align.nets.calls import WITH_LOSS_MARK


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
        if isinstance(criterion, nn.Layer):
            self.criterion = criterion
        else:
            self.__dict__["criterion"] = criterion
        self.__dict__["asked"] = asked_by(criterion)
        self.leaves_out_loss = False

    def forward(self, args: tuple, kwargs: dict[str, Any], label: paddle.Tensor) -> Any:
        """Return what the criterion returns, or the net alone."""
        net = self._sub_layers.get("net")
        if self.leaves_out_loss:
            return net(*args, **kwargs)
        more = given_to(self.asked, net, args, kwargs)
        if net is None:
            return self.criterion(args[0] if len(args) == 1 else args, label)
        if not more:
            return self.criterion(net(*args, **kwargs), label)
        forward = getattr(type(self.criterion), "forward", None)
        run = self.criterion if forward is None else partial(forward, self.criterion)
        return run(net(*args, **kwargs), label, **more)
