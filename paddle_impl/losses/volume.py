"""Losses of volumes, whose channels are classes or masks of their own."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from common.errors import ConfigError, UserError
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import at_label, check_classes, log_probabilities, wide

EPSILON = 1e-6  # the least that Dice divides by
NORMALIZATIONS = ("sigmoid", "softmax", "none")
UNUSED_LABEL = -100  # what cross-entropy ignores if nothing is said
KINDS: dict[str, tuple[str, ...]] = {  # and the options of each, beside ignore_index
    "BCEWithLogitsLoss": ("pos_weight",),
    "BCEDiceLoss": ("alpha",),
    "DiceLoss": ("normalization", "weight"),
    "GeneralizedDiceLoss": ("normalization",),
    "CrossEntropyLoss": ("weight",),
    "WeightedCrossEntropyLoss": (),
    "MSELoss": (),
    "L1Loss": (),
    "SmoothL1Loss": (),
}
OF_LABELS = ("CrossEntropyLoss", "WeightedCrossEntropyLoss")


class VolumeLoss(LossOfParts):
    """One of the losses of wolny/pytorch-3dunet, as its configs build them.

    Args:
        kind: one of `KINDS`. The cross-entropies take labels, the others a map for every channel.
        alpha: of BCEDiceLoss, what Dice is multiplied by; 1 if nothing is said.
        normalization: of both Dice losses, what makes probabilities of logits: "sigmoid" (if
            nothing is said), "softmax" over the channels, or "none".
        weight: a number for each channel. Dice multiplies its numerator alone, so that a loss of
            less than 0 or of more than 1 is possible; cross-entropy is the weighted mean.
        pos_weight: of BCEWithLogitsLoss, what a voxel of 1 counts.
        ignore_index: label of voxels that teach nothing. Of the cross-entropies -100 if nothing is
            said. Of the others a value of the target; logits and target become 0 there, so that
            such a voxel has no gradient, but BCE counts it with log 2 and every mean by its number.

    Dice is of a channel over the whole batch, of squares below; the generalised one divides
    channels by the square of their volume, and a single channel has its background beside it.
    The weights of WeightedCrossEntropyLoss are, of each class, the sum of what the net gives to
    all others over that of what it gives to it, over the batch, ignored voxels too; without a
    gradient. With no voxel to learn from a cross-entropy is 0, where the authors' is NaN.

    Source: pytorch3dunet/unet3d/losses.py. Raises ConfigError for options that are none.
    """

    def __init__(
        self,
        kind: str = "DiceLoss",
        alpha: float | None = None,
        normalization: str | None = None,
        weight: Sequence[float] | None = None,
        pos_weight: float | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        given = {
            "alpha": alpha,
            "normalization": normalization,
            "weight": weight,
            "pos_weight": pos_weight,
        }
        check_options(kind, [name for name, value in given.items() if value is not None])
        self.kind = kind
        self.alpha = 1.0 if alpha is None else alpha
        self.normalization = "sigmoid" if normalization is None else normalization
        if self.normalization not in NORMALIZATIONS:
            names = ", ".join(NORMALIZATIONS)
            raise ConfigError(f"normalization is {normalization!r}; choose one of {names}")
        self.weight = None if weight is None else tuple(map(float, weight))
        self.pos_weight = pos_weight
        self.ignore_index = ignore_index

    def parts(self, outputs: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, for logs: `bce` and `dice` of BCEDiceLoss, else one.

        outputs: logits [N, C, D, H, W] floating. label: of the cross-entropies [N, D, H, W] int64;
        else [N, C, D, H, W] of any dtype. Raises UserError for anything else.
        """
        logits = wide(outputs)
        if self.kind in OF_LABELS:
            check_label(logits, label)
            return {
                "cross_entropy": self.cross_entropy(flat(logits), label.flatten(1).unsqueeze(-1))
            }
        if logits.ndim != 5 or list(logits.shape) != list(label.shape):
            raise UserError(
                f"target: has the shape {list(label.shape)}, expected {list(logits.shape)} of the "
                "output, [N, C, D, H, W]: a map for every channel"
            )
        logits, target = flat(logits), flat(label.astype(logits.dtype))
        if self.ignore_index is not None:
            counted = (target != self.ignore_index).astype(logits.dtype)
            logits, target = logits * counted, target * counted
        if self.kind == "BCEDiceLoss":
            dice = self.alpha * (1.0 - self.dice(logits, target).mean())
            return {"bce": self.binary(logits, target), "dice": dice}
        return self.one_term(logits, target)

    def one_term(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the term of a loss that has one, of maps [N, C, V, 1], by its name."""
        if self.kind == "BCEWithLogitsLoss":
            return {"bce": self.binary(logits, target)}
        if self.kind == "DiceLoss":
            return {"dice": 1.0 - self.dice(logits, target).mean()}
        if self.kind == "GeneralizedDiceLoss":
            return {"generalized_dice": 1.0 - self.generalized_dice(logits, target)}
        if self.kind == "MSELoss":
            return {"mse": F.mse_loss(logits, target)}
        if self.kind == "L1Loss":
            return {"l1": F.l1_loss(logits, target)}
        return {"smooth_l1": F.smooth_l1_loss(logits, target)}

    def binary(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean binary cross-entropy of maps [N, C, V, 1]."""
        if self.pos_weight is None:
            return F.binary_cross_entropy_with_logits(logits, target)
        there, absent = (
            F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            for wanted in (paddle.ones_like(logits), paddle.zeros_like(logits))
        )
        return (self.pos_weight * target * there + (1.0 - target) * absent).mean()

    def dice(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return Dice of every channel of maps [N, C, V, 1]: [C]."""
        found, wanted = channels_first(self.probabilities(logits)), channels_first(target)
        overlap = (found * wanted).sum(axis=1)
        if self.weight is not None:
            overlap = overlap * self.weights_like(overlap)
        size = (found * found).sum(axis=1) + (wanted * wanted).sum(axis=1)
        return 2.0 * overlap / at_least(size)

    def generalized_dice(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the generalised Dice of maps [N, C, V, 1], a scalar."""
        found, wanted = channels_first(self.probabilities(logits)), channels_first(target)
        if found.shape[0] == 1:
            found = paddle.concat([found, 1.0 - found], axis=0)
            wanted = paddle.concat([wanted, 1.0 - wanted], axis=0)
        volume = wanted.sum(axis=1)
        weight = 1.0 / at_least(volume * volume)
        overlap = (found * wanted).sum(axis=1) * weight
        size = at_least((found + wanted).sum(axis=1) * weight)
        return 2.0 * overlap.sum() / size.sum()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return what `normalization` makes of logits [N, C, V, 1]."""
        if self.normalization == "sigmoid":
            return F.sigmoid(logits)
        if self.normalization == "softmax":
            return paddle.exp(log_probabilities(logits))
        return logits

    def cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the weighted mean over the voxels of `label` [N, V, 1], a scalar."""
        ignored = UNUSED_LABEL if self.ignore_index is None else self.ignore_index
        check_classes(label, logits.shape[1], ignored)
        logs = log_probabilities(logits)
        losses = -at_label(logs, label, ignored)
        weights = self.class_weights(logs)
        everywhere = (paddle.zeros_like(logs) + weights.reshape([1, -1, 1, 1])).detach()
        counted = at_label(everywhere, label, ignored)
        total = counted.sum()
        return (losses * counted).sum() / paddle.where(total > 0, total, paddle.ones_like(total))

    def class_weights(self, logs: Tensor) -> Tensor:
        """Return what the classes count, [C], given the logarithms of their probabilities."""
        if self.kind == "WeightedCrossEntropyLoss":
            found = channels_first(paddle.exp(logs.detach()))
            return (1.0 - found).sum(axis=1) / found.sum(axis=1)
        ones = paddle.ones_like(logs[0, :, 0, 0])
        return ones if self.weight is None else self.weights_like(ones)

    def weights_like(self, channels: Tensor) -> Tensor:
        """Return `weight` beside `channels` [C]; UserError where it is of another length."""
        weight = self.weight or ()
        if len(weight) != channels.shape[0]:
            raise UserError(
                f"weight has {len(weight)} numbers, and the output {channels.shape[0]} channels; "
                "give one for each"
            )
        return paddle.to_tensor(weight, dtype=channels.dtype)


def check_options(kind: str, given: Sequence[str]) -> None:
    """Raise ConfigError where there is no such loss, or an option is given that it has not."""
    if kind not in KINDS:
        raise ConfigError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
    strange = [name for name in given if name not in KINDS[kind]]
    if strange:
        known = ", ".join((*KINDS[kind], "ignore_index"))
        raise ConfigError(f"{kind} has no option {', '.join(strange)}; it has {known}")


def flat(maps: Tensor) -> Tensor:
    """Return maps [N, C, D, H, W] as [N, C, V, 1]; Paddle has no logsumexp of five dimensions."""
    return maps.flatten(2).unsqueeze(-1)


def channels_first(maps: Tensor) -> Tensor:
    """Return maps [N, C, V, 1] as [C, N * V]."""
    return maps.transpose([1, 0, 2, 3]).reshape([maps.shape[1], -1])


def at_least(values: Tensor) -> Tensor:
    """Return `values` where they are above 1e-6, and 1e-6 elsewhere."""
    return paddle.maximum(values, paddle.full_like(values, EPSILON))


def check_label(logits: Tensor, label: Tensor) -> None:
    """Raise UserError unless logits are [N, C, D, H, W] and label [N, D, H, W] int64."""
    shape = list(logits.shape)
    if len(shape) != 5 or list(label.shape) != [shape[0], *shape[2:]]:
        raise UserError(
            f"logits {shape} and label {list(label.shape)} do not belong together; expected "
            "[N, C, D, H, W] and [N, D, H, W]"
        )
    if label.dtype != paddle.int64:
        raise UserError(f"label is {label.dtype}, expected int64; cast it where it is loaded")
