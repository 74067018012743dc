"""The port of seg_torch.py, in names of its own, as a first draft: with five faults."""

import paddle
import paddle.nn.functional as F
from paddle import nn


class ConvBNReLU(nn.Layer):
    def __init__(self, in_chan, out_chan, stride=1):
        super().__init__()
        self.conv = nn.Conv2D(in_chan, out_chan, 3, stride=stride, padding=1, bias_attr=False)
        self.bn = nn.BatchNorm2D(out_chan)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Attention(nn.Layer):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        n, length, dim = x.shape
        qkv = self.qkv(x).reshape([n, length, 3, self.heads, dim // self.heads])
        q, k, v = qkv.transpose([2, 0, 3, 1, 4]).unbind(0)
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True), axis=-1)
        return self.out(paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([n, length, dim]))


class Block(nn.Layer):
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


class SegNet(nn.Layer):
    def __init__(self, classes=5, dim=32, depth=2):
        super().__init__()
        self.conv1 = ConvBNReLU(3, 16, stride=2)
        self.conv2 = ConvBNReLU(16, dim, stride=2)
        self.pool = nn.AvgPool2D(3, stride=2, padding=1)
        self.blocks = [Block(dim) for _ in range(depth)]
        self.fuse = ConvBNReLU(2 * dim, dim)
        self.classifier = nn.Conv2D(dim, classes, 1)
        self.aux_classifier = nn.Conv2D(16, classes, 1)

    def forward(self, image):
        fine = self.conv1(image)
        mid = self.conv2(fine)
        x = self.pool(mid)
        n, dim, height, width = x.shape
        x = x.flatten(2).transpose([0, 2, 1])
        for block in self.blocks:
            x = block(x)
        x = x.transpose([0, 2, 1]).reshape([n, dim, height, width])
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.classifier(self.fuse(paddle.concat([x, mid], axis=1)))
        out = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
        aux = F.interpolate(self.aux_classifier(fine), scale_factor=2, mode="nearest")
        return {"out": out, "aux": aux}


def build(classes=5):
    return SegNet(classes)


def loss(outputs, label):
    main = F.cross_entropy(outputs["out"], label, ignore_index=255, axis=1)
    return main + 0.4 * F.cross_entropy(outputs["aux"], label, ignore_index=255, axis=1)


def optimizer(parameters):
    return paddle.optimizer.Momentum(0.01, 0.9, parameters, weight_decay=1e-4)
