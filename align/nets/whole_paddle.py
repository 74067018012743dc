"""A net and its loss as one module of Paddle, so that one forced pass judges both."""

from collections.abc import Callable
from typing import Any

import paddle
from paddle import nn

from align.nets.calls import WITH_LOSS_MARK


class NetWithLoss(nn.Layer):
    """Returns the loss of `criterion(net(*args, **kwargs), label)`; without a net, of the outputs.

    A criterion that is a layer is a child and is judged inside; a plain function is glue.
    """

    net_with_loss_mark = WITH_LOSS_MARK  # it is known by this, never by its name

    def __init__(self, net: nn.Layer | None, criterion: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        if net is not None:
            self.net = net
        if isinstance(criterion, nn.Layer):
            self.criterion = criterion
        else:
            self.__dict__["criterion"] = criterion

    def forward(self, args: tuple, kwargs: dict[str, Any], label: paddle.Tensor) -> Any:
        """Return what the criterion returns."""
        if "net" in self._sub_layers:
            return self.criterion(self.net(*args, **kwargs), label)
        return self.criterion(args[0] if len(args) == 1 else args, label)
