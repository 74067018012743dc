"""Samples of a panoptic set: an image, and what a net is trained on, made of its segments."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from common.data.dataset import SampleSource, SegmentationDataset
from common.data.transforms.images import Normalisation, Transform
from common.panoptic.segments import PanopticSample, Segment

# (ids uint32 [H, W], segments) -> arrays by name
MakeTarget = Callable[[np.ndarray, list[Segment]], dict[str, Any]]


class PanopticSource(SampleSource, Protocol):
    """What a panoptic set on disk offers, e.g. `CocoPanoptic`."""

    def read_panoptic(self, index: int) -> PanopticSample:
        """Return an image and its segments."""
        ...

    def segments_in(self, index: int, ids: np.ndarray) -> list[Segment]:
        """Return the segments of a frame that have pixels in `ids`, a part of its map."""
        ...


class PanopticDataset(SegmentationDataset):
    """A panoptic source, its transforms, and what is made of the segments that they leave.

    Transforms get ids as a label of mode I; those of `common/data/transforms` take it as they take
    classes, so image and ids go through the same scale, crop and flip. A segment that a crop
    empties is not handed on, areas are those that are left.

    Args:
        source: where images and segments come from.
        make_target: of ids and segments; `panoptic_deeplab_targets` with its options, say.
        transforms, seed, normalisation: as of `SegmentationDataset`.
    """

    source: PanopticSource

    def __init__(
        self,
        source: PanopticSource,
        make_target: MakeTarget,
        transforms: Sequence[Transform] = (),
        *,
        seed: int = 0,
        normalisation: Normalisation | None = None,
    ) -> None:
        super().__init__(source, transforms, seed=seed, normalisation=normalisation)
        self.make_target = make_target

    def read(self, index: int) -> tuple[Any, Any]:
        """Return an image (mode RGB) and its ids (mode I); see `PanopticSource.read_panoptic`."""
        found = self.source.read_panoptic(index)
        return Image.fromarray(found.image), Image.fromarray(found.ids.astype(np.int32))

    def target(self, index: int, label: Any) -> dict[str, Any]:
        """Return what `make_target` makes of transformed ids of frame `index`."""
        ids = np.asarray(label).astype(np.uint32)
        return self.make_target(ids, self.source.segments_in(index, ids))
