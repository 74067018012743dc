"""U-Net's loss: cross-entropy plus Dice."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from common.errors import UserError
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import IGNORE_INDEX, check_logits_and_label, pixel_cross_entropy

# milesial/Pytorch-UNet, utils/dice_score.py.
DICE_EPSILON = 1e-6


class UNetLoss(LossOfParts):
    """U-Net's loss: cross-entropy plus Dice of the class probabilities, background included.

    With one class: binary cross-entropy plus Dice of its probability, labels 0 and 1. Ignored
    pixels count in neither; the authors' sets have none.

    Args:
        pooled_classes: the authors' code sums over the classes, too, before it divides: one Dice
            for all, in which a class weighs as much as it has pixels. False takes the mean over
            the classes of their Dice.
        ignore_index: label of pixels that teach nothing.

    Source: milesial/Pytorch-UNet, train.py, utils/dice_score.py.
    """

    def __init__(self, pooled_classes: bool = True, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.pooled_classes = pooled_classes
        self.ignore_index = ignore_index

    def parts(self, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name for logs: `cross_entropy` (`bce` for one class) and `dice`.

        logits: [N, C, H, W] floating, label: [N, H, W] int64. Raises UserError if they misfit.
        """
        if logits.ndim == 4 and logits.shape[1] == 1:
            return self.parts_of_one_class(logits, label)
        losses = pixel_cross_entropy(logits, label, self.ignore_index)
        counted = (label != self.ignore_index).astype(logits.dtype).unsqueeze(1)
        ids = paddle.arange(logits.shape[1]).reshape([1, -1, 1, 1])
        target = (label.unsqueeze(1) == ids).astype(logits.dtype)
        probability = F.softmax(logits, axis=1)
        return {
            "cross_entropy": losses.sum() / counted.sum().clip(min=1),
            "dice": self.dice(probability, target, counted),
        }

    def parts_of_one_class(self, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return `bce` and `dice` of `logits` [N, 1, H, W]; `label` holds 0, 1 and ignored.

        Raises UserError for a label above 1, and if they misfit.
        """
        check_logits_and_label(logits, label)
        counted = (label != self.ignore_index).astype(logits.dtype).unsqueeze(1)
        target = label.astype(logits.dtype).unsqueeze(1) * counted
        if float(target.max()) > 1:
            raise UserError(
                f"label holds {int(target.max())}, and a net with one class knows 0 and 1; "
                "set num_classes to the number of classes"
            )
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return {
            "bce": (losses * counted).sum() / counted.sum().clip(min=1),
            "dice": self.dice(F.sigmoid(logits), target, counted),
        }

    def dice(self, probability: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        """Return 1 - Dice, a scalar, of [N, C, H, W] twice and `counted` [N, 1, H, W] of 0 and 1.

        Sums run over the whole batch.
        """
        dims = [0, 1, 2, 3] if self.pooled_classes else [0, 2, 3]
        overlap = (probability * target * counted).sum(axis=dims)
        total = ((probability + target) * counted).sum(axis=dims)
        return 1.0 - ((2.0 * overlap + DICE_EPSILON) / (total + DICE_EPSILON)).mean()
