"""Takes down the functions that the code of one call of the reference calls."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.overrides import TorchFunctionMode

from align.arrays.arrays_torch import is_tensor
from align.causes.meaning import meaning
from align.causes.step_recorder import Recorder


class TorchRecorder(Recorder):
    """Of torch's tensors."""

    def is_tensor(self, value: Any) -> bool:
        """See `Recorder`."""
        return is_tensor(value)

    def read(self, tensor: Any) -> tuple[np.ndarray, bool, int]:
        """See `Recorder`."""
        return tensor.detach().numpy(), bool(tensor.requires_grad), int(tensor._version)


class WatchSteps(TorchFunctionMode):
    """Gives every function that is called to the recorder of the code that runs."""

    def __init__(self, running: Callable[[], Recorder | None]) -> None:
        super().__init__()
        self.running = running

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        recorder = self.running()
        name = getattr(func, "__name__", "")
        if recorder is None or name in ("__get__", "__set__", "numpy", "__array__"):
            return func(*args, **kwargs)
        operands, said = recorder.operands(args, kwargs)
        result = func(*args, **kwargs)
        recorder.step(name, operands, said, result, meaning(func, args, kwargs))
        return result
