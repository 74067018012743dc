"""The exponential moving average of a net's weights and buffers."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from common.schedules import ema_decay

UPDATES = "number of updates"


class Average:
    """The average of every floating tensor of `net`, which begins at what they are now.

    Args:
        decay: what one update keeps of the average.
        warm_up: whether the first updates keep less, see `ema_decay`.

    Tensors under several names are averaged once. Those of less than 32 bits are held in float32.
    """

    def __init__(self, net: nn.Module, decay: float, warm_up: bool) -> None:
        self.net, self.decay, self.warm_up = net, decay, warm_up
        self.updates = 0
        self.held = {name: _wide(tensor) for name, tensor in self._live().items()}
        self.own: dict[str, torch.Tensor] | None = None  # of the net, while it shows the average

    @torch.no_grad()
    def update(self) -> None:
        """Take the net's present tensors in."""
        keep = ema_decay(self.updates, self.decay, self.warm_up)
        for name, tensor in self._live().items():
            held = self.held[name]
            held.mul_(keep).add_(tensor.to(held.dtype), alpha=1 - keep)
        self.updates += 1

    @torch.no_grad()
    def show(self, average: bool) -> None:
        """Let the net hold the average, or its own tensors again."""
        if average == (self.own is not None):
            return
        own, self.own = self.own, None
        live = self._live()
        if average:
            self.own = {name: tensor.clone() for name, tensor in live.items()}
        for name, values in (self.held if own is None else own).items():
            live[name].copy_(values)

    def state(self) -> dict[str, np.ndarray]:
        """Return the average by name, and how many updates it has seen."""
        arrays = {name: held.cpu().numpy().copy() for name, held in self.held.items()}
        return {**arrays, UPDATES: np.asarray(self.updates)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        self.updates = int(state[UPDATES])
        for name, held in self.held.items():
            held.copy_(torch.from_numpy(np.array(state[name])))

    def _live(self) -> dict[str, torch.Tensor]:
        """Return the floating tensors of the net of now, each under its first name.

        A forward may assign buffers anew.
        """
        found: dict[int, tuple[str, torch.Tensor]] = {}
        for name, tensor in self.net.state_dict(keep_vars=True).items():
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                found.setdefault(id(tensor), (name, tensor.detach()))
        return dict(found.values())


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    wide = tensor.dtype if tensor.dtype == torch.float64 else torch.float32
    return tensor.to(wide, copy=True)
