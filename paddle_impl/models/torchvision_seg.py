"""DeepLabV3 and FCN on ResNet as torchvision has them (models/segmentation/), at stride 8.

No multi-grid; the first block of a dilated stage keeps the previous dilation.
"""

from collections import OrderedDict

import paddle
from paddle import nn

from paddle_impl.models.aspp import TorchvisionASPP, conv_bn_relu
from paddle_impl.models.backbones.resnet import ResNet
from paddle_impl.models.heads import FCNHead, init_head, resize

RATES = (12, 24, 36)  # deeplabv3.py there
DROPOUT = 0.1  # fcn.py there


class SegmentationNet(nn.Layer):
    """A dilated ResNet, a classifier, an auxiliary classifier on stage 3, all resized.

    Image [N, 3, H, W] float32, RGB, ImageNet-normalised, any H and W. Returns a dict of logits
    [N, num_classes, H, W] in both modes: "out" and, with `aux_loss`, "aux".
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int,
        head: str,
        aux_loss: bool,
        first_dilation: str,
        width: float,
    ) -> None:
        super().__init__()
        self.backbone = ResNet(layers, "plain", 8, first_dilation, width)
        base = self.backbone.base
        if head == "deeplabv3":
            self.classifier = deeplab_head(base * 32, base * 4, num_classes)
        else:
            self.classifier = FCNHead(base * 32, base * 8, num_classes, nn.Dropout(DROPOUT))
        self.aux_classifier = None
        if aux_loss:
            self.aux_classifier = FCNHead(base * 16, base * 4, num_classes, nn.Dropout(DROPOUT))
            init_head(self.aux_classifier)
        init_head(self.classifier)

    def forward(self, x: paddle.Tensor) -> "OrderedDict[str, paddle.Tensor]":
        """Return {"out": logits, "aux": auxiliary logits} of the image `x` [N, 3, H, W]."""
        feat3, feat4 = self.backbone(x)[2:]
        result = OrderedDict()
        result["out"] = resize(self.classifier(feat4), x)
        if self.aux_classifier is not None:
            result["aux"] = resize(self.aux_classifier(feat3), x)
        return result


def deeplab_head(in_channels: int, mid_channels: int, num_classes: int) -> nn.Sequential:
    """Return pyramid pooling, a 3x3 convolution and the classifier. -> [N, num_classes, h, w]."""
    return nn.Sequential(
        TorchvisionASPP(in_channels, mid_channels, RATES),
        *conv_bn_relu(mid_channels, mid_channels, 3),
        nn.Conv2D(mid_channels, num_classes, 1),
    )


def torchvision_seg(
    layers: tuple[int, ...],
    head: str,
    num_classes: int = 21,
    aux_loss: bool = True,
    first_dilation: str = "previous",
    width: float = 1.0,
) -> SegmentationNet:
    """Build `deeplabv3_resnet*` or `fcn_resnet*` (by `head`: "deeplabv3" or "fcn")."""
    return SegmentationNet(layers, num_classes, head, aux_loss, first_dilation, width)
