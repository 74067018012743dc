"""Stands in for weights that cannot be had: the port gets other weights in any case."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
import torch.utils.model_zoo
from torch import nn


class NothingDownloaded(dict[str, Any]):
    """Holds nothing, whatever is asked of it: `state["model"]` holds nothing either."""

    def __missing__(self, key: str) -> "NothingDownloaded":
        return self


@contextmanager
def without_weights() -> Iterator[list[str]]:
    """Let a download that fails, and a file that is not there, hold nothing; loading that too.

    Constructors of research code load the weights of a backbone from the net, or from a path of
    their authors'. Yields the addresses and paths for which nothing stood in.
    """
    absent: list[str] = []
    download = _or_nothing(torch.hub.load_state_dict_from_url, OSError, absent)
    changed: list[tuple[Any, str, Any]] = [
        (torch.hub, "load_state_dict_from_url", download),
        (torch.utils.model_zoo, "load_url", download),
        (torch, "load", _or_nothing(torch.load, FileNotFoundError, absent)),
        (nn.Module, "load_state_dict", _unless_nothing(nn.Module.load_state_dict)),
    ]
    kept = [(place, name, getattr(place, name)) for place, name, _ in changed]
    for place, name, value in changed:
        setattr(place, name, value)
    try:
        yield absent
    finally:
        for place, name, known in kept:
            setattr(place, name, known)


def _or_nothing(load: Callable[..., Any], error: type[Exception], absent: list[str]) -> Any:
    """Return a function of torch's that gives nothing where it would raise `error`."""

    @wraps(load)  # by its name a recording calls it
    def made(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except error:
            absent.append(str(next(iter((*args, *kwargs.values())))))
            return NothingDownloaded()

    return made


def _unless_nothing(fill: Callable[..., Any]) -> Any:
    """Return `load_state_dict`, which leaves a module as it is where there is nothing."""

    @wraps(fill)
    def load_state_dict(self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state_dict, NothingDownloaded):
            return nn.modules.module._IncompatibleKeys([], [])
        return fill(self, state_dict, *args, **kwargs)

    return load_state_dict
