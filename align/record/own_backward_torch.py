"""Backward passes of the reference's own: those that raise, and those that its code runs itself."""

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from align.judge.words import Cause, Words
from align.nets.calls import code_of
from align.nets.prepare_torch import state_kept
from align.record.trace import NetDifferentiates
from common.errors import UserError
from common.places import caller, is_users, user_frame

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


def inputs_take_no_gradient(net: nn.Module, forward: Callable[[bool], Any]) -> Words | None:
    """Say what `net` raises, with nobody watching, on inputs that ask for a gradient.

    `forward` runs it on inputs that do or do not. None where it raises nothing, or on inputs that
    do not ask as well. The net's state is as before afterwards.
    """
    error = _raised(net, lambda: forward(True))
    if error is None or _raised(net, lambda: forward(False)) is not None:
        return None
    words = " ".join(str(error).split()).partition(". ")[0][:300]
    place = _place(error, []) or code_of(net)
    return Words("inputs_take_no_gradient", words=words, place=place)


def _raised(net: nn.Module, forward: Callable[[], Any]) -> RuntimeError | None:
    try:
        with state_kept(net), torch.enable_grad():
            forward()
    except RuntimeError as error:
        return error
    return None


def _place(error: Exception, said: list[str]) -> str:
    """Return "file:line" of the user's code that raised, or whose result cannot be derived."""
    frame = user_frame(error)
    if frame is not None:
        return f"{frame.filename}:{frame.lineno}"
    found = [match for text in said for match in FRAME.finditer(text)]
    own = [match for match in found if is_users(match["file"])]
    return f"{own[-1]['file']}:{own[-1]['line']}" if own else ""


@contextmanager
def refuses_differentiation(
    refused: Callable[[], bool], error: Callable[[], Exception]
) -> Iterator[None]:
    """Raise `error` where code in the block runs a backward pass while `refused`, or one fails.

    Whatever code calls (`torch.autograd.grad`, `backward`, `torch.func`) comes by one function.
    """
    run = torch.autograd._engine_run_backward

    def watched(*args: Any, **kwargs: Any) -> Any:
        if refused():
            raise error()
        try:
            return run(*args, **kwargs)
        except RuntimeError as raised:  # gradients are off, or boundaries are in its way
            raise error() from raised

    torch.autograd._engine_run_backward = watched
    try:
        yield
    finally:
        torch.autograd._engine_run_backward = run


def refuse_transforms() -> None:
    """Raise UserError where a module runs on what `torch.func` hands to it: no plain tensors."""
    running = torch._C._functorch.peek_interpreter_stack()
    if running is None:
        return
    if running.key() != torch._C._functorch.TransformType.Vmap:
        raise NetDifferentiates(caller())
    raise UserError(
        f"could not check: the reference calls its own layers under torch.func.vmap ({caller()}), "
        "where nobody can read what they compute: give them the whole batch for the comparison"
    )


def refuse_second_runs(path: str) -> None:
    """Raise UserError where the module at `path` runs in a backward pass that a user wrote."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "backward" and is_users(code.co_filename):
            place = f"{code.co_filename}:{frame.f_lineno}"
            raise UserError(
                f"could not check: {path} of the reference runs again in a backward pass of its "
                f"own ({place}), where its gradients cannot be told from those of the first run: "
                "call its code directly for the comparison (checkpoints of torch.utils.checkpoint "
                "are known, and code may stay in one)"
            )
        frame = frame.f_back
