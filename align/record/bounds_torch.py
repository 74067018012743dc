"""Takes down the functions that bound values while the reference runs."""

from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from align.arrays.arrays_torch import is_tensor
from align.record.bounds import FUNCTIONS, Apply, BoundsRecorder


class TorchBounds(BoundsRecorder):
    """Of torch's tensors."""

    def is_tensor(self, value: Any) -> bool:
        """See `BoundsRecorder`."""
        return is_tensor(value)

    def ends(self, tensor: Any) -> tuple[float, float] | None:
        """See `BoundsRecorder`."""
        if not tensor.is_floating_point() or not tensor.numel():
            return None
        low, high = tensor.detach().aminmax()
        return float(low), float(high)

    def version(self, tensor: Any) -> int:
        """See `BoundsRecorder`."""
        return int(tensor._version)

    def constant(self, tensor: Any) -> Any:
        """See `BoundsRecorder`."""
        return tensor.detach().reshape(-1)[:1].clone() if tensor.dim() else tensor.detach().clone()

    def probed(self, apply: Apply, grid: np.ndarray) -> np.ndarray:
        """See `BoundsRecorder`."""
        with torch.no_grad():
            return np.array(apply(torch.from_numpy(grid.copy())).double().numpy())


class WatchBounds(TorchFunctionMode):
    """Shows `recorder` every function of `FUNCTIONS` that is called."""

    def __init__(self, recorder: TorchBounds) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name.strip("_") not in FUNCTIONS:
            return func(*args, **(kwargs or {}))
        return self.recorder.called(name, func, args, kwargs or {})
