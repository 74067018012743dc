"""Finds out whether the reference's backward pass raises by itself, and where that comes from."""

import re
import warnings
from collections.abc import Callable

import torch
from torch import nn

from align.judge.words import Cause
from align.nets.calls import code_of
from align.nets.prepare_torch import state_kept
from common.places import is_users, user_frame

# A frame in what autograd says of the forward call whose backward raised.
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in ')


def own_backward_raises(net: nn.Module, forward: Callable[[], torch.Tensor]) -> Cause | None:
    """Run `net` forward and backward with nobody watching; say what its backward pass raises.

    `forward` runs it and returns the scalar from which the backward pass starts. None where it
    raises nothing, or its forward does. The net's state is as before afterwards.
    """
    with state_kept(net), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with torch.autograd.detect_anomaly(check_nan=False):
            try:
                scalar = forward()
            except Exception:  # another run of it: the first one came so far
                return None
            try:
                scalar.backward()
            except Exception as error:
                place = _place(error, [str(each.message) for each in said])
                return Cause(
                    "own_backward_raises",
                    error=type(error).__name__,
                    words=" ".join(str(error).partition(" Hint:")[0].split())[:300],
                    place=place or code_of(net),
                )
    return None


def _place(error: Exception, said: list[str]) -> str:
    """Return "file:line" of the user's code that raised, or whose result cannot be derived."""
    frame = user_frame(error)
    if frame is not None:
        return f"{frame.filename}:{frame.lineno}"
    found = [match for text in said for match in FRAME.finditer(text)]
    own = [match for match in found if is_users(match["file"])]
    return f"{own[-1]['file']}:{own[-1]['line']}" if own else ""
