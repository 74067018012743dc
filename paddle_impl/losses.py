"""Criteria of the papers. Called with (outputs, label), as the net returns them in train mode.

Where the authors' code has an effect that a reader would not expect, that effect is the default,
because published numbers were trained with it, and an option named for the effect turns it off.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from common.errors import ConfigError, UserError
from common.shapes import nearest_places

IGNORE_INDEX = 255

# MichaelFan01/STDC-Seg, loss/detail_loss.py.
LAPLACIAN = ((-1.0, -1.0, -1.0), (-1.0, 8.0, -1.0), (-1.0, -1.0, -1.0))
STRIDES = (1, 2, 4)
FUSE_WEIGHTS = (0.6, 0.3, 0.1)
EDGE_THRESHOLD = 0.1
DICE_SMOOTH = 1.0

# Paddle's softmax on CPUs takes no logit to be further than 64 below the highest, so that no pixel
# of its cross-entropy costs more than that; its gradients are right.
CAP = 63.0

# milesial/Pytorch-UNet, utils/dice_score.py.
DICE_EPSILON = 1e-6

# Detail heads whose logits follow the three class maps in the outputs, by how many there are.
DETAIL_HEADS: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("sp8",),
    2: ("sp4", "sp8"),
    3: ("sp2", "sp4", "sp8"),
}


class CrossEntropy(nn.Layer):
    """Cross-entropy, mean over the pixels that are not ignored; 0 if all are."""

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, H, W] floating and `label` [N, H, W] int64.

        With no pixel to learn from it is 0 with zero gradients. A NaN at a counted pixel makes it
        NaN. Raises UserError for other shapes and dtypes.
        """
        losses = pixel_cross_entropy(logits, label, self.ignore_index)
        counted = int((label != self.ignore_index).astype("int64").sum())
        return losses.sum() / max(counted, 1)


class OhemCrossEntropy(nn.Layer):
    """Cross-entropy, mean over the hard pixels, or over the hardest `min_kept` if those are few.

    Hard is a pixel whose true class has a probability below `threshold`; pixels of the whole batch
    compete.

    Args:
        threshold: probability, in (0, 1].
        min_kept: pixels that count at least. None: a sixteenth of the batch's pixels, which is the
            authors' 16 * 1024 * 512 // 16 = 524,288 per card.
        ignore_index: label of pixels that teach nothing.
        ignored_as_zeros: the authors sort ignored pixels among the others with a loss of 0, so
            where fewer than `min_kept` pixels are valid the mean is still taken over `min_kept`.
            False takes it over the valid ones.

    Raises ConfigError for a setting outside its range.
    Source: MichaelFan01/STDC-Seg, loss/loss.py.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int | None = None,
        ignore_index: int = IGNORE_INDEX,
        ignored_as_zeros: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold is {threshold}; set a probability in (0, 1]")
        if min_kept is not None and min_kept < 1:
            raise ConfigError(f"min_kept is {min_kept}; set at least 1 pixel")
        self.threshold = threshold
        self.min_kept = min_kept
        self.ignore_index = ignore_index
        self.ignored_as_zeros = ignored_as_zeros
        # In float32, as the authors hold both the probability and its logarithm.
        self.hard_loss = float(np.float32(-math.log(np.float32(threshold))))

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, H, W] floating and `label` [N, H, W] int64.

        With all pixels ignored it is 0 with zero gradients. A NaN at a counted pixel makes it NaN.
        Raises UserError for other shapes and dtypes, ConfigError if `min_kept` is not below the
        number of pixels.
        """
        losses = pixel_cross_entropy(logits, label, self.ignore_index).flatten()
        kept = self.kept_pixels(label)
        # Asked this way round, a NaN is hard and is not lost.
        easy = losses <= self.hard_loss
        zeros = paddle.zeros_like(losses)
        hard_count = math.prod(losses.shape) - int(easy.astype("int64").sum())
        hard_sum = paddle.where(easy, zeros, losses).sum()
        if hard_count >= kept:
            return hard_sum / max(hard_count, 1)
        easy_losses = paddle.where(easy, losses, zeros)
        return (hard_sum + paddle.topk(easy_losses, kept - hard_count)[0].sum()) / kept

    def kept_pixels(self, label: Tensor) -> int:
        """Return how many pixels of `label` [N, H, W] count at least."""
        pixels = math.prod(label.shape)
        kept = max(pixels // 16, 1) if self.min_kept is None else self.min_kept
        if kept >= pixels:
            raise ConfigError(
                f"min_kept is {kept}, and a batch {list(label.shape)} has only {pixels} pixels; "
                f"set it below that (the authors' rule, a sixteenth, gives {max(pixels // 16, 1)})"
            )
        if self.ignored_as_zeros:
            return kept
        return min(kept, int((label != self.ignore_index).astype("int64").sum()))


class DetailLoss(nn.Layer):
    """Binary cross-entropy and Dice between a detail head and the edges of the label.

    Args:
        decaying_fuse_kernel: the authors' fuse kernel is a parameter, and thresholding cuts its
            gradient to exactly 0: weight decay shrinks it, to 0.21 of itself in 60,000 steps, and
            edges that only the coarse scales see stop counting half-way. False makes it a constant
            buffer.
        void_edges: the authors take the label as it is, so that the ignored 255 has edges too.
            False: an ignored pixel has no edge of its own and does not weigh on its neighbours'.
        strict_threshold: the authors ask fused > 0.1 in float32, where the coarsest scale alone,
            0.1, never passes. False asks fused >= 0.1, and it passes until the kernel decays.
        ignore_index: the label that `void_edges` is about.

    Source: MichaelFan01/STDC-Seg, loss/detail_loss.py.
    """

    laplacian: Tensor
    fuse_kernel: Tensor

    def __init__(
        self,
        decaying_fuse_kernel: bool = True,
        void_edges: bool = True,
        strict_threshold: bool = True,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.void_edges = void_edges
        self.strict_threshold = strict_threshold
        self.ignore_index = ignore_index
        laplacian = paddle.to_tensor(LAPLACIAN, dtype="float32").reshape([1, 1, 3, 3])
        self.register_buffer("laplacian", laplacian, persistable=False)
        # Rounded to float32 first: a float64 net must start from the same three numbers.
        dtype = paddle.get_default_dtype()
        fuse_kernel = np.array(FUSE_WEIGHTS, dtype=np.float32).reshape([1, 3, 1, 1]).astype(dtype)
        if decaying_fuse_kernel:
            initializer = nn.initializer.Assign(fuse_kernel)
            self.fuse_kernel = self.create_parameter(
                [1, 3, 1, 1], dtype=dtype, default_initializer=initializer
            )
        else:
            self.register_buffer("fuse_kernel", paddle.to_tensor(fuse_kernel))

    def forward(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return scalars (BCE, Dice) from `logits` [N, 1, h, w] floating, `label` [N, H, W] int64.

        The logits are resized to [H, W] here, bilinear with aligned corners.
        Raises UserError for other shapes and dtypes.
        """
        check_logits_and_label(logits, label)
        if logits.shape[1] != 1:
            raise UserError(
                f"detail logits have shape {list(logits.shape)}, expected 1 channel; "
                "pass the output of a detail head, not class logits"
            )
        target = self.target(label).astype(logits.dtype)
        size = list(label.shape[1:])
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
        bce = F.binary_cross_entropy_with_logits(logits, target)
        # A zero gradient for the kernel, not none: optimizers skip what has none.
        bce = bce + self.fuse_kernel.sum().astype(bce.dtype) * 0.0
        return bce, dice_loss(F.sigmoid(logits), target)

    def target(self, label: Tensor) -> Tensor:
        """Return the edges of `label` [N, H, W] int64 as [N, 1, H, W] float32, 0 or 1.

        Of two touching classes the pixels of the larger id are the edge, and outside the image
        is class 0.
        """
        with paddle.no_grad():
            edges = paddle.concat([self.edges(label, stride) for stride in STRIDES], axis=1)
            # In float32 whatever the net runs in: there 0.1 > 0.1 is False, while a kernel rounded
            # to float32 and compared in float64 would pass.
            fused = (edges * self.fuse_kernel.astype("float32")).sum(axis=1, keepdim=True)
            if self.strict_threshold:
                return (fused > EDGE_THRESHOLD).astype("float32")
            return (fused >= EDGE_THRESHOLD).astype("float32")

    def edges(self, label: Tensor, stride: int) -> Tensor:
        """Return what the Laplacian of `label` sees at one stride: [N, 1, H, W] float32, 0 or 1."""
        laplacian = self.laplacian.astype("float32")
        ids = label.astype("float32").unsqueeze(1)
        if self.void_edges:
            response = F.conv2d(ids, laplacian, stride=stride, padding=1)
        else:
            void = (label == self.ignore_index).astype("float32").unsqueeze(1)
            ids = ids * (1.0 - void)
            response = F.conv2d(ids, laplacian, stride=stride, padding=1)
            # An ignored neighbour stood in the sum as 0; now as the centre's own class.
            void_neighbours = F.conv2d(void, laplacian, stride=stride, padding=1)
            response = response + ids[:, :, ::stride, ::stride] * void_neighbours
        size = list(label.shape[1:])
        response = F.interpolate(response, size=size, mode="nearest")
        return (response > EDGE_THRESHOLD).astype("float32")


class StdcLoss(nn.Layer):
    """STDC-Seg's whole loss: OHEM on the three class maps, BCE and Dice on every detail head.

    Args:
        ohem: settings of `OhemCrossEntropy`; None: its defaults.
        detail: settings of `DetailLoss`; None: its defaults.

    Source: MichaelFan01/STDC-Seg, train.py (all weights are 1).
    """

    def __init__(
        self,
        ohem: Mapping[str, Any] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.ohem = OhemCrossEntropy(**(ohem or {}))
        self.detail = DetailLoss(**(detail or {}))

    def forward(self, outputs: Sequence[Tensor], label: Tensor) -> Tensor:
        """Return the sum of `parts(outputs, label)`, a scalar."""
        return self.total(self.parts(outputs, label))

    def parts(self, outputs: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, in a fixed order, for logs: `ohem_out`, ..., `dice_sp8`.

        outputs: (out, out16, out32) [N, C, H, W], then 0 to 3 detail logits [N, 1, h, w], as the
        net returns them. label: [N, H, W] int64. Raises UserError for anything else.
        """
        if not isinstance(outputs, tuple | list) or not 3 <= len(outputs) <= 6:
            found = len(outputs) if isinstance(outputs, tuple | list) else type(outputs).__name__
            raise UserError(
                f"outputs: expected (out, out16, out32) and up to 3 detail logits, got {found}; "
                "pass what the net returns in train mode"
            )
        parts: dict[str, Tensor] = {}
        for name, logits in zip(("out", "out16", "out32"), outputs[:3], strict=True):
            parts[f"ohem_{name}"] = self.ohem(logits, label)
        details = outputs[3:]
        for name, logits in zip(DETAIL_HEADS[len(details)], details, strict=True):
            parts[f"bce_{name}"], parts[f"dice_{name}"] = self.detail(logits, label)
        return parts

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        first, *others = parts.values()
        return sum(others, start=first)


class SummedCrossEntropy(nn.Layer):
    """Cross-entropy, summed over the pixels that are not ignored, per image: FCN's loss.

    The sum is what FCN's tiny learning rates (1e-10) belong to.
    Source: wkentaro/pytorch-fcn, torchfcn/trainer.py.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, H, W] floating and `label` [N, H, W] int64.

        The sum over all images divided by N; 0 with zero gradients if all pixels are ignored.
        Raises UserError for other shapes and dtypes.
        """
        return pixel_cross_entropy(logits, label, self.ignore_index).sum() / logits.shape[0]


class UNetLoss(nn.Layer):
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

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the sum of `parts(logits, label)`, a scalar."""
        return self.total(self.parts(logits, label))

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
        """Return `bce` and `dice` of `logits` [N, 1, H, W]; `label` holds 0, 1 and ignored."""
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

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        first, *others = parts.values()
        return sum(others, start=first)


class AuxiliaryCrossEntropy(nn.Layer):
    """Cross-entropy of the main head plus `aux_weight` times that of the auxiliary head.

    Args:
        aux_weight: 0.4 is PSPNet's and GloRe's, 0.5 torchvision's.
        ignore_index: label of pixels that teach nothing.

    Source: hszhao/semseg, tool/train.py; torchvision, references/segmentation/train.py.
    """

    def __init__(self, aux_weight: float = 0.4, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        if not aux_weight >= 0:
            raise ConfigError(f"aux_weight is {aux_weight}; set 0 or more")
        self.aux_weight = aux_weight
        self.cross_entropy = CrossEntropy(ignore_index)

    def forward(self, outputs: Any, label: Tensor) -> Tensor:
        """Return the weighted sum of `parts(outputs, label)`, a scalar."""
        return self.total(self.parts(outputs, label))

    def parts(self, outputs: Any, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, unweighted, for logs: `main` and `aux`.

        outputs: (logits, auxiliary logits), or a dict with "out" and perhaps "aux", as the net
        returns them in train mode; each [N, C, H, W] floating. label: [N, H, W] int64. Raises
        UserError for anything else.
        """
        if isinstance(outputs, Mapping):
            outputs = [outputs[name] for name in ("out", "aux") if name in outputs]
        if not isinstance(outputs, tuple | list) or not 1 <= len(outputs) <= 2:
            found = len(outputs) if isinstance(outputs, tuple | list) else type(outputs).__name__
            raise UserError(
                f"outputs: expected (logits, auxiliary logits), got {found}; pass what the net "
                "returns in train mode"
            )
        names = ("main", "aux")[: len(outputs)]
        return {
            name: self.cross_entropy(logits, label)
            for name, logits in zip(names, outputs, strict=True)
        }

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        if "aux" not in parts:
            return parts["main"]
        return parts["main"] + parts["aux"] * self.aux_weight


class MultiScaleCrossEntropy(nn.Layer):
    """Sum of the cross-entropies of logits at several sizes: DeepLabV2's loss.

    For each the label is shrunk, without mixing classes, by the rule of PIL's nearest resize,
    which the authors use.
    Source: kazuto1011/deeplab-pytorch, main.py.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.cross_entropy = CrossEntropy(ignore_index)

    def forward(self, outputs: Sequence[Tensor], label: Tensor) -> Tensor:
        """Return the sum of `parts(outputs, label)`, a scalar."""
        return self.total(self.parts(outputs, label))

    def parts(self, outputs: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, in the order of the outputs, for logs: `out0`, `out1`, ...

        outputs: logits [N, C, h, w] floating, each of its own size, as the net returns them in
        train mode. label: [N, H, W] int64. Raises UserError for anything else.
        """
        if not isinstance(outputs, tuple | list) or not outputs:
            raise UserError(
                f"outputs: expected a list of logits, got {type(outputs).__name__}; pass what the "
                "net returns in train mode"
            )
        parts: dict[str, Tensor] = {}
        for index, logits in enumerate(outputs):
            check_logits_and_label(logits, label)
            small = self.shrink(label, list(logits.shape[2:]))
            parts[f"out{index}"] = self.cross_entropy(logits, small)
        return parts

    def shrink(self, label: Tensor, size: Sequence[int]) -> Tensor:
        """Return `label` [N, H, W] at `size` (height, width); each pixel is one of the label's."""
        rows = paddle.to_tensor(nearest_places(label.shape[1], size[0]))
        columns = paddle.to_tensor(nearest_places(label.shape[2], size[1]))
        return paddle.index_select(paddle.index_select(label, rows, axis=1), columns, axis=2)

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return the loss to differentiate, a scalar, from the terms that `parts` gave."""
        first, *others = parts.values()
        return sum(others, start=first)


class UpsampledCrossEntropy(nn.Layer):
    """Cross-entropy of logits that are resized to the label first: DeepLabV3's loss.

    "it is important to keep the groundtruths intact and instead upsample the final logits"
    (Chen et al., arXiv 1706.05587, section 4.1).
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.cross_entropy = CrossEntropy(ignore_index)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, h, w] floating and `label` [N, H, W] int64.

        Raises UserError for other shapes and dtypes.
        """
        check_logits_and_label(logits, label)
        size = list(label.shape[1:])
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return self.cross_entropy(logits, label)


LOSSES: dict[str, type[nn.Layer]] = {
    "cross_entropy": CrossEntropy,
    "ohem": OhemCrossEntropy,
    "detail": DetailLoss,
    "stdc": StdcLoss,
    "summed_cross_entropy": SummedCrossEntropy,
    "unet": UNetLoss,
    "auxiliary_cross_entropy": AuxiliaryCrossEntropy,
    "multi_scale_cross_entropy": MultiScaleCrossEntropy,
    "upsampled_cross_entropy": UpsampledCrossEntropy,
}


def pixel_cross_entropy(logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Return the loss of every pixel, [N, H, W], 0 where ignored.

    logits: [N, C, H, W] floating, label: [N, H, W] int64. Raises UserError if they misfit.
    """
    check_logits_and_label(logits, label)
    if list(logits.shape[2:]) != list(label.shape[1:]):
        raise UserError(
            f"logits {list(logits.shape)} and label {list(label.shape)} differ in height or "
            "width; resize the logits to the label's size"
        )
    losses = F.cross_entropy(logits, label, axis=1, ignore_index=ignore_index, reduction="none")
    if float(losses.max()) < CAP:
        return losses
    counted = label != ignore_index
    classes = paddle.where(counted, label, paddle.zeros_like(label)).unsqueeze(1)
    exact = paddle.logsumexp(logits, axis=1) - paddle.take_along_axis(logits, classes, 1).squeeze(1)
    return paddle.where(counted, exact, paddle.zeros_like(exact))


def dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """Return 1 - Dice, smoothed by 1, per image and then averaged: a scalar.

    Both [N, 1, H, W] of one floating dtype, in 0..1.
    Source: MichaelFan01/STDC-Seg, loss/detail_loss.py.
    """
    probability = probability.flatten(1)
    target = target.flatten(1)
    overlap = (probability * target).sum(axis=1)
    total = probability.sum(axis=1) + target.sum(axis=1)
    return (1.0 - (2.0 * overlap + DICE_SMOOTH) / (total + DICE_SMOOTH)).mean()


def check_logits_and_label(logits: Tensor, label: Tensor) -> None:
    """Raise UserError unless logits are [N, C, h, w] floating and label [N, H, W] int64."""
    if logits.ndim != 4 or label.ndim != 3 or logits.shape[0] != label.shape[0]:
        raise UserError(
            f"logits {list(logits.shape)} and label {list(label.shape)} do not belong together; "
            "expected [N, C, h, w] and [N, H, W]"
        )
    if not paddle.is_floating_point(logits):
        raise UserError(f"logits are {logits.dtype}, expected a floating dtype")
    if label.dtype != paddle.int64:
        raise UserError(f"label is {label.dtype}, expected int64; cast it where it is loaded")
