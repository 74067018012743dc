"""PSPNet (Zhao et al., CVPR 2017, figure 3): dilated deep-stem ResNet and pyramid pooling.

Names are those of the authors' checkpoints (hszhao/semseg, model/pspnet.py).
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import ConfigError, UserError
from paddle_impl.layers import BatchNorm2D, resize_bilinear
from paddle_impl.models.backbones.resnet import ResNet
from paddle_impl.models.heads import FCNHead, init_head

# hszhao/semseg, model/pspnet.py.
BINS = (1, 2, 3, 6)
ZOOM_FACTORS = (1, 2, 4, 8)
DROPOUT = 0.1


class PPM(nn.Layer):
    """Pyramid pooling: averages over 1, 2x2, 3x3 and 6x6 bins. [N, C, h, w] -> [N, 2C, h, w]."""

    def __init__(self, in_dim: int, reduction_dim: int, bins: tuple[int, ...]) -> None:
        super().__init__()
        self.features = nn.LayerList([])
        for bin in bins:
            self.features.append(
                nn.Sequential(
                    nn.AdaptiveAvgPool2D(bin),
                    nn.Conv2D(in_dim, reduction_dim, 1, bias_attr=False),
                    BatchNorm2D(reduction_dim),
                    nn.ReLU(),
                )
            )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` and the resized averages, concatenated in the order of the bins."""
        size = x.shape[2:]
        pooled = [
            resize_bilinear(feature(x), size, align_corners=True) for feature in self.features
        ]
        return paddle.concat([x, *pooled], axis=1)


class PSPNet(nn.Layer):
    """PSPNet. Image [N, 3, H, W] float32, RGB, ImageNet-normalised, H and W of the form 8k + 1.

    Returns logits [N, num_classes, H, W] in eval mode, (logits, auxiliary logits) in train mode,
    as the authors' own forward feeds them to the criterion. Defaults: the released nets.

    Args:
        layers: blocks of each stage of the ResNet.
        zoom_factor: 8 for logits of the image's size, 4, 2 or 1 for (H - 1) / 8 * zoom + 1.
        first_dilation: see `ResNet`. The authors' is "same".
        aux_channels: channels inside the auxiliary head.
        align_corners: how the logits are resized. False takes any H and W.
        width: scales all channels.

    `first_dilation="previous", aux_channels=512, align_corners=False` is the net of
    yassouali/pytorch-segmentation (models/pspnet.py).

    Raises ConfigError for another zoom factor, or one but 8 without `align_corners`.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int = 19,
        zoom_factor: int = 8,
        first_dilation: str = "same",
        aux_channels: int = 256,
        align_corners: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if zoom_factor not in ZOOM_FACTORS or (zoom_factor != 8 and not align_corners):
            raise ConfigError(
                f"zoom_factor={zoom_factor} with align_corners={align_corners} is not possible; "
                f"choose one of {ZOOM_FACTORS}, without align_corners 8"
            )
        self.zoom_factor = zoom_factor
        self.align_corners = align_corners
        resnet = ResNet(layers, "deep", 8, first_dilation, width)
        base = resnet.base
        self.layer0 = deep_stem(resnet)
        self.layer1 = resnet.layer1
        self.layer2 = resnet.layer2
        self.layer3 = resnet.layer3
        self.layer4 = resnet.layer4
        self.ppm = PPM(base * 32, base * 32 // len(BINS), BINS)
        self.cls = FCNHead(base * 64, base * 8, num_classes, nn.Dropout2D(DROPOUT))
        aux_channels = aux_channels * base // 64
        self.aux = FCNHead(base * 16, aux_channels, num_classes, nn.Dropout2D(DROPOUT))
        for head in (self.ppm, self.cls, self.aux):
            init_head(head)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor | tuple[paddle.Tensor, paddle.Tensor]:
        """Return the logits of the image `x` [N, 3, H, W], in train mode with the auxiliary ones.

        Raises UserError for heights and widths that the net cannot take.
        """
        size = self.output_size(x.shape[2], x.shape[3])
        feat2 = self.layer2(self.layer1(self.layer0(x)))
        feat3 = self.layer3(feat2)
        logits = self.resize(self.cls(self.ppm(self.layer4(feat3))), size)
        if not self.training:
            return logits
        return logits, self.resize(self.aux(feat3), size)

    def output_size(self, height: int, width: int) -> list[int]:
        """Return height and width of the logits of an image of that height and width.

        Raises UserError where they are not of the form 8k + 1, with `align_corners`.
        """
        if not self.align_corners:
            return [height, width]
        if (height - 1) % 8 or (width - 1) % 8:
            raise UserError(
                f"an image of {height}x{width}: PSPNet takes heights and widths of the form "
                "8k + 1, such as 473 and 713; crop or pad it"
            )
        return [(length - 1) // 8 * self.zoom_factor + 1 for length in (height, width)]

    def resize(self, logits: paddle.Tensor, size: list[int]) -> paddle.Tensor:
        """Resize `logits` [N, C, h, w] to `size`; with zoom factor 1 they are of that size."""
        if self.zoom_factor == 1:
            return logits
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)


def deep_stem(resnet: ResNet) -> nn.Sequential:
    """Return the stem of `resnet` as the authors hold it: [N, 3, H, W] -> [N, 128, H/4, W/4]."""
    return nn.Sequential(
        resnet.conv1,
        resnet.bn1,
        resnet.relu,
        resnet.conv2,
        resnet.bn2,
        resnet.relu,
        resnet.conv3,
        resnet.bn3,
        resnet.relu,
        resnet.maxpool,
    )
