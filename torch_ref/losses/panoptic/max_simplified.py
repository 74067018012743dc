"""MaX-DeepLab's loss as conradry/max-deeplab computes it (max_deeplab/losses.py), bug for bug."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError
from common.panoptic.max_deeplab.matching import FREE, chosen_pairs
from common.panoptic.max_deeplab.targets import NO_OBJECT
from torch_ref.losses.arrays import array_of, tensor_like
from torch_ref.losses.pixels import log_probabilities, pixel_cross_entropy, wide

OUTPUTS = ("mask logits", "class logits", "semantic logits")
TARGET = ("masks", "labels", "semantic", "sizes")
WEIGHTS = {"pq": 3.0, "semantic": 1.0, "maskid": 0.3, "instdisc": 1.0}
ALPHA = 0.75  # share of the matched slots in pq
TEMPERATURE = 0.3  # of instdisc
STEP = 4  # instdisc looks at every fourth pixel
EPSILON = 1e-5  # of Dice, in both parts
NO_LABEL = -100  # torch's default: no pixel of this loss is ignored


class SimplifiedTerms:
    """The terms of one batch: similarity of slots and objects first, then all that hangs on pairs.

    Args:
        outputs: (mask logits [N, slots, H, W], class logits [N, slots, classes], semantic logits
            [N, classes, H, W]).
        target: of `common.panoptic.max_deeplab.targets`, style "simplified", stacked.

    Raises UserError where they do not belong together.
    """

    def __init__(self, outputs: Sequence[Tensor], target: Mapping[str, Tensor]) -> None:
        check(outputs, target)
        self.mask_logits, self.class_logits, self.semantic_logits = map(wide, outputs)
        self.semantic = target["semantic"]
        self.masks = target["masks"].to(self.mask_logits.dtype)
        self.sizes = array_of(target["sizes"])
        self.classes = real_classes(array_of(target["labels"]), self.sizes, self.class_logits)
        labels = tensor_like(self.classes, self.class_logits)
        self.probability = torch.einsum(
            "bsc,bkc->bsk", F.softmax(self.class_logits, dim=-1), labels
        )
        self.dice = dice_of(F.softmax(self.mask_logits, dim=1).flatten(2), self.masks.flatten(2))

    def similarity(self) -> np.ndarray:
        """Return that of slots and objects, [N, slots, objects]: class probability times Dice."""
        return array_of(self.probability * self.dice)

    def terms(self, objects: np.ndarray) -> dict[str, Tensor]:
        """Return the unweighted terms, of the object of every slot: [N, slots] int64, -1 free."""
        return {
            "pq": self.pq(objects),
            "semantic": pixel_cross_entropy(self.semantic_logits, self.semantic, NO_LABEL).mean(),
            "maskid": pixel_cross_entropy(self.mask_logits, self.first(), NO_LABEL).mean(),
            "instdisc": self.instance_discrimination(),
        }

    def pq(self, objects: np.ndarray) -> Tensor:
        """Return the PQ-style term: NaN where the batch has no object, or no free slot."""
        pairs = chosen_pairs(objects, self.classes.shape[1])
        taught = np.matmul(pairs.astype(np.float64), self.classes)  # of every slot, one-hot
        taught[..., NO_OBJECT] = np.where(objects == FREE, 1, taught[..., NO_OBJECT])
        chosen = tensor_like(pairs, self.dice)
        free = tensor_like(objects == FREE, self.dice)
        logs = log_probabilities(self.class_logits.permute(0, 2, 1)).permute(0, 2, 1)
        cross = -(logs * tensor_like(taught, logs)).sum(dim=-1)
        weight = (self.probability.detach() * chosen).sum() / chosen.sum()
        missed = ((1 - self.dice) * chosen).sum() / chosen.sum()
        overlap = (self.dice.detach() * chosen).sum(dim=-1)
        # Means of both factors, not of their product: the authors' is a matrix of all pairs.
        positive = weight * missed + (overlap * cross).sum() / chosen.sum()
        negative = (cross * free).sum() / free.sum()
        return ALPHA * positive + (1 - ALPHA) * negative

    def first(self) -> Tensor:
        """Return the first object of every pixel, 0 where there is none: [N, H, W] int64."""
        count = self.masks.shape[1]
        rank = tensor_like(np.arange(count, 0, -1), self.masks).reshape(1, count, 1, 1)
        least = tensor_like(np.eye(1, count) / 2, self.masks).reshape(1, count, 1, 1)
        return (self.masks * rank + least).argmax(dim=1)

    def instance_discrimination(self) -> Tensor:
        """Return the term over the objects of all images at once: NaN where there is none."""
        features = self.mask_logits[:, :, ::STEP, ::STEP].flatten(2)
        masks = self.masks[:, :, ::STEP, ::STEP].flatten(2)
        sums = torch.einsum("bdp,bkp->bkd", features, masks)
        length = (sums * sums).sum(dim=-1, keepdim=True).clip(min=1e-24).sqrt()
        logits = torch.einsum("bdp,bkd->bkp", features, sums / length) / TEMPERATURE
        real = np.flatnonzero(np.arange(masks.shape[1]) < self.sizes[:, None])
        if not len(real):
            return features.sum() * float("nan")
        index = torch.from_numpy(real).to(logits.device)
        logits = torch.index_select(logits.flatten(0, 1), 0, index)
        masks = torch.index_select(masks.flatten(0, 1), 0, index)
        # exp(0) of the objects that a pixel is not of stands in the numerator, too.
        numerator = torch.logsumexp(masks * logits, dim=0)
        return (torch.logsumexp(logits, dim=0) - numerator).mean()


def dice_of(masks: Tensor, truth: Tensor) -> Tensor:
    """Return Dice of every slot [N, slots, P] and object [N, objects, P]: [N, slots, objects]."""
    both = torch.einsum("bsp,bkp->bsk", masks, truth)
    sums = masks.sum(dim=2).unsqueeze(2) + truth.sum(dim=2).unsqueeze(1)
    return (both * 2 + EPSILON) / (sums + EPSILON)


def real_classes(labels: np.ndarray, sizes: np.ndarray, logits: Tensor) -> np.ndarray:
    """Return the classes of the objects as [N, objects, classes] float64, padding all 0.

    Raises UserError for a class that `logits` [N, slots, classes] do not have.
    """
    count = logits.shape[-1]
    real = np.arange(labels.shape[1]) < sizes[:, None]
    if ((labels < 0) | (labels >= count))[real].any():
        raise UserError(
            f"target: labels hold classes from {labels[real].min()} to {labels[real].max()}, the "
            f"net has {count} with class 0, no object; set num_classes to one more than there are"
        )
    one_hot = (labels[..., None] == np.arange(count)) & real[..., None]
    return one_hot.astype(np.float64)


def check(outputs: Sequence[Tensor], target: Mapping[str, Tensor]) -> None:
    """Raise UserError unless outputs and target are of this layout and belong together."""
    if not isinstance(outputs, tuple | list) or len(outputs) != len(OUTPUTS):
        found = len(outputs) if isinstance(outputs, tuple | list) else type(outputs).__name__
        raise UserError(
            f"outputs: expected ({', '.join(OUTPUTS)}), got {found}; pass what max_deeplab_s "
            "returns"
        )
    layout = [list(output.shape) for output in outputs]
    if [len(shape) for shape in layout] != [4, 3, 4]:
        raise UserError(
            f"outputs: expected ({', '.join(OUTPUTS)}) of 4, 3 and 4 axes, got "
            f"{', '.join(map(str, layout))}; pass what max_deeplab_s returns"
        )
    missing = [name for name in TARGET if name not in target]
    if missing:
        raise UserError(
            f"target: expected {', '.join(TARGET)}, {', '.join(missing)} is missing; make it with "
            "style simplified (target: in a config)"
        )
    slots, most = outputs[0].shape[1], int(array_of(target["sizes"]).max(initial=0))
    if most > min(slots, target["masks"].shape[1]):
        raise UserError(
            f"target: an image has {most} objects, the net {slots} slots and the target "
            f"{target['masks'].shape[1]} masks; set max_objects of the target, or num_masks"
        )
    shapes = [list(array.shape[2:]) for array in (outputs[0], target["masks"])]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"mask logits {shapes[0]} and masks {shapes[1]} differ in height or width; give masks "
            "of the size of the net's image"
        )
