"""Nets whose forward is one function, given: for tests of single functions."""

import paddle
import torch


class Reference(torch.nn.Module):
    """`function` of one tensor, in PyTorch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Port(paddle.nn.Layer):
    """`function` of one tensor, in Paddle."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
