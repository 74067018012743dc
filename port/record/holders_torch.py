"""Who else holds a tensor that is being written into: lists and dicts of code that is recorded."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn

from port.record.attribute import attribute
from port.record.facts import Holder
from port.record.instrument import ASKED

ATTRIBUTE = ""  # the name of a holder that is an attribute of a layer: nobody knows who reads it


def holders(tensor: torch.Tensor) -> set[Holder]:
    """Return what holds a tensor now, of the functions of recorded files that are running.

    A list, tuple or dict by its local name; an attribute of `self`, itself or such a one.
    """
    found: set[Holder] = set()
    for frame in _frames():
        asker = frame.f_globals.get(ASKED)
        if asker is None:
            continue
        place, local = (asker.file.module, frame.f_lineno), frame.f_locals
        found |= {(*place, name) for name, value in local.items() if _holds(value, tensor)}
        owner = local.get("self")
        if isinstance(owner, nn.Module) and any(
            value is tensor or _holds(value, tensor) for value in _attributes(owner)
        ):
            found.add((*place, ATTRIBUTE))
    return found


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _attributes(owner: nn.Module) -> Iterable[Any]:
    kept = ("_parameters", "_buffers", "_modules")
    return [value for name, value in vars(owner).items() if name not in kept]


def _holds(value: Any, tensor: torch.Tensor) -> bool:
    """Tell whether a plain list, tuple or dict has a tensor among its items."""
    if isinstance(value, Mapping):
        return type(value).__module__ in ("builtins", "collections") and any(
            one is tensor for one in attribute(value, "values")()
        )
    return type(value) in (list, tuple) and any(one is tensor for one in value)
