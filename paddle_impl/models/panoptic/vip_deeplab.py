"""ViP-DeepLab (Qiao et al., CVPR 2021): Panoptic-DeepLab, the next frame's offsets, depths.

As google-research/deeplab2 has it in TensorFlow (model/decoder/vip_deeplab_decoder.py,
configs/cityscapes_dvps/vip_deeplab/resnet50_beta_os32.textproto), in Panoptic-DeepLab's PyTorch
names. It has no published weights in PyTorch, so these differ from deeplab2: the image pooling has
no BatchNorm, the dropout is 0.5 (0.1 there), epsilon is 1e-5 (1e-3 there), and initial values are
not cut off at two standard deviations.
"""

from collections.abc import Sequence

import paddle
from paddle import nn

from common.errors import UserError
from common.shapes import first_width
from paddle_impl.layers import kaiming_normal_, keep_statistics, resize_bilinear
from paddle_impl.models.backbones.resnet import ResNet
from paddle_impl.models.panoptic.panoptic_deeplab import (
    KEPT,
    RATES,
    PanopticDecoder,
    SingleDecoder,
    SingleHead,
    upsample,
)

MAX_DEPTH = 88.0  # metres: depth_head.max_value_after_activation there
STD = 0.01  # of the last convolution of a head, model/decoder/panoptic_deeplab.py:253


class ViPDecoder(PanopticDecoder):
    """Panoptic-DeepLab's two branches, one for the next frame, and the depth head.

    Returns [semantic, center, offset, next_offset] at /4 and depth logits at twice that.
    """

    def __init__(
        self,
        base: int,
        low: Sequence[tuple[int, int]],
        num_classes: int,
        window: Sequence[int] | None,
    ) -> None:
        rates = RATES[32]
        super().__init__(base * 32, base, low, num_classes, rates, window)
        half = [(channels, projected // 2) for channels, projected in low]
        self.next_instance_decoder = SingleDecoder(
            base * 64, base * 4, base * 2, half, rates, window
        )
        self.next_instance_head = SingleHead(base * 2, base // 2, {"next_offset": 2})
        self.depth_head = SingleHead(base * 4, base, {"depth": 1})

    # Two frames in place of one: as a type, it is no decoder of one.
    def forward(  # type: ignore[override]
        self, features: Sequence[paddle.Tensor], next_features: Sequence[paddle.Tensor]
    ) -> list[paddle.Tensor]:
        """Return the five maps of both frames' features, which go from fine to coarse.

        The next frame's offsets are to centers of this one: they see the last features of both,
        and the others of the next.
        """
        semantic = self.semantic_decoder(features)
        panoptic = [*self.semantic_head(semantic)]
        panoptic += self.instance_head(self.instance_decoder(features))
        both = paddle.concat([features[-1], next_features[-1]], axis=1)
        moved = self.next_instance_decoder([*next_features[:-1], both])
        size = [2 * length - 1 for length in semantic.shape[2:]]
        depth = self.depth_head(resize_bilinear(semantic, size, align_corners=True))
        return [*panoptic, *self.next_instance_head(moved), *depth]


class ViPDeepLab(nn.Layer):
    """ViP-DeepLab at stride 32. Two frames [N, 6, H, W] float32, each RGB and normalised.

    Returns [semantic logits [N, num_classes, H, W], center heat map [N, 1, H, W], offset to the
    center and offset of the next frame's pixels to the centers of this one, both [N, 2, H, W] in
    pixels, y first, depth [N, 1, H, W] in metres] in both modes.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int,
        pool_window: Sequence[int] | None,
        max_depth: float,
        width: float,
    ) -> None:
        super().__init__()
        self.max_depth = max_depth
        base = first_width(width, least=4)
        self.backbone = ResNet(layers, "deep", width=width)
        low = [(base * 8, base), (base * 4, base // 2)]
        self.decoder = ViPDecoder(base, low, num_classes, pool_window)
        init_he(self)

    def forward(self, x: paddle.Tensor, next_x: paddle.Tensor | None = None) -> list[paddle.Tensor]:
        """Return the five maps of two frames, at their size.

        x: both frames, [N, 6, H, W], or this one, [N, 3, H, W], with `next_x`, the next. Raises
        UserError for other shapes.
        """
        x, next_x = two_frames(x, next_x)
        low, mid, _, high = self.backbone(x)
        next_low, next_mid, _, next_high = self.backbone(next_x)
        semantic, center, offset, moved, depth = self.decoder(
            [low, mid, high], [next_low, next_mid, next_high]
        )
        maps = [upsample(semantic, x), upsample(center, x)]
        maps += [upsample_by_axis(offset, x), upsample_by_axis(moved, x)]
        return [*maps, upsample(paddle.nn.functional.sigmoid(depth) * self.max_depth, x)]


def two_frames(
    x: paddle.Tensor, next_x: paddle.Tensor | None
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Return both frames [N, 3, H, W]; UserError where they are not two of one size, above 4x4."""
    if next_x is None and x.ndim == 4 and x.shape[1] == 6:
        x, next_x = x[:, :3], x[:, 3:]
    if next_x is None or list(next_x.shape) != list(x.shape) or x.shape[1] != 3:
        second = "nothing" if next_x is None else list(next_x.shape)
        raise UserError(
            f"ViP-DeepLab takes two frames, [N, 6, H, W] or two of [N, 3, H, W]; got "
            f"{list(x.shape)} and {second}"
        )
    if min(x.shape[2:]) < 5:
        raise UserError(f"an image of {list(x.shape[2:])}: ViP-DeepLab takes 5 by 5 at least")
    return x, next_x


def upsample_by_axis(offset: paddle.Tensor, image: paddle.Tensor) -> paddle.Tensor:
    """Return `offset` [N, 2, h, w], in cells, at the size of `image` and in its pixels.

    Each axis has a factor of its own (model/utils.py of deeplab2, resize_and_rescale_offsets).
    """
    sides = zip(image.shape[2:], offset.shape[2:], strict=True)
    y, x = ((length - 1) / (cells - 1) for length, cells in sides)
    return upsample(paddle.concat([offset[:, :1] * y, offset[:, 1:] * x], axis=1), image)


def init_he(net: nn.Layer) -> None:
    """Initialise as deeplab2 does: He, fan_in; the last convolutions N(0, 0.01), their bias 0."""
    for layer in net.sublayers():
        if isinstance(layer, nn.Conv2D):
            kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.initializer.Normal(0.0, STD)(layer.weight)
                nn.initializer.Constant(0.0)(layer.bias)


def vip_deeplab(
    layers: tuple[int, ...],
    num_classes: int = 19,
    pool_window: Sequence[int] | None = None,
    max_depth: float = MAX_DEPTH,
    bn_kept: float = KEPT,
    width: float = 1.0,
) -> ViPDeepLab:
    """Build ViP-DeepLab on the deep-stem ResNet-50 (by `layers`).

    pool_window: (height, width) of the image pooling in cells of the last map: deeplab2 has
    (17, 33) of its training crop. None: all of the map, which in training is the same.
    max_depth: metres. width: scales all channels.
    """
    net = ViPDeepLab(layers, num_classes, pool_window, max_depth, width)
    keep_statistics(net, bn_kept)
    return net
