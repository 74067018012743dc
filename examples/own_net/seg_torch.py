"""A small segmentation net as papers release them: the reference that is to be ported.

`python seg_torch.py` writes model.pth, which stands for the authors' checkpoint.
"""

import torch
import torch.nn.functional as F
from torch import nn


class ConvBNReLU(nn.Module):
    def __init__(self, in_chan, out_chan, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(in_chan, out_chan, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_chan, eps=1e-3)  # as in the authors' TensorFlow days

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class Attention(nn.Module):
    """Self-attention over all positions, written out."""

    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        n, length, dim = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, length, dim))


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class SegNet(nn.Module):
    """image [N, 3, H, W], H and W multiples of 8 -> {"out", "aux"}: logits [N, classes, H, W]."""

    def __init__(self, classes=5, dim=32, depth=2):
        super().__init__()
        self.stem = ConvBNReLU(3, 16, stride=2)
        self.down = ConvBNReLU(16, dim, stride=2)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Block(dim) for _ in range(depth)])
        self.fuse = ConvBNReLU(2 * dim, dim)
        self.head = nn.Conv2d(dim, classes, 1)
        self.aux_head = nn.Conv2d(16, classes, 1)

    def forward(self, image):
        fine = self.stem(image)
        mid = self.down(fine)
        x = self.pool(mid)
        n, dim, height, width = x.shape
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        x = x.transpose(1, 2).reshape(n, dim, height, width)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.head(self.fuse(torch.cat([mid, x], dim=1)))
        out = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
        aux = F.interpolate(self.aux_head(fine), scale_factor=2, mode="nearest")
        return {"out": out, "aux": aux}


def build(classes=5):
    return SegNet(classes)


def loss(outputs, label):
    main = F.cross_entropy(outputs["out"], label, ignore_index=255)
    return main + 0.4 * F.cross_entropy(outputs["aux"], label, ignore_index=255)


def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)


if __name__ == "__main__":
    torch.manual_seed(0)
    net = build().train()
    with torch.no_grad():  # statistics as after some training
        for _ in range(50):
            net(torch.randn(4, 3, 32, 32))
    torch.save({"state_dict": net.state_dict(), "epoch": 1}, "model.pth")
