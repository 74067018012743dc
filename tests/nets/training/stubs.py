"""What tests of optimizers share: both sides on arrays, and nets of parameters alone."""

import numpy as np
import pytest

from common.param_groups import CRITERION


class Torch:
    """What a test asks of a framework, on arrays."""

    def __init__(self):
        self.fw = pytest.importorskip("torch")
        self.fw.set_num_threads(1)
        import torch_ref
        from torch_ref import losses, optim

        self.room, self.losses, self.optim = torch_ref, losses, optim
        self.module = self.fw.nn.Module

    def parameter(self, module, name, array):
        module.register_parameter(name, self.fw.nn.Parameter(self.fw.tensor(array)))

    def array(self, parameter):
        return parameter.detach().numpy().copy()

    def freeze(self, parameter):
        parameter.requires_grad = False

    def push(self, parameters, gradients):
        """Give these gradients; the other parameters have none."""
        for name, parameter in parameters.items():
            given = gradients.get(name)
            parameter.grad = None if given is None else self.fw.tensor(given)

    def clear(self, optimizer):
        optimizer.zero_grad()

    def settings(self, optimizer, parameters):
        names = {id(p): name for name, p in parameters.items()}
        return [
            (g["weight_decay"], g["lr_multiplier"], sorted(names[id(p)] for p in g["params"]))
            for g in optimizer.param_groups
        ]


class Paddle:
    """The same on the other side."""

    def __init__(self):
        self.fw = pytest.importorskip("paddle")
        import paddle_impl
        from paddle_impl import losses, optim

        self.room, self.losses, self.optim = paddle_impl, losses, optim
        self.module = self.fw.nn.Layer

    def parameter(self, module, name, array):
        made = module.create_parameter(
            list(array.shape),
            dtype=str(array.dtype),
            default_initializer=self.fw.nn.initializer.Assign(array),
        )
        setattr(module, name, made)

    def array(self, parameter):
        return np.array(parameter.numpy())

    def freeze(self, parameter):
        parameter.stop_gradient = True

    def push(self, parameters, gradients):
        for name, given in gradients.items():
            (parameters[name] * self.fw.to_tensor(given)).sum().backward()

    def clear(self, optimizer):
        optimizer.clear_grad(set_to_zero=False)

    def settings(self, optimizer, parameters):
        # What Paddle's step reads: the decay of the group, the multiplier on each parameter.
        names = {p.name: name for name, p in parameters.items()}
        found = []
        for group in optimizer._param_groups:
            (multiplier,) = {p.optimize_attr["learning_rate"] for p in group["params"]}
            members = sorted(names[p.name] for p in group["params"])
            found.append((group["regularization_coeff"], multiplier, members))
        return found


SIDES = {"torch": Torch, "paddle": Paddle}


def build_stub(side, arrays):
    """A net whose parameters have these dotted names, and a criterion with the fuse kernel."""
    net, criterion = side.module(), side.module()
    for path, array in arrays.items():
        module = net
        if path.startswith(CRITERION):
            module, path = criterion, path.removeprefix(CRITERION)
        *parents, name = path.split(".")
        for parent in parents:
            if not hasattr(module, parent):
                setattr(module, parent, side.module())
            module = getattr(module, parent)
        side.parameter(module, name, array)
    return net, criterion
