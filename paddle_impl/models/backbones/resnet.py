"""ResNet (He et al., CVPR 2016, table 1), plain or deep stem, with dilated stages if asked for.

Names are those of torchvision (models/resnet.py); with the deep stem those of hszhao/semseg
(model/resnet.py). The stride of a block stands on its 3x3 convolution.
"""

import math
from collections.abc import Callable

import paddle
from paddle import nn

from common.errors import ConfigError
from common.shapes import first_width
from paddle_impl.layers import BatchNorm2D, kaiming_normal_

EXPANSION = 4
STEMS = ("plain", "deep")
FIRST_DILATIONS = ("same", "previous")

Norm = Callable[[int], nn.Layer]  # makes what follows a convolution of so many channels


class Bottleneck(nn.Layer):
    """1x1, 3x3, 1x1 convolutions and a shortcut. [N, in, H, W] -> [N, 4 planes, H / s, W / s]."""

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int,
        dilation: int,
        norm: Norm = BatchNorm2D,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        outplanes = planes * EXPANSION
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2D(inplanes, planes, 1, stride=first, bias_attr=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2D(
            planes, planes, 3, stride=second, padding=dilation, dilation=dilation, bias_attr=False
        )
        self.bn2 = norm(planes)
        self.conv3 = nn.Conv2D(planes, outplanes, 1, bias_attr=False)
        self.bn3 = norm(outplanes)
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or inplanes != outplanes:
            self.downsample = nn.Sequential(
                nn.Conv2D(inplanes, outplanes, 1, stride=stride, bias_attr=False),
                norm(outplanes),
            )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + shortcut)


class ResNet(nn.Layer):
    """ResNet without its classifier. Image [N, 3, H, W] float32, RGB, ImageNet-normalised.

    Returns the outputs of the four stages, [N, 256, H/4, W/4] to [N, 2048, H/s, W/s] with
    s = `output_stride`.

    Args:
        layers: blocks of each stage, (3, 4, 6, 3) or (3, 4, 23, 3).
        stem: "plain", one 7x7 convolution, or "deep", three 3x3 ones.
        output_stride: 32, or 16 or 8: later stages are dilated instead of strided.
        first_dilation: dilation of a dilated stage's first block: the "same" as the others'
            (semseg) or that of the "previous" stage (torchvision). No tensor tells which.
        width: scales all channels; 1.0 is the paper's.
        norm: makes the normalisations.
        stride_in_1x1: of a strided block, as the authors' own ResNet, instead of in the 3x3.

    Raises ConfigError for an unknown stem, stride or dilation, or a width that leaves nothing.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        stem: str = "plain",
        output_stride: int = 32,
        first_dilation: str = "same",
        width: float = 1.0,
        norm: Norm = BatchNorm2D,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise ConfigError(f"stem={stem!r} is not known; choose one of {STEMS}")
        base = first_width(width)
        self.base = base
        self.deep = stem == "deep"
        if self.deep:
            self.conv1 = nn.Conv2D(3, base, 3, stride=2, padding=1, bias_attr=False)
            self.bn1 = norm(base)
            self.conv2 = nn.Conv2D(base, base, 3, padding=1, bias_attr=False)
            self.bn2 = norm(base)
            self.conv3 = nn.Conv2D(base, base * 2, 3, padding=1, bias_attr=False)
            self.bn3 = norm(base * 2)
        else:
            self.conv1 = nn.Conv2D(3, base, 7, stride=2, padding=3, bias_attr=False)
            self.bn1 = norm(base)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2D(3, stride=2, padding=1)
        steps = stage_steps(output_stride, first_dilation)
        inplanes = base * 2 if self.deep else base
        kind = (norm, stride_in_1x1)
        self.layer1 = make_stage(inplanes, base, layers[0], *steps[0], *kind)
        self.layer2 = make_stage(base * 4, base * 2, layers[1], *steps[1], *kind)
        self.layer3 = make_stage(base * 8, base * 4, layers[2], *steps[2], *kind)
        self.layer4 = make_stage(base * 16, base * 8, layers[3], *steps[3], *kind)
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise the convolutions as the authors do: He, fan_out."""
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D):
                kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        """Return the outputs of the stages 1 to 4 for the image `x` [N, 3, H, W]."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.deep:
            x = self.relu(self.bn2(self.conv2(x)))
            x = self.relu(self.bn3(self.conv3(x)))
        feat1 = self.layer1(self.maxpool(x))
        feat2 = self.layer2(feat1)
        feat3 = self.layer3(feat2)
        return feat1, feat2, feat3, self.layer4(feat3)


class ResNetClassifier(ResNet):
    """ResNet with global average pooling and a linear layer: logits [N, num_classes].

    semseg's own pools 7x7 maps only (images of 224x224), where this is the same.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int = 1000,
        stem: str = "plain",
        width: float = 1.0,
    ) -> None:
        super().__init__(layers, stem=stem, width=width)
        self.avgpool = nn.AdaptiveAvgPool2D(1)
        self.fc = nn.Linear(self.base * 8 * EXPANSION, num_classes)
        self.init_fc()

    def init_fc(self) -> None:
        """Initialise the linear layer as torch does by default."""
        bound = 1 / math.sqrt(self.base * 8 * EXPANSION)
        nn.initializer.Uniform(-bound, bound)(self.fc.weight)
        nn.initializer.Uniform(-bound, bound)(self.fc.bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits [N, num_classes] of the image `x` [N, 3, H, W]."""
        return self.fc(self.avgpool(super().forward(x)[-1]).flatten(1))


def stage_steps(output_stride: int, first_dilation: str) -> list[tuple[int, int, int]]:
    """Return (stride, dilation, dilation of the first block) of each of the four stages.

    Raises ConfigError for what is not in the lists of `ResNet`.
    """
    if output_stride not in (8, 16, 32):
        raise ConfigError(f"output_stride={output_stride} is not possible; choose 8, 16 or 32")
    if first_dilation not in FIRST_DILATIONS:
        raise ConfigError(
            f"first_dilation={first_dilation!r} is not known; choose one of {FIRST_DILATIONS}"
        )
    steps, reached, dilation = [], 4, 1
    for stride in (1, 2, 2, 2):
        previous = dilation
        if reached * stride > output_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        steps.append((stride, dilation, dilation if first_dilation == "same" else previous))
    return steps


def make_stage(
    inplanes: int,
    planes: int,
    blocks: int,
    stride: int,
    dilation: int,
    first_dilation: int,
    norm: Norm = BatchNorm2D,
    stride_in_1x1: bool = False,
) -> nn.Sequential:
    """Return a stage: [N, inplanes, H, W] -> [N, 4 planes, H / stride, W / stride]."""
    kind = (norm, stride_in_1x1)
    first = Bottleneck(inplanes, planes, stride, first_dilation, *kind)
    rest = [Bottleneck(planes * EXPANSION, planes, 1, dilation, *kind) for _ in range(1, blocks)]
    return nn.Sequential(first, *rest)


def resnet(
    layers: tuple[int, ...], num_classes: int = 1000, stem: str = "plain", width: float = 1.0
) -> ResNetClassifier:
    """Build ResNet-50 or ResNet-101 (by `layers`) as an ImageNet classifier."""
    return ResNetClassifier(layers, num_classes=num_classes, stem=stem, width=width)
