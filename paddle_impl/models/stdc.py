"""STDC-Seg (Fan et al., CVPR 2021, figure 4): STDC backbone, BiSeNet heads, detail guidance.

Names are those of the authors' checkpoints (MichaelFan01/STDC-Seg, models/model_stages.py).
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import UserError
from paddle_impl.layers import BatchNorm2D, head_norm_class, kaiming_normal_
from paddle_impl.models.backbones.stdc import STDCNet

# (use_boundary_2, use_boundary_4, use_boundary_8) -> detail heads returned, in this order. The
# authors' forward returns None for every other combination (model_stages.py, BiSeNet.forward).
DETAIL_HEADS: dict[tuple[bool, bool, bool], tuple[str, ...]] = {
    (False, False, False): (),
    (False, False, True): ("conv_out_sp8",),
    (False, True, True): ("conv_out_sp4", "conv_out_sp8"),
    (True, True, True): ("conv_out_sp2", "conv_out_sp4", "conv_out_sp8"),
}


class ConvBNReLU(nn.Layer):
    """Convolution without bias, head BatchNorm, ReLU. [N, in, H, W] -> [N, out, H / s, W / s]."""

    def __init__(
        self,
        in_chan: int,
        out_chan: int,
        norm: type[BatchNorm2D],
        ks: int = 3,
        stride: int = 1,
        padding: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            in_chan, out_chan, ks, stride=stride, padding=padding, bias_attr=False
        )
        self.bn = norm(out_chan)
        self.relu = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(bn(conv(x)))."""
        return self.relu(self.bn(self.conv(x)))


class BiSeNetOutput(nn.Layer):
    """Head: 3x3 ConvBNReLU, 1x1 convolution. [N, in, h, w] -> logits [N, n_classes, h, w]."""

    def __init__(
        self, in_chan: int, mid_chan: int, n_classes: int, norm: type[BatchNorm2D]
    ) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_chan, mid_chan, norm)
        self.conv_out = nn.Conv2D(mid_chan, n_classes, 1, bias_attr=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits at the resolution of `x`."""
        return self.conv_out(self.conv(x))


class AttentionRefinementModule(nn.Layer):
    """Weights the channels by a gate from global pooling. [N, in, h, w] -> [N, out, h, w]."""

    def __init__(self, in_chan: int, out_chan: int, norm: type[BatchNorm2D]) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_chan, out_chan, norm)
        self.conv_atten = nn.Conv2D(out_chan, out_chan, 1, bias_attr=False)
        self.bn_atten = norm(out_chan)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return feat * sigmoid(bn(conv(mean(feat))))."""
        feat = self.conv(x)
        atten = F.avg_pool2d(feat, feat.shape[2:])
        atten = F.sigmoid(self.bn_atten(self.conv_atten(atten)))
        return feat * atten


class ContextPath(nn.Layer):
    """Backbone and top-down context: features at strides 2 to 16 and context at 8 and 16."""

    def __init__(
        self, layers: tuple[int, ...], norm: type[BatchNorm2D], use_conv_last: bool = False
    ) -> None:
        super().__init__()
        self.backbone = STDCNet(layers, use_conv_last=use_conv_last)
        self.arm16 = AttentionRefinementModule(512, 128, norm)
        self.arm32 = AttentionRefinementModule(1024, 128, norm)
        self.conv_head32 = ConvBNReLU(128, 128, norm)
        self.conv_head16 = ConvBNReLU(128, 128, norm)
        self.conv_avg = ConvBNReLU(1024, 128, norm, ks=1, padding=0)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        """Return (feat2, feat4, feat8, feat16, context8 [N, 128, H/8, W/8], context16)."""
        feat2, feat4, feat8, feat16, feat32 = self.backbone(x)
        avg = self.conv_avg(F.avg_pool2d(feat32, feat32.shape[2:]))
        avg_up = F.interpolate(avg, feat32.shape[2:], mode="nearest")

        feat32_up = F.interpolate(self.arm32(feat32) + avg_up, feat16.shape[2:], mode="nearest")
        feat32_up = self.conv_head32(feat32_up)

        feat16_up = F.interpolate(self.arm16(feat16) + feat32_up, feat8.shape[2:], mode="nearest")
        feat16_up = self.conv_head16(feat16_up)
        return feat2, feat4, feat8, feat16, feat16_up, feat32_up


class FeatureFusionModule(nn.Layer):
    """Fuses spatial and context features by a gated residual. -> [N, out_chan, h, w]."""

    def __init__(self, in_chan: int, out_chan: int, norm: type[BatchNorm2D]) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(in_chan, out_chan, norm, ks=1, padding=0)
        self.conv1 = nn.Conv2D(out_chan, out_chan // 4, 1, bias_attr=False)
        self.conv2 = nn.Conv2D(out_chan // 4, out_chan, 1, bias_attr=False)
        self.relu = nn.ReLU()

    def forward(self, fsp: paddle.Tensor, fcp: paddle.Tensor) -> paddle.Tensor:
        """Return feat * gate + feat for feat = convblk(cat(fsp, fcp))."""
        feat = self.convblk(paddle.concat([fsp, fcp], axis=1))
        atten = F.avg_pool2d(feat, feat.shape[2:])
        atten = F.sigmoid(self.conv2(self.relu(self.conv1(atten))))
        return feat * atten + feat


class BiSeNet(nn.Layer):
    """STDC-Seg. Image [N, 3, H, W] float32, RGB, ImageNet-normalised, any H and W.

    Returns (out, out16, out32, detail...): class logits [N, num_classes, H, W] of the main head
    and of the two auxiliary heads, then the enabled detail heads' logits [N, 1, H/s, W/s] from
    stride 2 to 8, not resized. `conv_out16` works at stride 8 and `conv_out32` at stride 16: the
    names are the authors'. Defaults: the released nets.
    """

    def __init__(
        self,
        layers: tuple[int, ...] = (2, 2, 2),
        num_classes: int = 19,
        use_boundary_2: bool = False,
        use_boundary_4: bool = False,
        use_boundary_8: bool = True,
        use_conv_last: bool = False,
        head_norm: str = "inplace_abn",
    ) -> None:
        super().__init__()
        norm = head_norm_class(head_norm)
        self.head_norm = head_norm
        self.detail_heads = _detail_heads(use_boundary_2, use_boundary_4, use_boundary_8)
        self.cp = ContextPath(layers, norm, use_conv_last=use_conv_last)
        self.ffm = FeatureFusionModule(256 + 128, 256, norm)
        self.conv_out = BiSeNetOutput(256, 256, num_classes, norm)
        self.conv_out16 = BiSeNetOutput(128, 64, num_classes, norm)
        self.conv_out32 = BiSeNetOutput(128, 64, num_classes, norm)
        self.conv_out_sp16 = BiSeNetOutput(512, 64, 1, norm)
        self.conv_out_sp8 = BiSeNetOutput(256, 64, 1, norm)
        self.conv_out_sp4 = BiSeNetOutput(64, 64, 1, norm)
        self.conv_out_sp2 = BiSeNetOutput(32, 64, 1, norm)
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise the convolutions outside the backbone as the authors do: He with a = 1."""
        for name, layer in self.named_sublayers():
            if isinstance(layer, nn.Conv2D) and not name.startswith("cp.backbone."):
                kaiming_normal_(layer.weight, a=1)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        """Return (out, out16, out32, detail...) of the image `x` [N, 3, H, W]."""
        feat2, feat4, feat8, feat16, context8, context16 = self.cp(x)
        fused = self.ffm(feat8, context8)
        logits = [self.conv_out(fused), self.conv_out16(context8), self.conv_out32(context16)]
        detail = {
            "conv_out_sp2": feat2,
            "conv_out_sp4": feat4,
            "conv_out_sp8": feat8,
            "conv_out_sp16": feat16,
        }
        # The authors run all four heads always. A head that is not returned matters in train
        # mode only: its BatchNorm statistics are saved.
        run = [name for name in detail if self.training or name in self.detail_heads]
        details = {name: getattr(self, name)(detail[name]) for name in run}
        resized = [
            F.interpolate(out, x.shape[2:], mode="bilinear", align_corners=True) for out in logits
        ]
        return (*resized, *(details[name] for name in self.detail_heads))


def _detail_heads(*flags: bool) -> tuple[str, ...]:
    key = (bool(flags[0]), bool(flags[1]), bool(flags[2]))
    if key not in DETAIL_HEADS:
        raise UserError(
            f"(use_boundary_2, use_boundary_4, use_boundary_8) = {key}: the authors' forward "
            f"returns nothing for it; supported are {', '.join(map(str, DETAIL_HEADS))}"
        )
    return DETAIL_HEADS[key]
