"""STDC, the Short-Term Dense Concatenate network (Fan et al., CVPR 2021, section 3.1, table 1).

Names are those of the authors' checkpoints (MichaelFan01/STDC-Seg, models/stdcnet.py).
"""

import torch
from torch import nn

from torch_ref.layers import BatchNorm2d, kaiming_normal_


class ConvX(nn.Module):
    """Convolution without bias, BatchNorm, ReLU. [N, in, H, W] -> [N, out, H / s, W / s]."""

    def __init__(self, in_planes: int, out_planes: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_planes, out_planes, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.bn = BatchNorm2d(out_planes)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(bn(conv(x)))."""
        return self.relu(self.bn(self.conv(x)))


class CatBottleneck(nn.Module):
    """The STDC module: block k halves the width of block k - 1, all outputs are concatenated.

    [N, in, H, W] -> [N, out, H / s, W / s]; with stride 2 the first block's output is pooled and
    goes on through a depthwise convolution (paper, figure 3 b and c).
    """

    def __init__(
        self, in_planes: int, out_planes: int, block_num: int = 4, stride: int = 1
    ) -> None:
        super().__init__()
        self.stride = stride
        self.conv_list = nn.ModuleList([ConvX(in_planes, out_planes // 2, kernel=1)])
        for index in range(1, block_num):
            last = index == block_num - 1
            width = out_planes // 2**index
            self.conv_list.append(ConvX(width, width if last else width // 2))
        if stride == 2:
            half = out_planes // 2
            self.avd_layer = nn.Sequential(
                nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False),
                BatchNorm2d(half),
            )
            # torch's default counts the padding, Paddle's does not.
            self.skip = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the concatenation of all blocks along the channels."""
        first = self.conv_list[0](x)
        out = self.avd_layer(first) if self.stride == 2 else first
        outputs = [self.skip(first) if self.stride == 2 else first]
        for block in self.conv_list[1:]:
            out = block(out)
            outputs.append(out)
        return torch.cat(outputs, dim=1)


class STDCNet(nn.Module):
    """STDC1 with `layers=(2, 2, 2)`, STDC2 with `layers=(4, 5, 3)`, classification head included.

    `forward` returns the feature maps of strides 2, 4, 8, 16, 32 with 32, 64, 256, 512, 1024
    channels for an image [N, 3, H, W] float32, RGB, ImageNet-normalised; `classify` the logits.
    """

    def __init__(
        self,
        layers: tuple[int, ...] = (2, 2, 2),
        base: int = 64,
        num_classes: int = 1000,
        dropout: float = 0.20,
        use_conv_last: bool = False,
    ) -> None:
        super().__init__()
        width = max(1024, base * 16)
        self.use_conv_last = use_conv_last
        self.stage_ends = (0, 1, *(1 + sum(layers[: stage + 1]) for stage in range(len(layers))))
        self.features = self._make_features(base, layers)
        self.conv_last = ConvX(base * 16, width, kernel=1)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, width, bias=False)
        # In every checkpoint, in no forward: the authors commented its use out.
        self.bn = nn.BatchNorm1d(width)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, num_classes, bias=False)
        self._alias_stages()
        self.init_params()

    def _make_features(self, base: int, layers: tuple[int, ...]) -> nn.Sequential:
        features: list[nn.Module] = [
            ConvX(3, base // 2, stride=2),
            ConvX(base // 2, base, stride=2),
        ]
        in_planes = base
        for stage, count in enumerate(layers):
            out_planes = base * 2 ** (stage + 2)
            for index in range(count):
                stride = 2 if index == 0 else 1
                features.append(CatBottleneck(in_planes, out_planes, stride=stride))
                in_planes = out_planes
        return nn.Sequential(*features)

    def _alias_stages(self) -> None:
        """Register each stage a second time, as the authors do: their files hold both names."""
        start = 0
        for stride, end in zip(("x2", "x4", "x8", "x16", "x32"), self.stage_ends, strict=True):
            setattr(self, stride, nn.Sequential(self.features[start : end + 1]))
            start = end + 1

    def init_params(self) -> None:
        """Initialise as the authors do: He (fan_out) for convolutions, N(0, 0.001) for Linear."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                kaiming_normal_(layer.weight, mode="fan_out")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.001)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (feat2, feat4, feat8, feat16, feat32) of the image `x` [N, 3, H, W]."""
        outputs = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.stage_ends:
                outputs.append(x)
        if self.use_conv_last:
            outputs[-1] = self.conv_last(outputs[-1])
        return tuple(outputs)

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, num_classes] of the image `x` [N, 3, H, W]."""
        out = self.conv_last(self.features(x)).pow(2)
        out = self.fc(self.gap(out).flatten(1))
        return self.linear(self.dropout(self.relu(out)))


class STDCClassifier(STDCNet):
    """STDCNet as a classification net: `forward` returns the logits [N, num_classes]."""

    # Logits in place of feature maps: as a type, no classifier is a backbone.
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return the logits [N, num_classes] of the image `x` [N, 3, H, W]."""
        return self.classify(x)


def stdc_cls(
    layers: tuple[int, ...], num_classes: int = 1000, dropout: float = 0.20
) -> STDCClassifier:
    """Build STDC1 or STDC2 (by `layers`) as an ImageNet classifier."""
    return STDCClassifier(layers=layers, num_classes=num_classes, dropout=dropout)
