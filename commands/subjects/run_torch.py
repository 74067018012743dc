"""What commands ask of a live net of torch: its outputs as arrays, and its weights as a file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from align.arrays.arrays_torch import is_tensor, to_array, to_tensor
from align.arrays.trees import leaves, map_leaves
from align.nets.prepare_torch import state_kept
from common.files import whole_file
from common.nets import members


def outputs_in_train_mode(net: Any, *inputs: Any) -> Any:
    """Return what the net makes of `inputs`, tensors as arrays; the net is left as it was."""
    modes = {module: module.training for module in members.modules(net)}
    with torch.no_grad(), state_kept(net):
        outputs = net.train()(*map_leaves(inputs, to_tensor))
    for module, training in modes.items():
        module.training = training
    return map_leaves(outputs, lambda leaf: to_array(leaf) if is_tensor(leaf) else leaf)


def tensors_in_order(net: Any, args: tuple, kwargs: dict[str, Any]) -> list[np.ndarray]:
    """Return the tensors that the net gives for arrays, in order; no gradient is recorded."""
    args, kwargs = map_leaves((args, kwargs), to_tensor)
    with torch.no_grad():
        outputs = leaves(net(*args, **kwargs))
    return [to_array(leaf) for leaf in outputs if is_tensor(leaf)]


def resized(logits: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return `logits` [N, C, h, w], bilinearly at `size` (H, W)."""
    tensor = torch.from_numpy(logits)
    return F.interpolate(tensor, size=size, mode="bilinear", align_corners=False).numpy()


def write_checkpoint(path: Path, net: Any) -> None:
    """Write a net's weights with torch.save."""
    with whole_file(path) as draft:
        torch.save(net.state_dict(), draft)


def write_seeded_checkpoint(path: Path, row: str, seed: int, **overrides: Any) -> None:
    """Write the seeded weights of a row of the table as its authors' files are, with torch.save."""
    from torch_ref.seeded import build_seeded

    write_checkpoint(path, build_seeded(row, seed, **overrides))
