"""MaX-DeepLab's loss, in the two published forms: slots are matched with objects first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from common.errors import ConfigError
from common.panoptic.max_deeplab.matching import objects_of_slots
from torch_ref.losses.arrays import array_of
from torch_ref.losses.panoptic.max_paper import PaperTerms
from torch_ref.losses.panoptic.max_simplified import WEIGHTS, SimplifiedTerms
from torch_ref.losses.parts import LossOfParts

STYLES = ("simplified", "paper")


class MaxDeepLabLoss(LossOfParts):
    """PQ-style loss of matched slots, mask ids, instance discrimination, and semantic classes.

    Args:
        style: "simplified" (conradry/max-deeplab) or "paper" (google-research/deeplab2).
        things: the classes that are things, in the order of the class channels; for "paper".
        ignore_label: void in the semantic target; for "paper".
        crowds_push: pixels of crowds, which no slot is right for, push all masks down, as in
            TensorFlow's gradient of a cross-entropy without a label; for "paper".

    What "simplified" computes otherwise than the paper, kept because its net was trained with it
    (lines of max_deeplab/losses.py at 92a01e2):
    - pq, matched: class probability is [P, 1] and Dice [P], so that their product is a matrix of
      all pairs: the product of their means (line 158).
    - pq, unmatched: one mean over the batch; NaN where no slot is free (line 164). A batch
      without objects is NaN, too.
    - instdisc: takes mask logits, which are not of unit length, for features (line 287); one
      softmax over the objects of all images; an object that a pixel is not of adds exp(0) to the
      numerator, so that the term has no lower bound (line 219).
    - maskid: compares slots with the order of the objects, not with what they were matched with,
      and void pixels with the first object (line 290).
    - semantic: class 0 teaches void (line 291).

    In the "paper" form every term is computed by image and averaged; void has no object.

    Raises ConfigError for an unknown style.
    """

    def __init__(
        self,
        style: str = "simplified",
        things: Sequence[int] = (),
        ignore_label: int = 255,
        crowds_push: bool = True,
    ) -> None:
        super().__init__()
        if style not in STYLES:
            raise ConfigError(f"style={style!r} is not known; choose one of {STYLES}")
        self.style = style
        self.things = tuple(things)
        self.ignore_label = ignore_label
        self.crowds_push = crowds_push

    # The objects of the slots may be given: what `assignment` of another framework chose.
    def forward(
        self, outputs: Any, label: Any, assignment: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return `total(parts(outputs, label, assignment))`, a scalar."""
        return self.total(self.parts(outputs, label, assignment))

    def parts(
        self,
        outputs: Any,
        target: Mapping[str, Tensor],
        assignment: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms by name.

        simplified: pq, semantic, maskid, instdisc, scalars, unweighted (`total` weighs them), of
        what `SimplifiedTerms` takes. paper: weighted, [N], of what `PaperTerms` takes.
        assignment: what `assignment` returned, of either side; by default it is found here.
        Raises UserError where outputs and target do not belong together.
        """
        terms = self.terms_of(outputs, target)
        if assignment is None:
            return terms.terms(objects_of_slots(terms.similarity(), terms.sizes))
        return terms.terms(array_of(assignment["objects"]))

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        if self.style == "paper":
            return super().total({name: part.mean() for name, part in parts.items()})
        return super().total({name: part * WEIGHTS[name] for name, part in parts.items()})

    def assignment(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return how slots and objects fit, "similarity" [N, slots, objects], and "objects".

        "objects" is the object of every slot, -1 where it has none: int64 [N, slots].
        """
        terms = self.terms_of(outputs, target)
        similarity = terms.similarity()
        return {"similarity": similarity, "objects": objects_of_slots(similarity, terms.sizes)}

    def terms_of(self, outputs: Any, target: Mapping[str, Tensor]) -> SimplifiedTerms | PaperTerms:
        """Return what both are made of."""
        if self.style == "paper":
            how = self.things, self.ignore_label, self.crowds_push
            return PaperTerms(outputs, target, *how)
        return SimplifiedTerms(outputs, target)
