"""UPSNet's panoptic head (Xiong et al., CVPR 2019, section 3.3): no parameters, one softmax.

The semantic logits of stuff, and for each instance the semantic logits of its class inside its
box plus the logits of its mask there, stand in one map beside a channel of the unknown.
"""

from collections.abc import Collection, Sequence

import torch
from torch import nn

from common.errors import UserError
from common.panoptic.unified import box_window, shared_window, stuff_classes
from torch_ref.layers import resize_bilinear


class PanopticHead(nn.Module):
    """Fuse semantic logits and the logits of instances' masks; of one image, as in the paper.

    Args:
        num_classes: of the semantic logits, `things` among them.
        stride: pixels of the image in a cell of the semantic logits.
        unknown: add the channel of the unknown: the largest logit of a thing anywhere, less the
            largest that an instance has there (equation 3).

    Raises ConfigError where `things` are not among the classes.
    """

    def __init__(
        self, num_classes: int, things: Collection[int], stride: int = 4, unknown: bool = True
    ) -> None:
        super().__init__()
        self.stuff = stuff_classes(num_classes, things)
        self.things = sorted(things)
        self.stride = stride
        self.unknown = unknown

    def forward(
        self,
        semantic: torch.Tensor,
        mask_logits: torch.Tensor,
        boxes: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """Return logits [1, stuff + N + 1, h, w], without the last channel if not `unknown`.

        Args:
            semantic: logits [1, num_classes, h, w]. mask_logits: [N, m, m], of each instance's
                class. boxes: [N, 4], pixels of the image, x0, y0, x1, y1. labels: int64 [N],
                classes, in the numbers of `semantic`.

        Raises UserError for more than one image, or a label that is no thing.
        """
        places = boxes.detach().cpu().tolist()
        numbers = labels.detach().cpu().tolist()
        if semantic.shape[0] != 1 or not set(numbers) <= set(self.things):
            raise UserError(
                f"the panoptic head takes one image and instances of the classes {self.things}, "
                f"got {semantic.shape[0]} images and the labels {sorted(set(numbers))}"
            )
        size = semantic.shape[2:]
        of_class = [
            self.inside(semantic[:, k : k + 1], box) for k, box in zip(numbers, places, strict=True)
        ]
        of_mask = [self.pasted(m, box, size) for m, box in zip(mask_logits, places, strict=True)]
        instances = [a + b for a, b in zip(of_class, of_mask, strict=True)]
        parts = [semantic[:, self.stuff], *instances]
        if self.unknown:
            parts.append(self.unknown_of(semantic, of_class))
        return torch.cat(parts, dim=1)

    def inside(self, logits: torch.Tensor, box: list[float]) -> torch.Tensor:
        """Return `logits` [1, 1, h, w] of a class inside `box`, and 0 elsewhere."""
        rows, columns, *_ = shared_window(box_window(box, self.stride), logits.shape[2:])
        return self.placed(logits[:, :, rows, columns], rows, columns, logits.shape[2:])

    def pasted(self, mask: torch.Tensor, box: list[float], size: Sequence[int]) -> torch.Tensor:
        """Return `mask` [m, m] resized to `box`, on a map [1, 1, h, w] of 0 of that `size`."""
        window = box_window(box, self.stride)
        top, left, bottom, right = window
        rows, columns, inner_rows, inner_columns = shared_window(window, size)
        resized = resize_bilinear(mask[None, None], [bottom - top, right - left])
        return self.placed(resized[:, :, inner_rows, inner_columns], rows, columns, size)

    def placed(
        self, part: torch.Tensor, rows: slice, columns: slice, size: Sequence[int]
    ) -> torch.Tensor:
        """Return `part` [1, 1, a, b] at `rows` and `columns` of a map of `size`, 0 elsewhere."""
        if 0 in part.shape:
            return part.new_zeros((1, 1, *size))
        height, width = size
        around = [columns.start, width - columns.stop, rows.start, height - rows.stop]
        return nn.functional.pad(part, around)

    def unknown_of(self, semantic: torch.Tensor, of_class: list[torch.Tensor]) -> torch.Tensor:
        """Return the logits of the unknown [1, 1, h, w]; without instances nothing is known."""
        largest = semantic[:, self.things].amax(dim=1, keepdim=True)
        if not of_class:
            return largest
        if len(of_class) == 1:  # Paddle 2.6.2 has no right gradient of the largest of one
            return largest - of_class[0]
        return largest - torch.cat(of_class, dim=1).amax(dim=1, keepdim=True)
