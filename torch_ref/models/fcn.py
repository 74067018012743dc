"""FCN-32s, 16s and 8s (Long, Shelhamer and Darrell, CVPR 2015, section 4) on VGG16.

Names are those of wkentaro/pytorch-fcn (torchfcn/models/fcn{32s,16s,8s}.py), whose files hold the
authors' Caffe weights. `FCN8sVGG16BN` is the same decoder on torchvision's VGG16 with BatchNorm.
"""

import torch
from torch import nn

from common.shapes import bilinear_kernel, first_width
from torch_ref.layers import kaiming_normal_
from torch_ref.models.backbones.vgg import STAGES, ConvolutionalVGG


class FCN(nn.Module):
    """What all FCNs share: VGG16 as convolutions, `score_fr`, the initialisation.

    The first convolution pads by 100, so that a 7x7 convolution fits behind five pools whatever
    the size of the image; the nets cut what is too much off their output again.
    """

    def __init__(self, num_classes: int = 21, base: int = 64) -> None:
        super().__init__()
        self.add_trunk(base)
        self.score_fr = nn.Conv2d(base * 64, num_classes, 1)

    def add_trunk(self, base: int) -> None:
        """Add the layers `conv1_1` to `drop7`; `base` are the channels of the first stage."""
        in_planes = 3
        for stage, count in enumerate(STAGES, start=1):
            planes = base * min(2 ** (stage - 1), 8)
            for index in range(1, count + 1):
                padding = 100 if stage == index == 1 else 1
                conv = nn.Conv2d(in_planes, planes, 3, padding=padding)
                setattr(self, f"conv{stage}_{index}", conv)
                setattr(self, f"relu{stage}_{index}", nn.ReLU())
                in_planes = planes
            setattr(self, f"pool{stage}", nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self.fc6 = nn.Conv2d(in_planes, base * 64, 7)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout2d(0.5)
        self.fc7 = nn.Conv2d(base * 64, base * 64, 1)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout2d(0.5)

    def trunk(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (pool3 [N, 4 * base, h, w], pool4, fc7 [N, 64 * base, h', w']) of the image `x`.

        Maps of strides 8, 16 and 32, larger than the image by their share of the padding.
        """
        pools = []
        for stage in range(1, len(STAGES) + 1):
            for index in range(1, STAGES[stage - 1] + 1):
                x = getattr(self, f"conv{stage}_{index}")(x)
                x = getattr(self, f"relu{stage}_{index}")(x)
            x = getattr(self, f"pool{stage}")(x)
            pools.append(x)
        x = self.drop6(self.relu6(self.fc6(x)))
        x = self.drop7(self.relu7(self.fc7(x)))
        return pools[2], pools[3], x

    def init_weight(self, from_scratch: bool) -> None:
        """Initialise as wkentaro does: convolutions 0, transposed convolutions bilinear.

        Zero waits to be overwritten: by VGG16's weights for FCN-32s, by those of the coarser net
        for the finer ones; nothing is learnt from it. from_scratch: He for all but the scores.
        """
        for name, layer in self.named_children():
            if isinstance(layer, nn.Conv2d):
                for parameter in layer.parameters():
                    nn.init.constant_(parameter, 0.0)
                if from_scratch and not name.startswith("score"):
                    kaiming_normal_(layer.weight)
            elif isinstance(layer, nn.ConvTranspose2d):
                kernel = bilinear_kernel(layer.weight.shape[0], layer.weight.shape[2])
                layer.weight.data.copy_(torch.from_numpy(kernel))


class FCN32s(FCN):
    """FCN-32s. Image [N, 3, H, W] float32, BGR, 0..255 minus the mean, any size from 1x1.

    Returns logits [N, num_classes, H, W]. In the authors' recipe `upscore` stays bilinear.
    """

    def __init__(self, num_classes: int = 21, base: int = 64, from_scratch: bool = False) -> None:
        super().__init__(num_classes, base)
        self.upscore = nn.ConvTranspose2d(num_classes, num_classes, 64, stride=32, bias=False)
        self.init_weight(from_scratch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, num_classes, H, W] of the image `x` [N, 3, H, W]."""
        _, _, fc7 = self.trunk(x)
        return crop(self.upscore(self.score_fr(fc7)), 19, x)


class FCN16s(FCN):
    """FCN-16s: FCN-32s with the scores of pool4 added. Input and output as `FCN32s`."""

    def __init__(self, num_classes: int = 21, base: int = 64, from_scratch: bool = False) -> None:
        super().__init__(num_classes, base)
        self.score_pool4 = nn.Conv2d(base * 8, num_classes, 1)
        self.upscore2 = nn.ConvTranspose2d(num_classes, num_classes, 4, stride=2, bias=False)
        self.upscore16 = nn.ConvTranspose2d(num_classes, num_classes, 32, stride=16, bias=False)
        self.init_weight(from_scratch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, num_classes, H, W] of the image `x` [N, 3, H, W]."""
        _, pool4, fc7 = self.trunk(x)
        upscore2 = self.upscore2(self.score_fr(fc7))
        score_pool4 = crop(self.score_pool4(pool4), 5, upscore2)
        return crop(self.upscore16(upscore2 + score_pool4), 27, x)


class FCN8s(FCN):
    """FCN-8s: FCN-16s with the scores of pool3 added. Input and output as `FCN32s`.

    at_once: the variant that is trained in one stage (Shelhamer, Long and Darrell, PAMI 2017):
    pool4 and pool3 are scaled by 0.01 and 0.0001 in front of their scores. The keys are the same,
    so nothing but the name of the file tells.
    """

    def __init__(
        self,
        num_classes: int = 21,
        base: int = 64,
        from_scratch: bool = False,
        at_once: bool = False,
    ) -> None:
        super().__init__(num_classes, base)
        self.at_once = at_once
        self.score_pool3 = nn.Conv2d(base * 4, num_classes, 1)
        self.score_pool4 = nn.Conv2d(base * 8, num_classes, 1)
        self.upscore2 = nn.ConvTranspose2d(num_classes, num_classes, 4, stride=2, bias=False)
        self.upscore8 = nn.ConvTranspose2d(num_classes, num_classes, 16, stride=8, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(num_classes, num_classes, 4, stride=2, bias=False)
        self.init_weight(from_scratch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, num_classes, H, W] of the image `x` [N, 3, H, W]."""
        pool3, pool4, fc7 = self.trunk(x)
        if self.at_once:
            pool3, pool4 = pool3 * 0.0001, pool4 * 0.01
        upscore2 = self.upscore2(self.score_fr(fc7))
        score_pool4 = crop(self.score_pool4(pool4), 5, upscore2)
        upscore_pool4 = self.upscore_pool4(upscore2 + score_pool4)
        score_pool3 = crop(self.score_pool3(pool3), 9, upscore_pool4)
        return crop(self.upscore8(upscore_pool4 + score_pool3), 31, x)


class FCN8sVGG16BN(FCN8s):
    """FCN-8s on VGG16 with BatchNorm. Image RGB and ImageNet-normalised.

    `backbone` has torchvision's names and shapes, so that ImageNet files fill it; the rest is named
    as in `FCN8s`.
    """

    def add_trunk(self, base: int) -> None:
        """Add the backbone, initialised as torchvision does."""
        self.backbone = ConvolutionalVGG(base)

    def trunk(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (pool3, pool4, fc7) of the image `x` [N, 3, H, W]."""
        return self.backbone(x)


def crop(x: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    """Cut the size of `like` [N, _, h, w] out of `x` [N, C, H, W], from (offset, offset) on."""
    height, width = like.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]


def fcn32s(num_classes: int = 21, width: float = 1.0, from_scratch: bool = False) -> FCN32s:
    """Build FCN-32s; `width` scales all channels but the classes'."""
    return FCN32s(num_classes, first_width(width), from_scratch)


def fcn16s(num_classes: int = 21, width: float = 1.0, from_scratch: bool = False) -> FCN16s:
    """Build FCN-16s; `width` scales all channels but the classes'."""
    return FCN16s(num_classes, first_width(width), from_scratch)


def fcn8s(
    num_classes: int = 21,
    width: float = 1.0,
    from_scratch: bool = False,
    at_once: bool = False,
) -> FCN8s:
    """Build FCN-8s; `width` scales all channels but the classes'."""
    return FCN8s(num_classes, first_width(width), from_scratch, at_once)


def fcn8s_vgg16bn(num_classes: int = 21, width: float = 1.0, at_once: bool = False) -> FCN8sVGG16BN:
    """Build FCN-8s on VGG16-BN; `width` scales all channels but the classes'."""
    return FCN8sVGG16BN(num_classes, first_width(width), at_once=at_once)
