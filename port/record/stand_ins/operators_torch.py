"""Operators that torchvision registers from a library that cannot be loaded beside this torch.

Its Python part asks for them on import, and nets import it for other things.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

_NAMES = ("nms", "qnms")
_MISSING = "operator torchvision::"
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_T = TypeVar("_T")
_kept: list[torch.library.Library] = []  # a library's definitions live as long as it does


def lent(action: Callable[[], _T]) -> _T:
    """Return what `action` does; where it misses torchvision's operators, once more with them.

    They are declared, not implemented: a net that calls one says so.
    """
    try:
        return action()
    except Exception as error:
        if _kept or not any(_MISSING in str(one) for one in _chain(error)):
            raise
    _kept.append(torch.library.Library("torchvision", "DEF"))
    for name in _NAMES:
        _kept[0].define(f"{name}{_SIGNATURE}")
    return action()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those behind it: a package that imports lazily raises one of its own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
