"""What two processes do together in a framework; tests/nets/training/test_processes.py starts them.

Alone it computes the same with all images. Every function returns arrays by name.
"""

import sys
from pathlib import Path

import numpy as np


def images(seed=0):
    """Return [4, 3, 5, 6] float64 images and their labels."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((4, 3, 5, 6)) + 1, rng.integers(0, 4, (4, 5, 6))


class Torch:
    """PyTorch, in float64."""

    def __init__(self):
        import torch

        from torch_ref import layers, losses, processes, train

        torch.set_default_dtype(torch.float64)
        self.fw, self.nn, self.module = torch, torch.nn, torch.nn.Module
        self.layers, self.losses, self.train = layers, losses.LOSSES, train
        self.processes = processes
        self.conv, self.norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
        self.tensor = torch.tensor

    def set(self, tensor, array):
        tensor.data.copy_(self.fw.tensor(array))

    def sgd(self, parameters):
        return self.fw.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)

    def learns(self, tensor):
        return tensor.requires_grad_()

    def arrays(self, net):
        return self.train.read_arrays(net)

    def side(self, *made):
        return self.train.TorchSide(*made)

    def array(self, tensor):
        return tensor.detach().numpy()


class Paddle(Torch):
    """Paddle, in float64."""

    def __init__(self):
        import paddle

        from paddle_impl import layers, losses, processes, train

        paddle.set_default_dtype("float64")
        self.fw, self.nn, self.module = paddle, paddle.nn, paddle.nn.Layer
        self.layers, self.losses, self.train = layers, losses.LOSSES, train
        self.processes = processes
        self.conv, self.norm = paddle.nn.Conv2D, layers.BatchNorm2D
        self.tensor = paddle.to_tensor

    def set(self, tensor, array):
        tensor.set_value(array)

    def sgd(self, parameters):
        return self.fw.optimizer.Momentum(
            0.1, momentum=0.9, parameters=parameters, weight_decay=0.1
        )

    def learns(self, tensor):
        tensor.stop_gradient = False
        return tensor

    def side(self, *made):
        return self.train.PaddleSide(*made)

    def array(self, tensor):
        return tensor.numpy()


def fill(kit, net, seed=0):
    """Give all parameters of a net values that the seed decides."""
    rng = np.random.default_rng(seed)
    for parameter in net.parameters():
        if not getattr(parameter, "stop_gradient", False):
            kit.set(parameter, rng.standard_normal(list(parameter.shape)) * 0.3)
    return net


def norms(kit, x, group):
    """A synchronised InPlaceABN and a plain BatchNorm; their gradients are of a sum of squares."""
    net = kit.nn.Sequential(kit.conv(3, 4, 1), kit.layers.InPlaceABN(4), kit.norm(4))
    fill(kit, net)
    group.synchronise(net, ".")
    found = {}
    for _ in range(2):
        given = kit.learns(kit.tensor(x))
        output = net(given)
        (output * output * output).sum().backward()
        found |= {"output": kit.array(output), "of_input": kit.array(given.grad)}
    group.add_gradients(net.parameters())
    for number, parameter in enumerate(net.parameters()):
        if parameter.grad is not None:
            found[f"grad{number}"] = kit.array(parameter.grad)
    return found | kit.arrays(net)


def step(kit, loss, x, labels, group, batches):
    """Three updates of a net whose BatchNorm has no say.

    No image uses the layer `unused`, only those with a positive sum use `rarely`.
    """
    from common.data import Batch

    class Net(kit.module):
        def __init__(self):
            super().__init__()
            self.first, self.second = kit.conv(3, 4, 3, padding=1), kit.conv(4, 4, 1)
            self.unused, self.rarely = kit.conv(3, 4, 1), kit.conv(3, 4, 1)
            self.norm = kit.norm(3)

        def forward(self, x):
            hidden = self.second(kit.nn.functional.relu(self.first(x)))
            if float(x.sum()) > 0:
                hidden = hidden + self.rarely(x)
            self.norm(x)
            return hidden

    class Criterion(kit.module):
        def __init__(self):
            super().__init__()
            self.factor = kit.conv(4, 4, 1)
            self.loss = kit.losses[loss](**OPTIONS[loss])

        def forward(self, logits, label):
            return self.loss(self.factor(logits), label)

    net, criterion = fill(kit, Net()), fill(kit, Criterion(), 1)
    parameters = [*net.parameters(), *criterion.parameters()]
    side = kit.side(net, criterion, kit.sgd([p for p in parameters if learns(p)]))
    side.group = group
    size = len(x) // batches
    own = [Batch(x[at : at + size], labels[at : at + size]) for at in range(0, len(x), size)]
    losses = [side.step(own, 0.1)["loss"] for _ in range(3)]
    return {"losses": np.array(losses)} | side.state()


def learns(parameter):
    """Whether a parameter is trained."""
    frozen = getattr(parameter, "stop_gradient", None)
    return parameter.requires_grad if frozen is None else not frozen


OPTIONS = {"cross_entropy": {}, "ohem": {"threshold": 0.7, "min_kept": 10}}


def everything(kit, group):
    """Return what this process finds, of all tests at once: starting is what is dear."""
    x, labels = images()
    share = slice(2 * group.rank, 2 * group.rank + 2) if group.several else slice(None)
    found = {f"norms/{k}": v for k, v in norms(kit, x[share], group).items()}
    made = step(kit, "cross_entropy", x[share], labels[share], group, 1)
    found |= {f"whole/{key}": value for key, value in made.items()}
    # Micro-batches in which void is not as often, of which the second does not use `rarely`.
    x, labels = x.copy(), labels.copy()
    x[2:] -= 2
    labels[:2, :2], labels[3, 4] = 255, 255
    for loss in OPTIONS:
        made = step(kit, loss, x[share], labels[share], group, 1 if group.several else 2)
        found |= {f"{loss}/{key}": value for key, value in made.items()}
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    framework, folder = sys.argv[1:]
    its = {"torch": Torch, "paddle": Paddle}[framework]()
    together = its.processes.start_processes("cpu", 60.0)
    np.savez(Path(folder) / f"{together.rank}_of_{together.size}", **everything(its, together))
    together.leave()
