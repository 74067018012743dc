import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        x = F.relu(self.bn(self.stem(image)))
        return F.interpolate(self.head(x), scale_factor=2, mode="bilinear", align_corners=False)


def build(classes=3):
    return Net(classes)


def loss(outputs, label):
    return F.cross_entropy(outputs, label, ignore_index=255)


def optimizer(parameters, lr=0.05):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=1e-4)


def schedule(optimizer, gamma=0.9):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)


class Accuracy:
    def __init__(self):
        self.right, self.all = 0, 0

    def update(self, prediction, label):
        kept = label != 255
        self.right += int((prediction == label)[kept].sum())
        self.all += int(kept.sum())

    def compute(self):
        return self.right / max(self.all, 1)
