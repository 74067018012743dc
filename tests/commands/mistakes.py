"""What users get wrong, in the files of their nets, losses and optimizers."""

# Files of a folder of the user's, by name. `T` and `P` are what the two sides need.
GOOD = """
import numpy as np, paddle, torch
import paddle.nn.functional as PF, torch.nn.functional as TF
from paddle import nn as pnn
from torch import nn as tnn

class Theirs(tnn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.fc = tnn.Linear(4, width)
        self.norm = tnn.BatchNorm1d(width)
    def forward(self, x):
        return self.norm(self.fc(x))

class Ours(pnn.Layer):
    def __init__(self, width=3):
        super().__init__()
        self.fc = pnn.Linear(4, width)
        self.norm = pnn.BatchNorm1D(width)
    def forward(self, x):
        return self.norm(self.fc(x))

def theirs(out, label): return TF.cross_entropy(out, label)
def ours(out, label): return PF.cross_entropy(out, label)
def their_sgd(parameters): return torch.optim.SGD(parameters, lr=0.1)
def our_sgd(parameters): return paddle.optimizer.SGD(0.1, parameters=parameters)
"""

BAD = """
import os, sys
from good import *

def net_raises(): raise ValueError("no such width")
def net_exits(): sys.exit(0)
def net_interrupts(): raise KeyboardInterrupt
def net_recurses(): return net_recurses()
def net_needs(width): return Theirs(width)
def a_class(): return Theirs
def our_class(): return Ours
def a_state(): return Theirs().state_dict()
def nothing(): return None
value = 3

class TheirsRaises(Theirs):
    def forward(self, x): raise ValueError("not today")
class OursRaises(Ours):
    def forward(self, x): raise ValueError("not today")
class TheirsWrongShape(Theirs):
    def forward(self, x): return self.norm(self.fc(x).view(3, 5))
class OursWrongShape(Ours):
    def forward(self, x): return self.norm(self.fc(x).reshape([3, 5]))
class TheirsImports(Theirs):
    def forward(self, x):
        import no_such_package
class OursImports(Ours):
    def forward(self, x):
        import no_such_package
class TheirsExits(Theirs):
    def forward(self, x): sys.exit("bye")
class OursRecurses(Ours):
    def forward(self, x): return self.forward(x)
class TheirsRecurses(Theirs):
    def forward(self, x): return self.forward(x)
class OursInterrupts(Ours):
    def forward(self, x): raise KeyboardInterrupt
class TheirsNoForward(tnn.Module):
    def __init__(self):
        super().__init__()
        self.fc = tnn.Linear(4, 3)
        self.norm = tnn.BatchNorm1d(3)
class OursNoForward(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = pnn.Linear(4, 3)
        self.norm = pnn.BatchNorm1D(3)
class TheirsTwo(Theirs):
    def forward(self, x, mask): return super().forward(x) * mask
class OursTwo(Ours):
    def forward(self, x, mask): return super().forward(x) * mask
class OursNothing(Ours):
    def forward(self, x): super().forward(x)
class TheirsNoSuper(tnn.Module):
    def __init__(self):
        self.fc = tnn.Linear(4, 3)
class OursNoSuper(pnn.Layer):
    def __init__(self):
        self.fc = pnn.Linear(4, 3)
class TheirsMemory(Theirs):
    def forward(self, x): return self.fc(torch.ones(1 << 46, 4) + x[0])
class OursMemory(Ours):
    def forward(self, x): return self.fc(paddle.ones([1 << 46, 4]) + x[0])
class TheirsMeta(Theirs):
    def __init__(self):
        super().__init__()
        self.to("meta")
class TheirsEval(Theirs):
    def forward(self, x):
        assert not self.training, "made for inference only"
        return super().forward(x)
class OursEval(Ours):
    def forward(self, x):
        assert not self.training, "made for inference only"
        return super().forward(x)
class TheirsWarm(Theirs):
    def forward(self, x): return super().forward(self.cache)
class OursGpu(Ours):
    def __init__(self):
        super().__init__()
        paddle.set_device("gpu")
class TheirsGpu(Theirs):
    def __init__(self):
        super().__init__()
        self.cuda()
class OursMomentum(Ours):
    def __init__(self):
        super().__init__()
        self.norm = pnn.BatchNorm1D(3, momentum=0.1)

def raises(out, label): raise ValueError("no such label")
def exits(out, label): sys.exit(0)
def a_tuple(out, label): return theirs(out, label), 1
def our_tuple(out, label): return ours(out, label), 1
def no_loss(out, label): return None
def a_vector(out, label): return TF.cross_entropy(out, label, reduction="none")
def our_vector(out, label): return PF.cross_entropy(out, label, reduction="none")
def a_float(out, label): return theirs(out, label).item()
def our_float(out, label): return float(ours(out, label))
def not_a_number(out, label): return theirs(out, label) * float("nan")
def our_nan(out, label): return ours(out, label) * float("nan")
def three(out, label, weight): return theirs(out, label)
def our_three(out, label, weight): return ours(out, label)
def one(out): return out.mean()
class Criterion(tnn.Module):
    def __init__(self, weight): super().__init__()
    def forward(self, out, label): return theirs(out, label)
class OurCriterion(pnn.Layer):
    def forward(self, out, label): raise ValueError("no such label")

def no_arguments(): return None
def keyword(parameters, lr): return None
def wrong_option(parameters): return torch.optim.SGD(parameters, learning_rate=0.1)
def our_wrong_option(parameters): return paddle.optimizer.SGD(lr=0.1, parameters=parameters)
def no_optimizer(parameters): return None
def our_order(parameters): return paddle.optimizer.SGD(parameters, 0.1)
def their_lbfgs(parameters): return torch.optim.LBFGS(parameters)
class OurSteps(paddle.optimizer.SGD):
    def __init__(self, parameters): super().__init__(0.1, parameters)
    def step(self): raise ValueError("no step")
class TheirSteps(torch.optim.SGD):
    def __init__(self, parameters): super().__init__(parameters, 0.1)
    def step(self, closure=None): raise ValueError("no step")
def rate_as_text(parameters): return torch.optim.SGD(parameters, lr="0.1")
"""

FILES = {
    "good.py": GOOD,
    "bad.py": BAD,
    "syntax.py": "def build(:\n    pass\n",
    "indented.py": "def build():\n\tpass\n        pass\n",
    "missing.py": "import no_such_package\n",
    "missing_name.py": "from good import NoSuchNet\n",
    "circle_a.py": "import circle_b\ndef build(): pass\nX = circle_b.Y\n",
    "circle_b.py": "import circle_a\nY = circle_a.X\n",
    "exits.py": "import sys\nsys.exit(0)\n",
    "parses.py": "import argparse\nargparse.ArgumentParser().parse_args()\n",
    "raises.py": "x = {}\nx['no such key']\n",
    "package/__init__.py": "",
    "package/nets.py": "from good import Theirs\n",
}
