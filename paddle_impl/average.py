"""The exponential moving average of a net's weights and buffers."""

from collections.abc import Mapping

import numpy as np
import paddle
from paddle import nn

from common.schedules import ema_decay

UPDATES = "number of updates"
_FLOATING = (paddle.float64, paddle.float32, paddle.float16, paddle.bfloat16)


class Average:
    """The average of every floating tensor of `net`, which begins at what they are now.

    Args:
        decay: what one update keeps of the average.
        warm_up: whether the first updates keep less, see `ema_decay`.

    Tensors under several names are averaged once. Those of less than 32 bits are held in float32.
    """

    def __init__(self, net: nn.Layer, decay: float, warm_up: bool) -> None:
        self.net, self.decay, self.warm_up = net, decay, warm_up
        self.updates = 0
        self.held = {name: _wide(tensor) for name, tensor in self._live().items()}
        self.own: dict[str, paddle.Tensor] | None = None  # of the net, while it shows the average

    @paddle.no_grad()
    def update(self) -> None:
        """Take the net's present tensors in."""
        keep = ema_decay(self.updates, self.decay, self.warm_up)
        for name, tensor in self._live().items():
            held = self.held[name]
            # Tensors: Paddle holds plain numbers in float32 here and there.
            kept, taken = (paddle.to_tensor(share, held.dtype) for share in (keep, 1 - keep))
            held.set_value(held * kept + tensor.astype(held.dtype) * taken)
        self.updates += 1

    @paddle.no_grad()
    def show(self, average: bool) -> None:
        """Let the net hold the average, or its own tensors again."""
        if average == (self.own is not None):
            return
        own, self.own = self.own, None
        live = self._live()
        if average:
            self.own = {name: tensor.detach().clone() for name, tensor in live.items()}
        for name, values in (self.held if own is None else own).items():
            live[name].set_value(values.astype(live[name].dtype))

    def state(self) -> dict[str, np.ndarray]:
        """Return the average by name, and how many updates it has seen."""
        arrays = {name: held.numpy().copy() for name, held in self.held.items()}
        return {**arrays, UPDATES: np.asarray(self.updates)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        self.updates = int(state[UPDATES])
        for name, held in self.held.items():
            held.set_value(np.ascontiguousarray(state[name]))

    def _live(self) -> dict[str, paddle.Tensor]:
        """Return the floating tensors of the net of now, each under its first name.

        A forward may assign buffers anew.
        """
        found: dict[int, tuple[str, paddle.Tensor]] = {}
        for name, tensor in self.net.state_dict().items():
            if tensor.dtype in _FLOATING:
                found.setdefault(id(tensor), (name, tensor))
        return dict(found.values())


def _wide(tensor: paddle.Tensor) -> paddle.Tensor:
    wide = "float64" if tensor.dtype == paddle.float64 else "float32"
    return tensor.detach().astype(wide).clone()
