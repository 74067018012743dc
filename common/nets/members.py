"""All that a net of either framework holds: layers, parameters, buffers.

By the tables that both frameworks fill, not by the methods of the same names: a net's class may
have a `parameters` of its own, which gives an optimizer those that are to be trained and no others.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def named_modules(net: Any, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (path, layer) of `net` and all that it holds, root "" first."""
    yield from _below(net, "", set() if remove_duplicate else None)


def modules(net: Any) -> list[Any]:
    """Return `net` and each layer that it holds, once."""
    return [module for _, module in named_modules(net)]


def named_parameters(net: Any, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (name, parameter) of all layers, whether it is trained or not."""
    yield from _tensors(net, "_parameters", remove_duplicate)


def parameters(net: Any) -> list[Any]:
    """Return each parameter of all layers, once."""
    return [parameter for _, parameter in named_parameters(net)]


def named_buffers(net: Any, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (name, buffer) of all layers."""
    yield from _tensors(net, "_buffers", remove_duplicate)


def buffers(net: Any) -> list[Any]:
    """Return each buffer of all layers, once."""
    return [buffer for _, buffer in named_buffers(net)]


def _children(module: Any) -> Mapping[str, Any]:
    """Return what a layer holds itself: Paddle's table has another name than torch's."""
    own: Mapping[str, Any] | None = vars(module).get("_sub_layers")
    return module._modules if own is None else own


def _below(module: Any, path: str, seen: set[int] | None) -> Iterator[tuple[str, Any]]:
    if seen is not None and id(module) in seen:
        return
    if seen is not None:
        seen.add(id(module))
    yield path, module
    for name, child in list(_children(module).items()):
        if child is not None:
            yield from _below(child, f"{path}.{name}" if path else name, seen)


def _tensors(net: Any, table: str, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for path, module in named_modules(net, remove_duplicate):
        for name, tensor in list(getattr(module, table).items()):
            if tensor is None or (remove_duplicate and id(tensor) in seen):
                continue
            seen.add(id(tensor))
            yield f"{path}.{name}" if path else name, tensor
