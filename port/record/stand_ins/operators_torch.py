"""Operators that torchvision registers from a library that cannot be loaded beside this torch.

Its Python part asks for them on import, and nets import it for other things; packages that can do
without it keep quiet about the error, and hold a stand-in from then on.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch

_NAMES = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_T = TypeVar("_T")
_kept: list[torch.library.Library] = []  # a library's definitions live as long as it does


def lent(action: Callable[[], _T]) -> _T:
    """Return what `action` does, with torchvision's operators where it cannot load them itself.

    They are declared, not implemented: a net that calls one says so.
    """
    if not _kept and not _can_load():
        _kept.append(torch.library.Library("torchvision", "DEF"))
        for name in _NAMES:
            _kept[0].define(f"{name}{_SIGNATURE}")
    return action()


def _can_load() -> bool:
    """Load the library of operators; tell whether nothing of torchvision's is missing."""
    if hasattr(torch.ops.torchvision, _NAMES[0]):
        return True
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for file in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(file)
        except (OSError, RuntimeError):
            continue
    return hasattr(torch.ops.torchvision, _NAMES[0])
