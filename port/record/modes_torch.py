"""Which classes of a net follow `train(mode)` in a way of their own."""

from torch import nn

from common.nets import members


def classes_with_modes(net: nn.Module) -> set[str]:
    """Return "module:name" of the classes that must hand a mode on, layer by layer.

    Where a layer inside the net has a `train` or `eval` of its own: the classes at the top of its
    and of the net's that inherit nn.Module itself, or a layer of torch's. Of other nets none.
    """
    kinds = {type(module) for module in members.modules(net)}
    own = {kind for kind in kinds if _is_own(kind, "train") or _is_own(kind, "eval")}
    return {
        f"{one.__module__}:{one.__qualname__}"
        for kind in ({type(net)} | own if own else ())
        for one in kind.__mro__
        if any(map(_is_torchs, one.__bases__)) and not _is_torchs(one)
    }


def _is_torchs(kind: type) -> bool:
    return issubclass(kind, nn.Module) and kind.__module__.startswith("torch.")


def _is_own(kind: type[nn.Module], name: str) -> bool:
    method = getattr(kind, name)
    torchs = getattr(method, "__module__", "torch.").startswith("torch.")
    return method is not getattr(nn.Module, name) and not torchs
