"""DeepLab's losses: the label shrunk to the logits (V2), the logits resized to the label (V3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError
from common.shapes import nearest_places
from torch_ref.losses.cross_entropy import CrossEntropy
from torch_ref.losses.parts import LossOfParts
from torch_ref.losses.pixels import IGNORE_INDEX, check_logits_and_label


class MultiScaleCrossEntropy(LossOfParts):
    """Sum of the cross-entropies of logits at several sizes: DeepLabV2's loss.

    For each the label is shrunk, without mixing classes, by the rule of PIL's nearest resize,
    which the authors use.
    Source: kazuto1011/deeplab-pytorch, main.py.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.cross_entropy = CrossEntropy(ignore_index)

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
        rows = torch.from_numpy(nearest_places(label.shape[1], size[0])).to(label.device)
        columns = torch.from_numpy(nearest_places(label.shape[2], size[1])).to(label.device)
        return torch.index_select(torch.index_select(label, 1, rows), 2, columns)


class UpsampledCrossEntropy(nn.Module):
    """Cross-entropy of logits that are resized to the label first: DeepLabV3's loss.

    "it is important to keep the groundtruths intact and instead upsample the final logits"
    (Chen et al., arXiv 1706.05587, section 4.1). Theirs has no `weights` and no
    `label_smoothing`: see `CrossEntropy`.
    """

    def __init__(
        self,
        ignore_index: int = IGNORE_INDEX,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.cross_entropy = CrossEntropy(ignore_index, weights, label_smoothing)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar from `logits` [N, C, h, w] floating and `label` [N, H, W] int64.

        Raises UserError for other shapes and dtypes.
        """
        check_logits_and_label(logits, label)
        size = list(label.shape[1:])
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return self.cross_entropy(logits, label)
