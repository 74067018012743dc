"""Stands in for downloads of weights that fail: the port gets other weights in any case."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.model_zoo
from torch import nn


class NothingDownloaded(dict[str, Any]):
    """Holds nothing, whatever is asked of it: `state["model"]` holds nothing either."""

    def __missing__(self, key: str) -> "NothingDownloaded":
        return self


@contextmanager
def without_network() -> Iterator[None]:
    """Let a download that fails hold nothing, and let loading that do nothing.

    Constructors of old nets download weights of a backbone, and stop without a network.
    """
    download, load = torch.hub.load_state_dict_from_url, nn.Module.load_state_dict

    def load_state_dict_from_url(*args: Any, **kwargs: Any) -> Any:
        try:
            return download(*args, **kwargs)
        except OSError:
            return NothingDownloaded()

    def load_state_dict(self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state_dict, NothingDownloaded):
            return nn.modules.module._IncompatibleKeys([], [])
        return load(self, state_dict, *args, **kwargs)

    load_state_dict_from_url.__qualname__ = download.__qualname__  # by which a recording calls it
    load_state_dict_from_url.__module__ = download.__module__
    places = [(torch.hub, "load_state_dict_from_url"), (torch.utils.model_zoo, "load_url")]
    kept = [(place, name, getattr(place, name)) for place, name in places]
    for place, name in places:
        setattr(place, name, load_state_dict_from_url)
    nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]
    try:
        yield
    finally:
        for place, name, known in kept:
            setattr(place, name, known)
        nn.Module.load_state_dict = load  # type: ignore[method-assign]
