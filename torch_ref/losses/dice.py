"""Dice of class probabilities, alone and with cross-entropy."""

import torch
from torch import Tensor

from common.errors import ConfigError
from torch_ref.losses.heads import ClassMap, HeadsLoss
from torch_ref.losses.pixels import IGNORE_INDEX, at_label, one_hot


class DiceLoss(HeadsLoss):
    """1 - Dice of the softmax, a class at a time, and then the mean over the classes.

    Args:
        smooth: added to numerator and denominator; above 0.
        squared: the denominator is of squares, as in V-Net; otherwise of plain sums.
        per_image: sums run over an image and the mean over images, too; else over the batch.
        classes: "all", in which an absent class teaches that nothing is of it, or "present": those
            that the label holds.
        aux_weight, ignore_index, maps: see `HeadsLoss`.

    Of a net with one channel it is the Dice of class 1. Source: Milletari et al. (V-Net,
    arXiv 1606.04797, section 3); the smoothed form, PaddlePaddle/PaddleSeg,
    paddleseg/models/losses/dice_loss.py.
    Raises ConfigError for a setting outside its range.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        squared: bool = False,
        per_image: bool = False,
        classes: str = "all",
        aux_weight: float = 0.4,
        ignore_index: int = IGNORE_INDEX,
        maps: int | None = None,
    ) -> None:
        super().__init__(aux_weight, ignore_index, maps)
        if not smooth > 0:
            raise ConfigError(f"smooth is {smooth}; set a number above 0")
        if classes not in ("all", "present"):
            raise ConfigError(f"classes is {classes!r}; choose all or present")
        self.smooth = smooth
        self.squared = squared
        self.per_image = per_image
        self.classes = classes

    def terms(self, one: ClassMap) -> dict[str, Tensor]:
        """Return `dice` of a map."""
        return {"dice": self.dice(one)}

    def dice(self, one: ClassMap) -> Tensor:
        """Return 1 - Dice of a map, a scalar; 0 with zero gradients if all pixels are ignored."""
        logs, label, first = one
        counted = (label != self.ignore_index).unsqueeze(1)
        probability = torch.where(counted, torch.exp(logs), torch.zeros_like(logs))[:, first:]
        target = one_hot(label, logs.shape[1], self.ignore_index)[:, first:].to(logs.dtype)
        dims = [2, 3] if self.per_image else [0, 2, 3]
        overlap = (probability * target).sum(dim=dims)
        size = probability * probability if self.squared else probability
        total = (size + target).sum(dim=dims)
        losses = 1.0 - (2.0 * overlap + self.smooth) / (total + self.smooth)
        if self.classes == "all":
            return losses.mean()
        present = (target.sum(dim=dims) > 0).to(logs.dtype)
        return (losses * present).sum() / present.sum().clip(min=1)


class CrossEntropyDice(DiceLoss):
    """Cross-entropy plus Dice, each with a weight; nnU-Net's are both 1.

    Args:
        cross_entropy_weight, dice_weight: of the two terms.
        smooth, squared, per_image, classes: see `DiceLoss`.
        aux_weight, ignore_index, maps: see `HeadsLoss`.

    Source: Isensee et al. (nnU-Net, Nature Methods 18, 2021); MIC-DKFZ/nnUNet,
    nnunetv2/training/loss/compound_losses.py.
    """

    def __init__(
        self,
        cross_entropy_weight: float = 1.0,
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        squared: bool = False,
        per_image: bool = False,
        classes: str = "all",
        aux_weight: float = 0.4,
        ignore_index: int = IGNORE_INDEX,
        maps: int | None = None,
    ) -> None:
        super().__init__(smooth, squared, per_image, classes, aux_weight, ignore_index, maps)
        if not (cross_entropy_weight >= 0 and dice_weight >= 0):
            given = f"{cross_entropy_weight} and {dice_weight}"
            raise ConfigError(f"cross_entropy_weight, dice_weight are {given}; set 0 or more")
        self.cross_entropy_weight = cross_entropy_weight
        self.dice_weight = dice_weight

    def terms(self, one: ClassMap) -> dict[str, Tensor]:
        """Return `cross_entropy` and `dice` of a map."""
        losses = -at_label(one.logs, one.label, self.ignore_index)
        counted = int((one.label != self.ignore_index).sum())
        return {"cross_entropy": losses.sum() / max(counted, 1), "dice": self.dice(one)}

    def weight(self, term: str) -> float:
        """Return what a term of the first map counts."""
        return self.dice_weight if term == "dice" else self.cross_entropy_weight
