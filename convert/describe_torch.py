"""Describes the state dict of a torch net, or of a part of one."""

from torch import nn

from convert.spec import BARE, BATCH_NORM, INPLACE_ABN, TensorSpec
from torch_ref.layers import InPlaceABN

_KINDS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((InPlaceABN,), INPLACE_ABN),
    ((nn.modules.batchnorm._BatchNorm,), BATCH_NORM),
    ((nn.Linear,), "Linear"),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "ConvTranspose"),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "Conv"),
    ((nn.Embedding,), "Embedding"),
    ((nn.PReLU,), "PReLU"),
    ((nn.modules.instancenorm._InstanceNorm,), "InstanceNorm"),
    ((nn.LayerNorm,), "LayerNorm"),
    ((nn.GroupNorm,), "GroupNorm"),
)


def kind_of(layer: nn.Module) -> str:
    """Return the kind of `layer`, decided by its class and never by its name or shapes."""
    return next((kind for classes, kind in _KINDS if isinstance(layer, classes)), BARE)


def describe(net: nn.Module) -> list[TensorSpec]:
    """List the tensors of `net.state_dict()` in its order; a shared tensor under each name."""
    layers = dict(net.named_modules(remove_duplicate=False))
    specs = []
    for key, tensor in net.state_dict().items():
        if not hasattr(tensor, "shape"):  # extra state
            continue
        path, _, leaf = key.rpartition(".")
        dtype = str(tensor.dtype).removeprefix("torch.")
        kind = kind_of(layers[path]) if path in layers else BARE
        specs.append(TensorSpec(key, tuple(tensor.shape), dtype, kind, leaf))
    return specs
