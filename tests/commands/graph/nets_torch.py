"""A net of tests, and what a converter would have written of it."""

from torch import nn


class Small(nn.Module):
    def __init__(self, rate=0.0):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 4)
        self.drop = nn.Dropout(rate)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        return self.drop(self.fc(x.mean((2, 3))))


class WithTrainHead(Small):
    """Runs another BatchNorm in train mode, of which nothing is made: or eval mode reads it."""

    def __init__(self, read=False):
        super().__init__()
        self.head, self.read = nn.BatchNorm2d(2), read

    def forward(self, x):
        if self.training:
            self.head(x)
        out = super().forward(x)
        return out + 0 * self.head.running_mean.sum() if self.read else out


CODE = """import paddle
import math

class Small(paddle.nn.Layer):
    def __init__(self):
        super(Small, self).__init__()
        self.conv2d0 = paddle.nn.Conv2D(padding=1, out_channels=3, kernel_size=(3, 3), in_channels=2)
        self.batchnorm0 = paddle.nn.BatchNorm(is_test=True, num_channels=3, momentum=0.1)
        self.relu0 = paddle.nn.ReLU()
        self.linear0 = paddle.nn.Linear(in_features=3, out_features=4)
        self.x9 = self.create_parameter(dtype='float32', shape=(1,), default_initializer=paddle.nn.initializer.Constant(value=0.0))

    def forward(self, x0):
        x1 = self.relu0(self.batchnorm0(self.conv2d0(x0)))
        x2 = paddle.mean(x=x1, axis=[2, 3])
        x9 = self.x9
        return paddle.add(x=self.linear0(x2), y=x9)

def main(x0):
    params = paddle.load(r'/tmp/gone/model.pdparams')
"""  # noqa: E501 - as long as such lines are
NAMES = {
    "conv.weight": "conv2d0.weight", "conv.bias": "conv2d0.bias",
    "norm.weight": "batchnorm0.weight",
    "norm.bias": "batchnorm0.bias", "norm.running_mean": "batchnorm0._mean",
    "norm.running_var": "batchnorm0._variance", "fc.weight": "linear0.weight",
    "fc.bias": "linear0.bias",
}  # fmt: skip
