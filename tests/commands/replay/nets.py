"""Nets and criteria with one fault each, the same text in both frameworks."""

import inspect


def line_of(function, words):
    """Return "nets.py:<line>, in <function>" of the line of `function` that holds `words`."""
    lines, first = inspect.getsourcelines(function)
    (place,) = [n for n, line in enumerate(lines) if words in line]
    return f"nets.py:{first + place}, in {function.__name__}"


def framework(side):
    """Return (framework, base class of its modules)."""
    module = __import__(side)
    return module, module.nn.Module if side == "torch" else module.nn.Layer


def build(side, fault=""):
    """Return (net, {name: a function of it}) of two layers in a block, whose code has `fault`."""
    fw, base = framework(side)

    class Scale(base):
        def forward(self, x):
            y = fw.log(x - 100) if fault == "layer" else x
            return y * 2

    class Block(base):
        def __init__(self):
            super().__init__()
            self.first = fw.nn.Linear(3, 4)
            self.scale = Scale()
            self.second = fw.nn.Linear(4, 2)

        def forward(self, x):
            y = self.scale(self.first(x))
            if fault == "glue":
                y = y / (y - y)
            if fault == "nested":
                return self.second(fw.log(y - 100))
            if fault == "backward":
                y = y + fw.sqrt(y * 0)
            if fault == "statistic":
                y = self.statistic(y)
            if fault == "mask":
                y = y + self.masked(y)
            return self.second(y)

        def statistic(self, y):
            with fw.no_grad():
                variance = (y * 1e30).var()
            return y + fw.nn.functional.relu(-variance)

        def masked(self, y):
            hidden = fw.log(fw.zeros_like(y) + y * 0)
            return fw.nn.functional.softmax(fw.stack([y, hidden]), 0)[0]

    class Net(base):
        def __init__(self):
            super().__init__()
            self.block = Block()
            self.last = fw.nn.Linear(2, 2)

        def forward(self, x):
            return self.last(self.block(x))

    if side == "torch":
        fw.manual_seed(0)
    else:
        fw.seed(0)
    return Net(), {"layer": Scale.forward, "block": Block.forward, "masked": Block.masked}


def build_criterion(side, fault=""):
    """Return (criterion, its function of (outputs, label))."""
    fw, base = framework(side)

    class Criterion(base):
        def forward(self, outputs, label):
            distance = (outputs - label) ** 2
            if fault == "loss":
                distance = fw.log(distance - 1e6)
            if fault == "root":
                distance = fw.sqrt(distance * 0)
            return distance.mean()

    return Criterion(), Criterion.forward
