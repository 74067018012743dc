"""Panoptic-DeepLab's loss of classes, centers and offsets, and what ViP-DeepLab adds to it."""

from collections.abc import Mapping, Sequence

import paddle
from paddle import Tensor

from common.errors import ConfigError, UserError
from paddle_impl.losses.panoptic.depth import DepthLoss, like
from paddle_impl.losses.parts import LossOfParts
from paddle_impl.losses.pixels import IGNORE_INDEX, pixel_cross_entropy, wide

OUTPUTS = ("semantic", "center", "offset")


class PanopticDeepLabLoss(LossOfParts):
    """Cross-entropy of the hardest pixels, squared error of centers, absolute error of offsets.

    Args:
        top_k: share of the pixels of the whole batch, the hardest, that teach classes; ignored
            ones count among them, with a loss of 0. 1.0: all of them. None: plain cross-entropy,
            the mean over the pixels that are not ignored.
        semantic_weight, center_weight, offset_weight: what the terms are multiplied by.
        ignore_index: label of pixels that teach no class.

    With no pixel to learn from a term is 0 with zero gradients, plain cross-entropy too, of which
    the authors' mean is then NaN.

    Source: bowenc0221/panoptic-deeplab, segmentation/model/loss/criterion.py and
    meta_arch/panoptic_deeplab.py; weights and share: configs/*cityscapes.yaml there. detectron2
    divides the offsets' term by the weights of one channel, not of both: its 0.01 is 0.02 here.

    Raises ConfigError for a setting outside its range.
    """

    outputs: tuple[str, ...] = OUTPUTS

    def __init__(
        self,
        top_k: float | None = 0.2,
        semantic_weight: float = 1.0,
        center_weight: float = 200.0,
        offset_weight: float = 0.01,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        if top_k is not None and not 0 < top_k <= 1:
            raise ConfigError(f"top_k is {top_k}; set a share in (0, 1], or none")
        refuse_negative(
            semantic_weight=semantic_weight,
            center_weight=center_weight,
            offset_weight=offset_weight,
        )
        self.top_k = top_k
        self.semantic_weight = semantic_weight
        self.center_weight = center_weight
        self.offset_weight = offset_weight
        self.ignore_index = ignore_index

    def parts(self, outputs: Sequence[Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted terms by name, for logs: `semantic`, `center`, `offset`.

        outputs: [semantic [N, C, H, W], center [N, 1, H, W], offset [N, 2, H, W]], floating.
        target: of `common.panoptic.targets`, stacked: semantic int64 [N, H, W]; center
        [N, 1, H, W] or [N, H, W] and offset [N, 2, H, W] floating; center_weights,
        offset_weights and perhaps semantic_weights, [N, H, W] or [N, 1, H, W], of any dtype.
        Raises UserError for anything else.
        """
        return self.terms_of(self.maps_of(outputs, target), target)

    def terms_of(
        self, maps: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the terms of the outputs by name, see `parts`."""
        semantic = self.semantic_loss(maps["semantic"], target)
        center = weighted_error(maps["center"], "center", target, squared=True)
        offset = weighted_error(maps["offset"], "offset", target, squared=False)
        return {
            "semantic": semantic * self.semantic_weight,
            "center": center * self.center_weight,
            "offset": offset * self.offset_weight,
        }

    def maps_of(self, outputs: Sequence[Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name, of float32 at least; UserError where they are others."""
        names = self.outputs
        if not isinstance(outputs, tuple | list) or len(outputs) != len(names):
            found = len(outputs) if isinstance(outputs, tuple | list) else type(outputs).__name__
            raise UserError(
                f"outputs: expected [{', '.join(names)}], got {found}; pass what the net returns"
            )
        if not isinstance(target, Mapping):
            raise UserError(
                f"target: expected arrays by name, got {type(target).__name__}; pass what "
                "common.panoptic.targets makes (target: in a config)"
            )
        return {name: wide(output) for name, output in zip(names, outputs, strict=True)}

    def semantic_loss(self, logits: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Return the unweighted term of `logits` [N, C, H, W]: a scalar."""
        label = named(target, "semantic")
        losses = pixel_cross_entropy(logits, label, self.ignore_index)
        if "semantic_weights" in target:
            weights = like(target["semantic_weights"], "semantic_weights", losses.unsqueeze(1))
            losses = losses * weights.squeeze(1)
        if self.top_k is None:
            counted = int((label != self.ignore_index).sum())
            return losses.sum() / max(counted, 1)
        losses = losses.flatten()
        if self.top_k == 1:
            return losses.mean()
        kept = int(self.top_k * losses.shape[0])
        if not kept:
            raise UserError(
                f"top_k of {self.top_k} of {losses.shape[0]} pixels is none; use larger images"
            )
        return paddle.topk(losses, kept)[0].mean()


class ViPDeepLabLoss(PanopticDeepLabLoss):
    """Panoptic-DeepLab's terms, the same of the offsets to the next frame, and the depth.

    Args:
        next_offset_weight, depth_weight: what the two terms are multiplied by.
        ignore_depth: depth of pixels where it is not known.
        top_k, semantic_weight, center_weight, offset_weight, ignore_index: see
            `PanopticDeepLabLoss`.

    Source: google-research/deeplab2, configs/cityscapes_dvps/vip_deeplab/resnet50_beta_os32
    .textproto, but its top_k is one of each image, its rounded, and ignored pixels do not count.

    Raises ConfigError for a setting outside its range.
    """

    outputs = (*OUTPUTS, "next_offset", "depth")

    def __init__(
        self,
        top_k: float | None = 0.2,
        semantic_weight: float = 1.0,
        center_weight: float = 200.0,
        offset_weight: float = 0.01,
        next_offset_weight: float = 0.01,
        depth_weight: float = 0.1,
        ignore_index: int = IGNORE_INDEX,
        ignore_depth: float = 0.0,
    ) -> None:
        super().__init__(top_k, semantic_weight, center_weight, offset_weight, ignore_index)
        refuse_negative(next_offset_weight=next_offset_weight, depth_weight=depth_weight)
        self.next_offset_weight = next_offset_weight
        self.depth_weight = depth_weight
        self.depth = DepthLoss(ignore_depth)

    def parts(self, outputs: Sequence[Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted terms by name: those of three maps, `next_offset` and `depth`.

        outputs: [semantic, center, offset, next_offset [N, 2, H, W], depth [N, 1, H, W]].
        target: has next_offset, next_offset_weights and depth [N, H, W] or [N, 1, H, W] beside
        what `PanopticDeepLabLoss` takes. Raises UserError for anything else.
        """
        maps = self.maps_of(outputs, target)
        moved = weighted_error(maps["next_offset"], "next_offset", target, squared=False)
        depth = self.depth(maps["depth"], named(target, "depth"))
        return self.terms_of(maps, target) | {
            "next_offset": moved * self.next_offset_weight,
            "depth": depth * self.depth_weight,
        }


def refuse_negative(**weights: float) -> None:
    """Raise ConfigError where one of the terms' weights is below 0."""
    for name, weight in weights.items():
        if weight < 0:
            raise ConfigError(f"{name} is {weight}; set 0 or more")


def weighted_error(
    output: Tensor, name: str, target: Mapping[str, Tensor], squared: bool
) -> Tensor:
    """Return sum(error * weight) / sum(weight) of `output` [N, C, H, W], over all channels.

    The error is squared or absolute; 0 with zero gradients where no weight is above 0.
    """
    error = output - like(named(target, name), name, output)
    error = error * error if squared else error.abs()
    weights = named(target, f"{name}_weights")
    weights = like(weights, f"{name}_weights", output[:, :1])
    total = weights.sum() * output.shape[1]
    return (error * weights).sum() / paddle.where(total > 0, total, paddle.ones_like(total))


def named(target: Mapping[str, Tensor], name: str) -> Tensor:
    """Return what `target` has under `name`; UserError where it has not."""
    if name not in target:
        raise UserError(f"target: {name} is missing; it has {', '.join(target)}")
    return target[name]
