"""Training in PyTorch: one step, and what the loop in `common.training` asks of a framework."""

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common.data import Batch
from common.data.batch import as_given
from common.errors import UserError
from common.evaluation import protocol
from common.processes.group import ALONE, ProcessGroup
from common.settings.run import Evaluate
from common.training.faults.not_finite import require_finite
from common.training.net_side import (
    COUNTERS,
    NetSide,
    loss_parts,
    main_logits,
    map_outputs,
    outputs_taught,
    require_slots,
    seed_samples,
    tensors_to_fill,
)
from torch_ref.optim import set_lr, trainable_parameters
from torch_ref.precision import FLOAT32, Precision

# torch's names of the slots.
_SLOTS = {
    "velocity": "momentum_buffer",
    "square_avg": "square_avg",
    "exp_avg": "exp_avg",
    "exp_avg_sq": "exp_avg_sq",
    "max_exp_avg_sq": "max_exp_avg_sq",
    "step": "step",
}


def train_step(
    net: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    lr: float,
    *,
    frozen: Sequence[nn.Module] = (),
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
    parameter = next(net.parameters())
    sums: dict[str, float] = {}
    for batch in batches:
        image, target = to_tensors(batch, parameter.device)
        with precision.computing():
            outputs = outputs_taught(net, criterion, image.to(parameter.dtype), target)
            parts = loss_parts(criterion, outputs, target)
        precision.backward(parts["loss"] / count)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    losses = group.means(sums, count)
    group.add_gradients(trainable_parameters(net, criterion).values())
    scaled = precision.scaler is not None
    require_finite(losses, lambda: scaled or finite_gradients(net, criterion))
    precision.update(optimizer)
    optimizer.zero_grad(set_to_none=True)
    return losses


def finite_gradients(net: nn.Module, criterion: nn.Module | None) -> bool:
    """Tell whether all gradients are finite; the device is waited for once."""
    gradients = [p.grad for p in trainable_parameters(net, criterion).values()]
    found = [g.isfinite().all() for g in gradients if g is not None]
    return not found or bool(torch.stack(found).all())


def to_tensors(batch: Batch, device: torch.device | str = "cpu") -> tuple[torch.Tensor, Any]:
    """Wrap a batch: image [N, 3, H, W] and label [N, H, W], dtypes kept, on `device`.

    A target of several arrays is tensors by name.
    """

    image = torch.from_numpy(batch.image).to(device)
    return image, as_given(batch.target, lambda array: torch.from_numpy(array).to(device))


def predict(net: nn.Module, image: np.ndarray, options: Evaluate) -> np.ndarray:
    """Return the classes of `image` float32 [N, 3, H, W]: int64 [N, H, W], at its own size.

    Leaves the net in eval mode.
    """
    return protocol.predict(TorchInference(net), image, options)


class TorchInference:
    """`common.evaluation.protocol.Inference` of a net, which is put into eval mode."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        net.eval()

    def __str__(self) -> str:
        """Say what runs it."""
        return f"torch, eager, {next(self.net.parameters()).device}"

    def classes(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> np.ndarray:
        """Return the class of the largest logit: int64 [N, H, W]."""
        with torch.no_grad():
            logits = self._logits(image, seen_hw, align_corners)
            classes: np.ndarray = logits.argmax(dim=1).cpu().numpy()
        return classes

    def probabilities(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> np.ndarray:
        """Return the softmax of the logits: [N, C, H, W]."""
        with torch.no_grad():
            logits = self._logits(image, seen_hw, align_corners)
            array: np.ndarray = torch.softmax(logits, dim=1).cpu().numpy()
        return array

    def outputs(self, image: np.ndarray) -> Any:
        """Return what the net returns for `image` [N, 3, H, W]: arrays, nested as its tensors."""
        with torch.no_grad():
            tensor = torch.from_numpy(image).to(next(self.net.parameters()))
            return map_outputs(self.net(tensor), lambda found: found.cpu().numpy())

    def _logits(
        self, image: np.ndarray, seen_hw: tuple[int, int], align_corners: bool
    ) -> torch.Tensor:
        """Return the logits at the image's own size."""
        tensor = torch.from_numpy(image).to(next(self.net.parameters()))
        logits = main_logits(self.net(_resize(tensor, seen_hw, align_corners)))
        return _resize(logits, (image.shape[2], image.shape[3]), align_corners)


def _resize(tensor: torch.Tensor, size: tuple[int, int], align_corners: bool) -> torch.Tensor:
    if tuple(tensor.shape[2:]) == size:
        return tensor
    return F.interpolate(tensor, size=list(size), mode="bilinear", align_corners=align_corners)


def read_slots(
    net: nn.Module, criterion: nn.Module | None, optimizer: torch.optim.Optimizer
) -> dict[str, np.ndarray]:
    """Return the slots of every parameter that has some, as "velocity.<name of parameter>"."""
    slots = _slots(net, criterion, optimizer)
    return {key: slot.cpu().numpy().copy() for key, slot in slots.items()}


def write_slots(
    net: nn.Module,
    criterion: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    slots: Mapping[str, np.ndarray],
) -> None:
    """Set the slots of the parameters named in `slots`, as `read_slots` gave them.

    Gradients must be clear. Raises UserError for a name or shape that is not the net's.
    """
    params = trainable_parameters(net, criterion)
    require_slots(params, slots)
    for key, array in slots.items():
        slot, _, name = key.partition(".")
        parameter = params[name]
        state = optimizer.state[parameter]
        held = torch.from_numpy(np.array(array))
        state[_SLOTS[slot]] = held if slot in COUNTERS else held.to(parameter)
        if slot == "square_avg":
            state.setdefault("step", torch.zeros([]))  # RMSprop counts and does not use it


def _slots(
    net: nn.Module, criterion: nn.Module | None, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """The optimizer's own tensors; torch keeps them by parameter."""
    params = trainable_parameters(net, criterion)
    slots = {
        f"{slot}.{name}": optimizer.state.get(parameter, {}).get(own)
        for slot, own in _SLOTS.items()
        for name, parameter in params.items()
    }
    return {key: slot for key, slot in slots.items() if slot is not None}


def read_arrays(net: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights and buffers of `net` by name."""
    return {key: tensor.cpu().numpy().copy() for key, tensor in net.state_dict().items()}


def load_arrays(
    net: nn.Module,
    arrays: Mapping[str, np.ndarray],
    into: str = "",
    left: Collection[str] = (),
) -> None:
    """Fill `net`, or all of its part `into`, with `arrays` in its names, strictly.

    Tensors named in `left` may be absent from `arrays`: they stay as they are. Floating
    arrays are cast to their tensor's dtype.
    Raises ConversionError naming what is absent, unknown or of another shape.
    """
    own = tensors_to_fill(net.state_dict(), arrays, into, left)
    with torch.no_grad():
        for key, array in arrays.items():
            dtype = str(own[key].dtype).removeprefix("torch.")
            own[key].copy_(torch.from_numpy(np.array(array, dtype)))


class TorchSide(NetSide):
    """`common.evaluation.side.Side` in PyTorch."""

    precision = FLOAT32
    framework = "torch"
    version = str(torch.__version__)
    weights_suffix = ".pth"
    train_step = staticmethod(train_step)
    inference = TorchInference
    read_arrays = staticmethod(read_arrays)
    load_arrays = staticmethod(load_arrays)
    read_slots = staticmethod(read_slots)
    write_slots = staticmethod(write_slots)

    def __init__(
        self, net: nn.Module, criterion: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        super().__init__(net, criterion, optimizer)
        self.device = str(next(net.parameters()).device)

    def seed(self, seed: int) -> None:
        """Seed torch's generators, and the draws of layers that draw by themselves."""
        torch.manual_seed(seed)
        seed_samples(self.net.modules(), seed)

    def parameter_count(self) -> int:
        """Count the trainable values of the net."""
        return sum(p.numel() for p in trainable_parameters(self.net, None).values())

    def save_weights(self, path: Path) -> None:
        """Write a file of `torch.save`, whatever the name of `path`: of the average, if any."""
        self._show_average(True)
        content = io.BytesIO()  # of a full disk torch's own writer says nothing that can be told
        torch.save(self.net.state_dict(), content)
        path.write_bytes(content.getbuffer())


def choose_device(name: str) -> torch.device:
    """Return the device "cpu" or "gpu". Raises UserError where there is no GPU, or no build."""
    if name == "gpu" and torch.version.cuda is None:
        raise UserError(
            f"--device gpu: torch {torch.__version__} here is built for CPUs; install a CUDA "
            "build, or use --device cpu"
        )
    if name == "gpu" and not torch.cuda.is_available():
        raise UserError("--device gpu: torch sees no GPU on this machine; use --device cpu")
    return torch.device("cuda" if name == "gpu" else "cpu")
