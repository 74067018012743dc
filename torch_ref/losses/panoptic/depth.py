"""ViP-DeepLab's loss of depths: scale-invariant logarithmic and relative squared error."""

import torch
from torch import Tensor

from common.errors import UserError
from torch_ref.losses.parts import LossOfParts
from torch_ref.losses.pixels import wide


class DepthLoss(LossOfParts):
    """mean(e^2) - mean(e)^2 + sqrt(mean(((gt - d) / gt)^2)), e = log gt - log d, mean of images.

    The means of an image are over its pixels of known depth; an image without any adds 0, with
    zero gradients, where the authors' is NaN. Neither is the first term rooted nor is any
    multiplied by 100, unlike in the two benchmarks that they are from.

    ignore_depth: depth of pixels where it is not known.

    Source: google-research/deeplab2, model/loss/base_loss.py, SILogPlusRelativeSquaredLoss.
    """

    def __init__(self, ignore_depth: float = 0.0) -> None:
        super().__init__()
        self.ignore_depth = ignore_depth

    # A depth stands in place of a label.
    def parts(self, outputs: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by name, for logs: `scale_invariant` and `relative`, scalars.

        outputs: depths that were predicted, in metres, above 0, [N, 1, H, W] or [N, H, W]
        floating; label: the true ones, of any dtype. Raises UserError for other shapes.
        """
        pred = wide(outputs)
        gt = like(label, "depth", pred).flatten(1)
        pred = pred.flatten(1)
        known = gt != self.ignore_depth
        pred = torch.where(known, pred, torch.ones_like(pred))
        gt = torch.where(known, gt, torch.ones_like(gt))
        count = known.to(pred.dtype).sum(1)
        divisor = torch.where(count > 0, count, torch.ones_like(count))
        error = torch.log(gt) - torch.log(pred)
        mean = error.sum(1) / divisor
        relative = (gt - pred) / gt
        squared = (relative * relative).sum(1) / divisor
        # An image without a known depth: the root of 0 has no gradient.
        rooted = torch.sqrt(torch.where(count > 0, squared, torch.ones_like(squared)))
        rooted = torch.where(count > 0, rooted, torch.zeros_like(rooted))
        scale_invariant = (error * error).sum(1) / divisor - mean * mean
        return {"scale_invariant": scale_invariant.mean(), "relative": rooted.mean()}


def like(values: Tensor, name: str, output: Tensor) -> Tensor:
    """Return `values` of a target in the dtype and shape of `output`; its one channel may miss.

    Raises UserError where the shapes differ otherwise: nothing is broadcast.
    """
    if output.ndim == 4 and output.shape[1] == 1 and values.ndim == 3:
        values = values.unsqueeze(1)
    if list(values.shape) != list(output.shape):
        raise UserError(
            f"target: {name} has the shape {list(values.shape)}, expected {list(output.shape)} of "
            "the output"
        )
    return values.to(output.dtype)
