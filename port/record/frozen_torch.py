"""Which normalisations of a net have a weight that takes no gradient."""

from torch import nn

from common.nets import members

LAYER, FUNCTION = "torch.nn.LayerNorm", "torch.nn.functional.layer_norm"


def frozen_norms(net: nn.Module) -> set[str]:
    """Return the names of what may run with a frozen weight: `LAYER`, `FUNCTION`.

    A module of the user's with a frozen weight of one axis may hand it to the function.
    """
    found = set()
    for module in members.modules(net):
        # Not `parameters(recurse=False)`, which the user's class may have in a way of its own.
        own = [p for p in module._parameters.values() if p is not None and not p.requires_grad]
        if isinstance(module, nn.LayerNorm) and any(p is module.weight for p in own):
            found.add(LAYER)
        if any(p.dim() == 1 for p in own) and not type(module).__module__.startswith("torch."):
            found.add(FUNCTION)
    return found
