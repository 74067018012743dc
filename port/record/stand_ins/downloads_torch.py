"""Stands in for weights that cannot be had: the port gets other weights in any case."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import torch
import torch.utils.model_zoo
from torch import nn


class NothingDownloaded(dict[str, Any]):
    """Holds nothing, whatever is asked of it: `state["model"]` holds nothing either.

    source: the address or path of what it stands for. What only a tensor has, it has not.
    """

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self.source = source

    def __missing__(self, key: str) -> "NothingDownloaded":
        return self

    def __getattr__(self, name: str) -> Any:
        source = vars(self).get("source", "")
        place = source
        if "://" in source:
            place = str(Path(torch.hub.get_dir()) / "checkpoints" / source.rpartition("/")[2])
        raise AttributeError(
            f"{source} could not be had, and the code reads .{name} of its tensors: build the net "
            f"without these weights (pretrained=False or the like), or put the file at {place}"
        )


@dataclass
class Sought:
    """Weights that code asked for, by address or path: what nothing stood in for, what was read."""

    absent: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)


@contextmanager
def without_weights() -> Iterator[Sought]:
    """Let a download that fails, and a file that is not there, hold nothing; loading that too.

    Constructors of research code load the weights of a backbone from the net, or from a path of
    their authors'. Yields what was asked for.
    """
    sought = Sought()
    download = _or_nothing(torch.hub.load_state_dict_from_url, OSError, sought)
    changed: list[tuple[Any, str, Any]] = [
        (torch.hub, "load_state_dict_from_url", download),
        (torch.utils.model_zoo, "load_url", download),
        (torch, "load", _or_nothing(torch.load, FileNotFoundError, sought)),
        (nn.Module, "load_state_dict", _unless_nothing(nn.Module.load_state_dict)),
    ]
    kept = [(place, name, getattr(place, name)) for place, name, _ in changed]
    for place, name, value in changed:
        setattr(place, name, value)
    try:
        yield sought
    finally:
        for place, name, known in kept:
            setattr(place, name, known)


def _or_nothing(load: Callable[..., Any], error: type[Exception], sought: Sought) -> Any:
    """Return a function of torch's that gives nothing where it would raise `error`."""

    @wraps(load)  # by its name a recording calls it
    def made(*args: Any, **kwargs: Any) -> Any:
        source = str(next(iter((*args, *kwargs.values())), ""))
        try:
            found = load(*args, **kwargs)
        except error:
            sought.absent.append(source)
            return NothingDownloaded(source)
        sought.read.append(source)
        return found

    return made


def _unless_nothing(fill: Callable[..., Any]) -> Any:
    """Return `load_state_dict`, which leaves a module as it is where there is nothing."""

    @wraps(fill)
    def load_state_dict(self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state_dict, NothingDownloaded):
            return nn.modules.module._IncompatibleKeys([], [])
        return fill(self, state_dict, *args, **kwargs)

    return load_state_dict
