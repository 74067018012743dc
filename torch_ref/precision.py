"""How a training computes: autocast, scaled losses, TF32, memory format, compiled nets."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from common.errors import UserError
from common.settings.train import Train

_COUNTS = {"scale": "scale", "growth": "_growth_tracker"}  # of a scaler, by our names


class Precision:
    """How a step computes, and how its gradients become an update.

    Args:
        device: "cpu" or "cuda".
        dtype: of autocast; None: everything is computed in the dtype of the weights.
        scaler: of the loss, for float16.
    """

    def __init__(
        self,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.device, self.dtype, self.scaler = device, dtype, scaler

    def computing(self) -> AbstractContextManager[Any]:
        """Return the context in which outputs and loss are computed."""
        return torch.autocast(self.device, self.dtype) if self.dtype else nullcontext()

    def predicting(self) -> AbstractContextManager[Any]:
        """Return the context of a validation: weights are float32, and so is it."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, scaled where there is a scaler."""
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """Step the optimizer on unscaled gradients; not where one of them is not finite."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()

    def state(self) -> dict[str, np.ndarray]:
        """Return what the scaler knows; nothing where there is none."""
        held = self.scaler.state_dict() if self.scaler else {}
        return {name: np.asarray(held[own], "float64") for name, own in _COUNTS.items() if held}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        if self.scaler:
            held = self.scaler.state_dict()
            held["scale"], held["_growth_tracker"] = float(state["scale"]), int(state["growth"])
            self.scaler.load_state_dict(held)


FLOAT32 = Precision()


def precision_of(train: Train, net: nn.Module) -> Precision:
    """Return what a config says of the precision, and prepare `net` for it, in place.

    Raises UserError for what torch cannot do on the device of the net.
    """
    device = next(net.parameters()).device.type
    _refuse(train, device)
    if train.tf32 is not None:
        torch.backends.cuda.matmul.allow_tf32 = train.tf32
        torch.backends.cudnn.allow_tf32 = train.tf32
    if train.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of 4-D tensors
    if train.compile:
        net.compile()
    if train.precision == "float32":
        return FLOAT32
    scaler = None
    if train.amp.dtype == "float16":
        scaler = torch.amp.GradScaler(device, **train.amp.scaling)
    return Precision(device, getattr(torch, train.amp.dtype), scaler)


def _refuse(train: Train, device: str) -> None:
    if train.precision == "amp_o2":
        raise UserError(
            "train.precision is amp_o2, which is Paddle's: torch keeps weights in float32 under "
            "autocast; the reference trains with train.precision=amp_o1"
        )
    if train.tf32 is not None and device == "cpu":
        raise UserError(
            "train.tf32 is a switch of a GPU's kernels, and this run is on a CPU; leave it out, or "
            "use --device gpu"
        )
    half = train.precision != "float32" and train.amp.dtype == "bfloat16"
    if half and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError(
            "train.amp.dtype is bfloat16, which this GPU does not compute in; set "
            "train.amp.dtype=float16"
        )
