"""Training in Paddle: one step, and what the loop in `common.training` asks of a framework."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.data import Batch
from common.data.batch import as_given
from common.errors import UserError
from common.evaluation import protocol
from common.processes.group import ALONE, ProcessGroup
from common.settings.run import Evaluate
from common.training.faults.not_finite import require_finite
from common.training.net_side import (
    NetSide,
    loss_parts,
    main_logits,
    map_outputs,
    outputs_taught,
    require_slots,
    seed_samples,
    tensors_to_fill,
)
from paddle_impl.optim import set_lr, trainable_parameters
from paddle_impl.precision import FLOAT32, Precision

# Paddle's optimizers call a slot <parameter>_velocity_0.
_SLOTS = {
    "velocity": "velocity",
    "momentum_buffer": "velocity",
    "square_avg": "square_avg",
    "moment1": "exp_avg",
    "moment2": "exp_avg_sq",
    "moment2_max": "max_exp_avg_sq",
    "beta1_pow_acc": "beta1_pow",
    "beta2_pow_acc": "beta2_pow",
}


def train_step(
    net: nn.Layer,
    criterion: nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    batches: Sequence[Batch],
    lr: float,
    *,
    frozen: Sequence[nn.Layer] = (),
    precision: Precision = FLOAT32,
    group: ProcessGroup = ALONE,
) -> dict[str, float]:
    """Make one update with the mean gradient over the micro-batches `batches`.

    lr: the schedule's rate of this step, set before the update. frozen: layers that stay in eval
    mode. precision: how outputs and gradients are computed. group: each of its processes has as
    many micro-batches, the mean is over all. Images are cast to the net's dtype. Returns the terms
    of the loss, averaged over the micro-batches, and their sum "loss".

    Raises NotFinite, before the update, where the loss or a gradient is not finite; a scaler skips
    updates whose gradients are not.
    """
    count = len(batches) * group.size
    net.train()
    for layer in frozen:
        layer.eval()
    set_lr(optimizer, lr)
    dtype = net.parameters()[0].dtype
    sums: dict[str, float] = {}
    for batch in batches:
        image, target = to_tensors(batch)
        with precision.computing():
            outputs = outputs_taught(net, criterion, image.astype(dtype), target)
            parts = loss_parts(criterion, outputs, target)
        precision.backward(parts["loss"] / count)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    losses = group.means(sums, count)
    group.add_gradients(trainable_parameters(net, criterion).values())
    scaled = precision.scaler is not None
    require_finite(losses, lambda: scaled or finite_gradients(net, criterion))
    precision.update(optimizer)
    # Not zeros: under them a parameter without a gradient would decay.
    optimizer.clear_grad(set_to_zero=False)
    return losses


def finite_gradients(net: nn.Layer, criterion: nn.Layer | None) -> bool:
    """Tell whether all gradients are finite; the device is waited for once."""
    gradients = [p.grad for p in trainable_parameters(net, criterion).values()]
    found = [paddle.isfinite(g).all() for g in gradients if g is not None]
    return not found or bool(paddle.stack(found).all())


def to_tensors(batch: Batch) -> tuple[paddle.Tensor, Any]:
    """Wrap a batch: image [N, 3, H, W] and label [N, H, W], dtypes kept, on Paddle's device.

    A target of several arrays is tensors by name.
    """
    return paddle.to_tensor(batch.image), as_given(batch.target, paddle.to_tensor)


def predict(net: nn.Layer, image: np.ndarray, options: Evaluate) -> np.ndarray:
    """Return the classes of `image` float32 [N, 3, H, W]: int64 [N, H, W], at its own size.

    Leaves the net in eval mode.
    """
    return protocol.predict(PaddleInference(net), image, options)


class PaddleInference:
    """`common.evaluation.protocol.Inference` of a net, which is put into eval mode."""

    def __init__(self, net: nn.Layer) -> None:
        self.net = net
        net.eval()

    def __str__(self) -> str:
        """Say what runs it."""
        return f"paddle, eager, {paddle.get_device()}"

    def classes(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> np.ndarray:
        """Return the class of the largest logit: int64 [N, H, W]."""
        with paddle.no_grad():
            logits = self._logits(image, seen_hw, align_corners)
            classes: np.ndarray = logits.argmax(axis=1).numpy()
        return classes

    def probabilities(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> np.ndarray:
        """Return the softmax of the logits: [N, C, H, W]."""
        with paddle.no_grad():
            logits = self._logits(image, seen_hw, align_corners)
            array: np.ndarray = F.softmax(logits, axis=1).numpy()
        return array

    def outputs(self, image: np.ndarray) -> Any:
        """Return what the net returns for `image` [N, 3, H, W]: arrays, nested as its tensors."""
        with paddle.no_grad():
            tensor = paddle.to_tensor(image).astype(self.net.parameters()[0].dtype)
            return map_outputs(self.net(tensor), lambda found: found.numpy())

    def _logits(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> paddle.Tensor:
        """Return the logits at the image's own size."""
        tensor = paddle.to_tensor(image).astype(self.net.parameters()[0].dtype)
        logits = main_logits(self.net(_resize(tensor, seen_hw, align_corners)))
        return _resize(logits, (image.shape[2], image.shape[3]), align_corners)


def _resize(tensor: paddle.Tensor, size: tuple[int, int], align_corners: bool) -> paddle.Tensor:
    if tuple(tensor.shape[2:]) == size:
        return tensor
    return F.interpolate(tensor, size=list(size), mode="bilinear", align_corners=align_corners)


def read_slots(
    net: nn.Layer, criterion: nn.Layer | None, optimizer: paddle.optimizer.Optimizer
) -> dict[str, np.ndarray]:
    """Return the slots of every parameter that has some, as "velocity.<name of parameter>"."""
    slots = _slots(net, criterion, optimizer)
    return {key: slot.numpy().copy() for key, slot in slots.items()}


def write_slots(
    net: nn.Layer,
    criterion: nn.Layer | None,
    optimizer: paddle.optimizer.Optimizer,
    slots: Mapping[str, np.ndarray],
) -> None:
    """Set the slots of the parameters named in `slots`, as `read_slots` gave them.

    Gradients must be clear. Raises UserError for a name or shape that is not the net's.
    """
    params = trainable_parameters(net, criterion)
    require_slots(params, slots)
    made = _slots(net, criterion, optimizer)
    absent = {key.partition(".")[2]: None for key in slots if key not in made}
    if absent:
        make_slots(optimizer, [params[name] for name in absent])
    made = _slots(net, criterion, optimizer)
    for key, array in slots.items():
        made[key].set_value(np.ascontiguousarray(array))


def _slots(
    net: nn.Layer, criterion: nn.Layer | None, optimizer: paddle.optimizer.Optimizer
) -> dict[str, paddle.Tensor]:
    """The optimizer's own tensors, found by the internal names of their parameters."""
    params = {p.name: name for name, p in trainable_parameters(net, criterion).items()}
    found = {}
    state = dict(optimizer.state_dict())
    masters = state.pop("master_weights", {})  # in float32, of weights in half precision
    for own, tensor in masters.items():
        if own in params:
            found[f"master.{params[own]}"] = tensor
            params[tensor.name] = params[own]  # whose slots these weights' are
    for key, tensor in state.items():
        for own, slot in _SLOTS.items():
            owner, _, number = key.rpartition(f"_{own}_")
            if number.isdigit() and owner in params:
                found[f"{slot}.{params[owner]}"] = tensor
    return found


def make_slots(optimizer: paddle.optimizer.Optimizer, params: list[paddle.Tensor]) -> None:
    """Have Paddle make the slots of `params`, which it does in the first step only.

    At rate 0 the step leaves every weight as it is, and it skips whatever has no gradient.
    """
    rate = optimizer.get_lr()
    set_lr(optimizer, 0.0)
    kind = "float64" if params[0].dtype == paddle.float64 else "float32"
    nothing = [(param.sum() * 0.0).astype(kind) for param in params]
    sum(nothing, start=paddle.zeros([], kind)).backward()
    optimizer.step()
    optimizer.clear_grad(set_to_zero=False)
    set_lr(optimizer, rate)


def read_arrays(net: nn.Layer) -> dict[str, np.ndarray]:
    """Return the weights and buffers of `net` by name."""
    return {key: tensor.numpy().copy() for key, tensor in net.state_dict().items()}


def load_arrays(
    net: nn.Layer,
    arrays: Mapping[str, np.ndarray],
    into: str = "",
    left: Collection[str] = (),
) -> None:
    """Fill `net`, or all of its part `into`, with `arrays` in its names, strictly.

    Tensors named in `left` may be absent from `arrays`: they stay as they are. Floating
    arrays are cast to their tensor's dtype; uint16 stands for bfloat16, as in Paddle's files.
    Raises ConversionError naming what is absent, unknown or of another shape.
    """
    own = tensors_to_fill(net.state_dict(), arrays, into, left)
    for key, array in arrays.items():
        dtype = str(own[key].dtype).removeprefix("paddle.")
        own[key].set_value(_as_held(array, dtype))


def _as_held(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an array as a tensor of `dtype` takes it: bfloat16 as its bits."""
    if array.dtype == np.uint16 and dtype.startswith(("float", "bfloat")):
        array = array.view(ml_dtypes.bfloat16)
    if dtype == "bfloat16":
        return np.ascontiguousarray(array, ml_dtypes.bfloat16).view(np.uint16)
    return np.ascontiguousarray(array, dtype)


class PaddleSide(NetSide):
    """`common.evaluation.side.Side` in Paddle."""

    precision = FLOAT32
    framework = "paddle"
    version = str(paddle.__version__)
    weights_suffix = ".pdparams"
    train_step = staticmethod(train_step)
    inference = PaddleInference
    read_arrays = staticmethod(read_arrays)
    load_arrays = staticmethod(load_arrays)
    read_slots = staticmethod(read_slots)
    write_slots = staticmethod(write_slots)

    def __init__(
        self, net: nn.Layer, criterion: nn.Layer, optimizer: paddle.optimizer.Optimizer
    ) -> None:
        super().__init__(net, criterion, optimizer)
        self.device = str(paddle.get_device())

    def seed(self, seed: int) -> None:
        """Seed Paddle's generators, and the draws of layers that draw by themselves."""
        paddle.seed(seed)
        seed_samples(self.net.sublayers(include_self=True), seed)

    def parameter_count(self) -> int:
        """Count the trainable values of the net (statistics are none, though Paddle lists them)."""
        return sum(int(np.prod(p.shape)) for p in trainable_parameters(self.net, None).values())

    def save_weights(self, path: Path) -> None:
        """Write a `.pdparams` file, whatever the name of `path`: of the average, if any."""
        self._show_average(True)
        half = (paddle.float16, paddle.bfloat16)
        state = self.net.state_dict()
        wide = {k: t.astype("float32") for k, t in state.items() if t.dtype in half}
        paddle.save({**state, **wide} if wide else state, str(path))


def choose_device(name: str) -> None:
    """Make "cpu" or "gpu" Paddle's device. Raises UserError where there is no GPU, or no build."""
    if name == "gpu" and not paddle.is_compiled_with_cuda():
        raise UserError(
            f"--device gpu: paddlepaddle {paddle.__version__} here is built for CPUs; install "
            "paddlepaddle-gpu instead of it, or use --device cpu"
        )
    if name == "gpu" and paddle.device.cuda.device_count() == 0:
        raise UserError("--device gpu: Paddle sees no GPU on this machine; use --device cpu")
    paddle.set_device(name)
