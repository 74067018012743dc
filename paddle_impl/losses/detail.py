"""STDC-Seg's criterion of a detail head against the edges of the label."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from common.errors import UserError
from paddle_impl.losses.pixels import IGNORE_INDEX, check_logits_and_label

# MichaelFan01/STDC-Seg, loss/detail_loss.py.
LAPLACIAN = ((-1.0, -1.0, -1.0), (-1.0, 8.0, -1.0), (-1.0, -1.0, -1.0))
STRIDES = (1, 2, 4)
FUSE_WEIGHTS = (0.6, 0.3, 0.1)
EDGE_THRESHOLD = 0.1
DICE_SMOOTH = 1.0


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
