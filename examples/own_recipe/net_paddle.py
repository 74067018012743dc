import paddle
import paddle.nn.functional as F
from paddle import nn


class Net(nn.Layer):
    def __init__(self, classes=3, width=8):
        super().__init__()
        first, last = as_torch(3 * 3 * 3), as_torch(width)
        self.stem = nn.Conv2D(3, width, 3, stride=2, padding=1, weight_attr=first, bias_attr=False)
        self.bn = nn.BatchNorm2D(width)
        self.head = nn.Conv2D(width, classes, 1, weight_attr=last, bias_attr=last)

    def forward(self, image):
        x = F.relu(self.bn(self.stem(image)))
        return F.interpolate(self.head(x), scale_factor=2, mode="bilinear", align_corners=False)


def build(classes=3):
    return Net(classes)


def as_torch(fan_in):
    """First weights and biases of torch's convolutions: uniform within 1 / sqrt(fan_in)."""
    return nn.initializer.Uniform(-(fan_in**-0.5), fan_in**-0.5)


def loss(outputs, label):
    return F.cross_entropy(outputs, label, ignore_index=255, axis=1)


def optimizer(parameters, lr=0.05):
    return paddle.optimizer.Momentum(lr, 0.9, parameters, weight_decay=1e-4)


def schedule(gamma=0.9, lr=0.05):
    return paddle.optimizer.lr.ExponentialDecay(lr, gamma)


class Accuracy:
    def __init__(self):
        self.right, self.all = 0, 0

    def update(self, prediction, label):
        kept = label != 255
        self.right += int((prediction == label).logical_and(kept).astype("int64").sum())
        self.all += int(kept.astype("int64").sum())

    def accumulate(self):
        return self.right / max(self.all, 1)
