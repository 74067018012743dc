"""What nets are taught of segments: one function a way, by the name that a config gives it.

To add one: a function (ids, segments, things, **options) -> arrays by name, a row of `TARGETS`, and
its options in `common/settings/panoptic.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.panoptic.max_deeplab.targets import max_deeplab_targets
from common.panoptic.segments import Segment
from common.panoptic.targets import panoptic_deeplab_targets

TARGETS: dict[str, Callable[..., dict[str, Any]]] = {
    "panoptic_deeplab": panoptic_deeplab_targets,
    "max_deeplab": max_deeplab_targets,
}


@dataclass(frozen=True)
class TargetMaker:
    """Makes what a net is taught of the segments of an image. It travels to reading processes.

    name: of `TARGETS`. things: the classes that are things. options: of the function.
    """

    name: str
    things: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, ids: np.ndarray, segments: list[Segment]) -> dict[str, Any]:
        """Return arrays by name, of ids uint32 [H, W] and their segments."""
        return TARGETS[self.name](ids, segments, self.things, **self.options)


# The place of the logits of classes among what a net returns: a number, or a name of the paper's
# heads, by the name of what it is taught.
_SEMANTIC: dict[str, int] = {"panoptic_deeplab": 0, "max_deeplab": 2}


def semantic_logits(name: str, outputs: Any) -> Any:
    """Return the logits [N, C, h, w] of classes of a net that is taught as `name` of TARGETS."""
    return outputs["semantic"] if isinstance(outputs, Mapping) else outputs[_SEMANTIC[name]]


def as_they_are(ids: np.ndarray, segments: list[Segment]) -> dict[str, Any]:
    """Return what an evaluation compares with: "ids" uint32 [H, W], and the list "segments"."""
    return {"ids": ids, "segments": segments}
