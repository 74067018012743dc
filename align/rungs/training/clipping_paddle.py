"""The clipping in an optimizer of Paddle: watched, in float64, with torch's epsilon."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle.nn import ClipGradByGlobalNorm, ClipGradByNorm

from align.arrays.arrays_paddle import to_array
from align.rungs.training.clipping import is_torchs, norm_of, torchs_factor

Pairs = list[tuple[Any, Any]]  # parameters and their gradients


class WatchedClip:
    """Stands for the `clip` of an optimizer.

    `theirs` is by what the reference multiplied the gradients of each parameter, by name. Where
    that is what torch makes of the limit of `clip`, so does this, and `as_torch` has (norm,
    factor). `clipped` are the gradients that it gave last.
    """

    def __init__(self, clip: Any) -> None:
        self.clip = clip
        self.theirs: Mapping[str, float] = {}
        self.as_torch: list[tuple[float, float]] = []
        self.clipped: dict[str, np.ndarray] = {}

    @paddle.no_grad()
    def __call__(self, pairs: Pairs) -> Pairs:
        """Return the pairs with clipped gradients."""
        if isinstance(self.clip, ClipGradByGlobalNorm):
            found = self._together(pairs)
        elif _is_stock(self.clip):
            found = [self._alone(*pair) for pair in pairs if pair[1] is not None]
        else:
            found = self.clip(pairs)
        self.clipped.update({p.name: np.array(to_array(g)) for p, g in found if g is not None})
        return found

    def _together(self, pairs: Pairs) -> Pairs:
        own = [(p, g) for p, g in pairs if g is not None and getattr(p, "need_clip", True)]
        norm = norm_of({p.name: to_array(g) for p, g in own})
        limit = self.clip.clip_norm
        theirs = [self.theirs[p.name] for p, _ in own if p.name in self.theirs]
        factor = torchs_factor(norm, limit)
        if factor == 1.0 or not is_torchs(theirs, norm, limit):
            return self.clip(pairs)
        self.as_torch.append((norm, factor))
        self.clip.clip_norm = factor * norm
        try:
            return self.clip(pairs)
        finally:
            self.clip.clip_norm = limit

    def _alone(self, parameter: Any, gradient: Any) -> tuple[Any, Any]:
        """Clip one gradient: Paddle's kernel has no float64."""
        norm = norm_of({"": to_array(gradient)})
        limit = self.clip.clip_norm
        if not getattr(parameter, "need_clip", True) or norm <= limit:
            return parameter, gradient
        factor = limit / norm
        theirs = self.theirs.get(parameter.name)
        if theirs is not None and is_torchs([theirs], norm, limit):
            factor = torchs_factor(norm, limit)
            self.as_torch.append((norm, factor))
        return parameter, gradient * factor


def watched_clips(optimizer: Any) -> list[WatchedClip]:
    """Put a watched clip in the place of each that `optimizer` has, and return them."""
    watched: dict[int, WatchedClip] = {}

    def stand_in(clip: Any) -> Any:
        if clip is None or isinstance(clip, WatchedClip):
            return clip
        return watched.setdefault(id(clip), WatchedClip(clip))

    if getattr(optimizer, "_grad_clip", None) is not None:
        optimizer._grad_clip = stand_in(optimizer._grad_clip)
    groups = (getattr(optimizer, name, None) for name in ("_param_groups", "_parameter_list"))
    for group in (entry for entries in groups for entry in entries or []):
        if isinstance(group, dict) and group.get("grad_clip") is not None:
            group["grad_clip"] = stand_in(group["grad_clip"])
    return list(watched.values())


def _is_stock(clip: Any) -> bool:
    names = ("__call__", "_dygraph_clip")
    return isinstance(clip, ClipGradByNorm) and all(
        getattr(type(clip), name) is getattr(ClipGradByNorm, name) for name in names
    )
