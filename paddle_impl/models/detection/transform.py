"""What torchvision's detectors do to images themselves, and what they undo in the results."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import UserError
from common.instances.resizing import CROWD, PARTS, check_objects, resize_boxes, resize_masks
from common.instances.sizes import Size, padded, ratios, resized
from paddle_impl.layers import resize_bilinear
from paddle_impl.losses.arrays import array_of, tensor_like
from paddle_impl.models.detection.paste import paste_masks
from paddle_impl.models.detection.teaching import Objects

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in 0..1

Detection = dict[str, paddle.Tensor]


class RCNNTransform(nn.Layer):
    """Images to a batch, and the results to the images.

    Args:
        min_size, max_size: of an image's shortest and longest side, in pixels.
        image_mean, image_std: of red, green and blue.
        bgr: blue comes first in the batch.
    """

    def __init__(
        self,
        min_size: int,
        max_size: int,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.min_size = min_size
        self.max_size = max_size
        self.image_mean = MEAN if image_mean is None else tuple(image_mean)
        self.image_std = STD if image_std is None else tuple(image_std)
        self.bgr = bgr

    def forward(self, images: Sequence[paddle.Tensor]) -> tuple[paddle.Tensor, list[Size]]:
        """Return the batch [N, 3, H, W], padded by zeros, and each image's size in it.

        images: [3, h, w] each, RGB in 0..1. Raises UserError for another shape.
        """
        resized_images = [self.normalised(image) for image in images]
        sizes = [(image.shape[2], image.shape[3]) for image in resized_images]
        height, width = padded(sizes)
        rows = [
            F.pad(x, [0, width - size[1], 0, height - size[0]])
            for x, size in zip(resized_images, sizes, strict=True)
        ]
        return paddle.concat(rows), sizes

    def normalised(self, image: paddle.Tensor) -> paddle.Tensor:
        """Return `image` [3, h, w] normalised and resized: [1, 3, H, W]."""
        if image.ndim != 3 or image.shape[0] != 3:
            raise UserError(
                f"the net takes images [3, H, W], one by one, got one of {list(image.shape)}"
            )
        mean = (
            paddle.to_tensor(self.image_mean, dtype="float64")
            .astype(image.dtype)
            .reshape([3, 1, 1])
        )
        std = (
            paddle.to_tensor(self.image_std, dtype="float64").astype(image.dtype).reshape([3, 1, 1])
        )
        size = resized((image.shape[1], image.shape[2]), self.min_size, self.max_size)
        image = (image - mean) / std
        return resize_bilinear((paddle.flip(image, [0]) if self.bgr else image)[None], size)

    def restored(
        self, found: Sequence[Detection], sizes: Sequence[Size], originals: Sequence[Size]
    ) -> list[Detection]:
        """Return `found` of images of `sizes` in images of the sizes `originals`.

        Boxes are scaled, and masks [N, 1, M, M] become maps of the image [N, 1, H, W].
        """
        results = []
        for one, size, original in zip(found, sizes, originals, strict=True):
            height, width = ratios(size, original)
            scale = paddle.to_tensor([width, height, width, height], dtype="float64")
            boxes = one["boxes"]
            if len(boxes):  # Paddle 2.6 computes with no empty tensor
                boxes = boxes * scale.astype(boxes.dtype)
            masks = paste_masks(one["masks"], boxes, original)
            results.append({**one, "boxes": boxes, "masks": masks})
        return results


def objects_in_batch(
    targets: Sequence[Objects],
    originals: Sequence[Size],
    sizes: Sequence[Size],
    num_classes: int,
    like: paddle.Tensor,
) -> list[Objects]:
    """Return boxes, labels and masks of each of `targets`, whose images were resized.

    Args:
        targets: of each image what `check_objects` says, as tensors.
        originals, sizes: (height, width) of each image before and after.
        num_classes: with background.
        like: what the boxes get the dtype of.

    Raises UserError for targets that misfit.
    """
    if len(targets) != len(originals):
        raise UserError(f"{len(targets)} targets for {len(originals)} images; give one for each")
    found: list[Objects] = []
    for i, (target, old, new) in enumerate(zip(targets, originals, sizes, strict=True)):
        held = {name: array_of(target[name]) for name in (*PARTS, CROWD) if name in target}
        check_objects(held, f"targets[{i}]", old, num_classes)
        boxes = tensor_like(resize_boxes(held["boxes"], old, new), like)
        masks = paddle.to_tensor(resize_masks(held["masks"], new))
        found.append({"boxes": boxes, "labels": target["labels"], "masks": masks})
    return found
