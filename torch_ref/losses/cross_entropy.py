"""Cross-entropy of one class map: the mean, and FCN's sum."""

from torch import Tensor, nn

from torch_ref.losses.pixels import IGNORE_INDEX, pixel_cross_entropy


class CrossEntropy(nn.Module):
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
        counted = int((label != self.ignore_index).sum())
        return losses.sum() / max(counted, 1)


class SummedCrossEntropy(nn.Module):
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
