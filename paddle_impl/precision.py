"""How a training computes: autocast, scaled losses, TF32, memory format, compiled nets."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.base import core

from common.errors import UserError
from common.settings.train import Train

_COUNTS = {"scale": "scale", "growth": "incr_count"}  # of a scaler, by our names


class Precision:
    """How a step computes, and how its gradients become an update.

    Args:
        level: "O1" or "O2" of auto_cast, "O0" for none: everything is computed in the dtype of the
            weights. Under O2 the weights are of `dtype`, but for those of normalisations.
        dtype: of auto_cast.
        scaler: of the loss, for float16.
    """

    def __init__(
        self,
        level: str = "O0",
        dtype: str = "float16",
        scaler: paddle.amp.GradScaler | None = None,
    ) -> None:
        self.level, self.dtype, self.scaler = level, dtype, scaler

    def computing(self) -> AbstractContextManager[Any]:
        """Return the context in which outputs and loss are computed."""
        if self.level == "O0":
            return nullcontext()
        cast: AbstractContextManager[Any] = paddle.amp.auto_cast(level=self.level, dtype=self.dtype)
        return cast

    def predicting(self) -> AbstractContextManager[Any]:
        """Return the context of a validation: of float32 weights it is in float32."""
        return self.computing() if self.level == "O2" else nullcontext()

    def backward(self, loss: paddle.Tensor) -> None:
        """Add the gradients of `loss`, scaled where there is a scaler."""
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Step the optimizer on unscaled gradients; not where one of them is not finite."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()

    def state(self) -> dict[str, np.ndarray]:
        """Return what the scaler knows; nothing where there is none."""
        held = self.scaler.state_dict() if self.scaler else {}
        return {
            name: np.asarray(held[own], "float64").reshape([])
            for name, own in _COUNTS.items()
            if held
        }

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        if self.scaler:
            held = self.scaler.state_dict()
            held["scale"] = np.array([float(state["scale"])], "float32")
            held["incr_count"], held["decr_count"] = int(state["growth"]), 0
            self.scaler.load_state_dict(held)


FLOAT32 = Precision()


def precision_of(train: Train, net: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> Precision:
    """Return what a config says of the precision, and prepare net and optimizer for it, in place.

    Raises UserError for what Paddle cannot do on its device.
    """
    _refuse(train, paddle.get_device().partition(":")[0])
    if train.tf32 is not None:
        core.set_cublas_switch(train.tf32)
        core.set_cudnn_switch(train.tf32)
    if train.channels_last:
        paddle.incubate.autotune.set_config({"layout": {"enable": True}})
    if train.compile:
        paddle.jit.to_static(net)
    if train.precision == "float32":
        return FLOAT32
    dtype, level = train.amp.dtype, train.precision.removeprefix("amp_").upper()
    if level == "O2":
        paddle.amp.decorate(net, optimizer, level=level, dtype=dtype, master_weight=True)
    scaler = None
    if dtype == "float16":
        options = train.amp.scaling
        scaler = paddle.amp.GradScaler(
            init_loss_scaling=options["init_scale"],
            incr_every_n_steps=options["growth_interval"],
            decr_every_n_nan_or_inf=1,  # as torch's; 2.6.2 waits for two
        )
    return Precision(level, dtype, scaler)


def _refuse(train: Train, device: str) -> None:
    if device == "cpu":
        for key, reason in _NOTHING_ON_A_CPU.items():
            value = getattr(train, key)
            if value not in (None, False, "float32"):
                raise UserError(
                    f"train.{key} is {str(value).lower()}, and on a CPU {reason}, without an "
                    "error: the run would be another one than it says. Use --device gpu, or take "
                    f"train.{key} out"
                )
    half = train.precision != "float32" and train.amp.dtype == "bfloat16"
    if half and device == "gpu" and not paddle.amp.is_bfloat16_supported():
        raise UserError(
            "train.amp.dtype is bfloat16, which this GPU does not compute in; set "
            "train.amp.dtype=float16"
        )


_NOTHING_ON_A_CPU = {
    "precision": "Paddle's auto_cast does nothing",
    "tf32": "the switch of TF32 does nothing",
    "channels_last": "Paddle's tuning of the layout does nothing",
}
