"""MaX-DeepLab's loss as its authors compute it (google-research/deeplab2, max_deeplab_loss.py)."""

from collections.abc import Mapping, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from common.errors import UserError
from common.panoptic.max_deeplab.matching import chosen_pairs
from common.panoptic.max_deeplab.targets import paper_objects, strided
from paddle_impl.losses.arrays import array_of, tensor_like
from paddle_impl.losses.pixels import at_label, log_probabilities, wide

OUTPUTS = ("feature", "mask", "class", "semantic")
TARGET = ("semantic", "thing_id_mask", "thing_id_class")
PQ_WEIGHT, MASK_ID_WEIGHT, INSTANCE_WEIGHT, SEMANTIC_WEIGHT = 3.0, 0.3, 1.0, 1.0
ALPHA = 0.75  # share of the matched slots
TEMPERATURE = 0.3
EPSILON = 1e-5  # of the similarities, and the least weight of a slot
ABSENT = -99999.0  # logit of an object that is not in the image


class PaperTerms:
    """The terms of one batch, each [N]: similarities first, then all that hangs on pairs.

    Args:
        outputs: by name: "feature" [N, D, h, w] of unit length, "mask" [N, slots, h, w], "class"
            [N, slots, classes + 1] with the things in the order of `things`, then the other
            classes, then void, "semantic" [N, classes, h', w'].
        target: of `common.panoptic.max_deeplab.targets`, style "paper", stacked; labels are
            strided.
        things: the classes that are things. ignore_label: void. crowds_push: see `mask_id`.

    Raises UserError where they do not belong together.
    """

    def __init__(
        self,
        outputs: Mapping[str, Tensor],
        target: Mapping[str, Tensor],
        things: Sequence[int],
        ignore_label: int,
        crowds_push: bool = True,
    ) -> None:
        check(outputs, target)
        self.feature, mask, self.class_logits, self.semantic_logits = (
            wide(outputs[name]) for name in OUTPUTS
        )
        labels = [array_of(target[name]) for name in TARGET]
        self.semantic, self.ignore_label = labels[0], ignore_label
        self.crowds_push = crowds_push
        self.objects = paper_objects(
            *labels,
            things=things,
            num_classes=self.class_logits.shape[2] - 1,
            ignore_label=ignore_label,
            size_hw=mask.shape[2:],
        )
        self.sizes = (self.objects.channel >= 0).sum(axis=1)
        refuse_too_many(self.sizes, mask.shape[1])
        self.mask_logits = mask.flatten(2)
        self.masks = tensor_like(self.objects.masks, mask)
        self.exists = tensor_like(self.objects.channel >= 0, mask)
        self.valid = tensor_like(self.objects.valid, mask).unsqueeze(1)
        self.shares = F.softmax(self.mask_logits, axis=1)
        self.dice = dice_of(self.shares * self.valid, self.masks)
        self.probability = self.probabilities()

    def probabilities(self) -> Tensor:
        """Return each slot's probability of each object's class: [N, slots, objects]."""
        channels = self.class_logits.shape[2]
        one_hot = self.objects.channel[..., None] == np.arange(channels)
        classes = F.softmax(self.class_logits, axis=-1)
        return paddle.einsum("bsc,bkc->bsk", classes, tensor_like(one_hot, classes))

    def similarity(self) -> np.ndarray:
        """Return that of slots and objects, [N, slots, objects], those first that are there."""
        return np.take_along_axis(array_of(self.probability * self.dice), self.order(), axis=2)

    def order(self) -> np.ndarray:
        """Return the objects of every image, those first that are in it: int64 [N, 1, objects]."""
        return np.argsort(self.objects.channel < 0, axis=1, kind="stable")[:, None]

    def terms(self, objects: np.ndarray) -> dict[str, Tensor]:
        """Return the weighted terms, [N] each, of the object of every slot, -1 free.

        objects: int64 [N, slots], numbers among those that are in the image.
        """
        order = self.order()[:, 0]
        free = objects < 0
        numbers = np.take_along_axis(order, np.where(free, 0, objects), axis=1)
        pairs = chosen_pairs(np.where(free, -1, numbers), order.shape[1])
        chosen = tensor_like(pairs, self.dice)
        dice = self.mask_dice(chosen) * (PQ_WEIGHT * ALPHA / objects.shape[1])
        return {
            "pq_style_loss_class_term": self.class_term(pairs, chosen) * PQ_WEIGHT,
            "pq_style_loss_mask_dice_term": dice,
            "mask_id_cross_entropy_loss": self.mask_id(chosen) * MASK_ID_WEIGHT,
            "instance_discrimination_loss": self.instances() * INSTANCE_WEIGHT,
            "semantic_loss": self.semantics() * SEMANTIC_WEIGHT,
        }

    def class_term(self, pairs: np.ndarray, chosen: Tensor) -> Tensor:
        """Return the mean cross-entropy of the slots, weighted by how good their masks are."""
        channels = np.arange(self.class_logits.shape[2])
        one_hot = (self.objects.channel[..., None] == channels).astype(np.float64)
        taught = np.matmul(pairs.astype(np.float64), one_hot)
        free = np.logical_not(pairs.any(axis=2))
        taught[..., -1] = free
        outside = (self.shares * (1 - self.valid)).sum(axis=2)
        outside = outside / (self.shares.sum(axis=2) + EPSILON)
        quality = (self.dice * chosen).sum(axis=2)
        void = tensor_like(free, quality)
        good = ALPHA * (1 - void) * quality.detach().clip(min=EPSILON)
        weight = good + (1 - ALPHA) * void * outside.detach().clip(min=EPSILON)
        logs = log_probabilities(self.class_logits.transpose([0, 2, 1])).transpose([0, 2, 1])
        return mean_of_some(-(logs * tensor_like(taught, logs)).sum(axis=2) * weight)

    def mask_dice(self, chosen: Tensor) -> Tensor:
        """Return the summed Dice losses of the objects, weighted by their class probability."""
        owned = self.masks.sum(axis=1, keepdim=True)
        shares = paddle.einsum("bsk,bsp->bkp", chosen, self.shares) * owned
        both = (shares * self.masks).sum(axis=2)
        sums = shares.sum(axis=2) + self.masks.sum(axis=2)
        losses = 1 - (both * 2 + 1) / (sums + 1)
        weight = (self.probability * chosen).sum(axis=1).detach().clip(min=EPSILON)
        return (losses * weight * self.exists).sum(axis=1)

    def mask_id(self, chosen: Tensor) -> Tensor:
        """Return the mean cross-entropy of pixels over the slots, the matched one is right.

        A crowd's pixels have no right slot: they cost 0 and yet, with `crowds_push`, have the
        gradient of a cross-entropy, as TensorFlow's kernel takes labels to sum to 1.
        """
        right = paddle.einsum("bsk,bkp->bsp", chosen, self.masks)
        losses = -(log_probabilities(self.mask_logits) * right).sum(axis=1)
        if self.crowds_push:
            whole = paddle.logsumexp(self.mask_logits, axis=1)
            losses = losses + (whole - whole.detach()) * (1 - self.masks.sum(axis=1))
        return mean_of_some(losses * self.valid.squeeze(1))

    def instances(self) -> Tensor:
        """Return the mean cross-entropy of pixels of things over the objects' mean features."""
        feature = self.feature.flatten(2)
        area = self.masks.sum(axis=2, keepdim=True).clip(min=1.0)
        mean = paddle.einsum("bdp,bkp->bkd", feature, self.masks) / area
        mean = mean / (mean * mean).sum(axis=2, keepdim=True).clip(min=1e-12).sqrt()
        logits = paddle.einsum("bkd,bdp->bkp", mean, feature) / TEMPERATURE
        exists = self.exists.unsqueeze(2)
        logits = logits * exists + (1 - exists) * ABSENT
        losses = -(log_probabilities(logits) * self.masks).sum(axis=1)
        return mean_of_some(losses * tensor_like(self.objects.thing, losses))

    def semantics(self) -> Tensor:
        """Return the mean cross-entropy of pixels over the classes, void left out."""
        logits = self.semantic_logits
        label = np.ascontiguousarray(strided(self.semantic, logits.shape[2:]))
        refuse_classes(label, logits.shape[1], self.ignore_label)
        index = paddle.to_tensor(label)
        losses = -at_label(log_probabilities(logits), index, self.ignore_label)
        return mean_of_some(losses.flatten(1))


def dice_of(shares: Tensor, masks: Tensor) -> Tensor:
    """Return Dice of slots [N, slots, P] and objects [N, objects, P]: [N, slots, objects]."""
    both = paddle.einsum("bsp,bkp->bsk", shares, masks)
    sums = shares.sum(axis=2).unsqueeze(2) + masks.sum(axis=2).unsqueeze(1)
    return both / (sums / 2 + EPSILON)


def mean_of_some(losses: Tensor) -> Tensor:
    """Return the mean of `losses` [N, places] over those that are not 0: [N], 0 where none is."""
    count = (losses != 0).astype(losses.dtype).sum(axis=1)
    return losses.sum(axis=1) / count.clip(min=1.0)


def check(outputs: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Raise UserError unless outputs and target have the names of this layout."""
    for what, given, names in (("outputs", outputs, OUTPUTS), ("target", target, TARGET)):
        found = sorted(given) if isinstance(given, Mapping) else type(given).__name__
        if not isinstance(given, Mapping) or not set(names) <= set(given):
            raise UserError(
                f"{what}: expected arrays by name, {', '.join(names)}, got {found}; the paper's "
                "loss takes what a net with heads: paper returns, and targets of style paper"
            )


def refuse_too_many(sizes: np.ndarray, slots: int) -> None:
    """Raise UserError where an image has more objects than the net has slots."""
    if int(sizes.max(initial=0)) > slots:
        raise UserError(
            f"target: an image has {int(sizes.max())} objects, the net {slots} slots; set "
            "max_objects of the target, or num_masks"
        )


def refuse_classes(label: np.ndarray, classes: int, ignore_label: int) -> None:
    """Raise UserError where `label` holds what is neither a class nor void."""
    strange = np.unique(label[(label != ignore_label) & ((label < 0) | (label >= classes))])
    if len(strange):
        raise UserError(
            f"label holds {', '.join(map(str, strange[:5]))}; expected classes 0..{classes - 1} "
            f"and {ignore_label} for pixels that do not count"
        )
