"""VGG16, plain and with BatchNorm (Simonyan and Zisserman, ICLR 2015, table 1, column D).

Names and initialisation are torchvision's (pytorch/vision, torchvision/models/vgg.py), whose
ImageNet files most people have.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.shapes import first_width
from paddle_impl.layers import BatchNorm2D, kaiming_normal_

STAGES = (2, 2, 3, 3, 3)  # convolutions a stage; a pool ends each


def make_features(
    base: int, batch_norm: bool, padding: int = 1, ceil_mode: bool = False
) -> nn.Sequential:
    """Build the convolutional part: [N, 3, H, W] -> [N, 8 * base, H / 32, W / 32].

    base: channels of the first stage. padding: that of the very first convolution. ceil_mode: a
    pool keeps the last row and column of an odd map.
    """
    layers: list[nn.Layer] = []
    in_planes = 3
    for stage, count in enumerate(STAGES):
        planes = base * min(2**stage, 8)
        for _ in range(count):
            layers.append(nn.Conv2D(in_planes, planes, 3, padding=1 if layers else padding))
            if batch_norm:
                layers.append(BatchNorm2D(planes))
            layers.append(nn.ReLU())
            in_planes = planes
        layers.append(nn.MaxPool2D(2, stride=2, ceil_mode=ceil_mode))
    return nn.Sequential(*layers)


class VGG(nn.Layer):
    """VGG16 for images [N, 3, H, W] float32, RGB, ImageNet-normalised, H and W at least 32.

    `forward` returns the logits [N, num_classes]. Other sizes than 224 are pooled to 7 x 7.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        base: int = 64,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = base * 64
        self.features = make_features(base, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2D(7)
        self.classifier = nn.Sequential(
            nn.Linear(base * 8 * 7 * 7, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        init_params(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the logits [N, num_classes] of the image `x` [N, 3, H, W]."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class ConvolutionalLinear(nn.Linear):
    """A Linear layer slid over a map: [N, in, H, W] -> [N, out, H - kernel + 1, W - kernel + 1].

    Its weight stays that of the Linear layer that takes a [in, kernel, kernel] map flattened.
    """

    def __init__(self, in_planes: int, out_planes: int, kernel: int) -> None:
        super().__init__(in_planes * kernel**2, out_planes)
        self.weight_shape = [out_planes, in_planes, kernel, kernel]

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Return the results at every place of `input` [N, in, H, W]."""
        return F.conv2d(input, self.weight.transpose([1, 0]).reshape(self.weight_shape), self.bias)


class ConvolutionalVGG(nn.Layer):
    """VGG16 with BatchNorm as FCN-8s runs it: on an image [N, 3, H, W] of any size from 1x1.

    As in FCN the first convolution pads by 100 and the pools keep odd rows and columns. All names
    and shapes are those of `VGG`, so that ImageNet files fill it: `classifier.6`, the 1000
    classes, is in every file and in no forward.
    """

    def __init__(self, base: int = 64) -> None:
        super().__init__()
        hidden = base * 64
        self.features = make_features(base, batch_norm=True, padding=100, ceil_mode=True)
        self.classifier = nn.Sequential(
            ConvolutionalLinear(base * 8, hidden, 7),
            nn.ReLU(),
            nn.Dropout2D(0.5),
            ConvolutionalLinear(hidden, hidden, 1),
            nn.ReLU(),
            nn.Dropout2D(0.5),
            nn.Linear(hidden, 1000),
        )
        init_params(self)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        """Return (pool3 [N, 4 * base, h, w], pool4, fc7 [N, hidden, h', w']) of the image `x`."""
        pools = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2D):
                pools.append(x)
        for layer in list(self.classifier)[:6]:
            x = layer(x)
        return pools[2], pools[3], x


def init_params(net: nn.Layer) -> None:
    """Initialise `net` as torchvision does: He (fan_out), N(0, 0.01) for Linear, biases 0."""
    for layer in net.sublayers():
        if isinstance(layer, nn.Conv2D):
            kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.Linear):
            nn.initializer.Normal(0.0, 0.01)(layer.weight)
    for name, parameter in net.named_parameters():
        if name.endswith(".bias"):
            nn.initializer.Constant(0.0)(parameter)


def vgg16(
    num_classes: int = 1000, width: float = 1.0, batch_norm: bool = False, dropout: float = 0.5
) -> VGG:
    """Build VGG16 as an ImageNet classifier; `width` scales all channels."""
    return VGG(num_classes, first_width(width), batch_norm=batch_norm, dropout=dropout)
