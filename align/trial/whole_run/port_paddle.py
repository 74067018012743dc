"""A free run of the port with its loss, on what the reference drew."""

from typing import Any

import numpy as np
import paddle

from align.arrays.arrays_paddle import is_tensor, to_array, to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import leaves, map_leaves
from align.force.call_order import PortOrder
from align.force.pass_paddle import Pass, run_with_draws
from align.judge.words import Cause
from align.nets.layers_paddle import copied_buffers
from align.nets.prepare_paddle import remembered
from align.nets.whole import with_loss
from align.pairing.sides import Sides
from align.record.draws import CallKey
from align.record.trace import Trace
from align.trial.whole_run.free_values import Array, FreeValues, changed


class PortRun:
    """One free run of the port, `prepared`; what it left is put back.

    `outcome` has what it came to, `misfits` why draws do not fit, `unknown` functions whose draws
    are not the reference's, `either` calls that may keep what is below a rate as well as above.
    """

    def __init__(
        self, sides: Sides, batch: NetBatch, trace: Trace, below: frozenset[CallKey]
    ) -> None:
        self.net = sides.port
        given = Pass(sides, trace, sides.pairing, PortOrder(below=below))
        self.misfits: list[Cause] = []
        given.giver.told = lambda path, key, cause: self.misfits.append(cause)
        self.outcome = self._run(given, batch)
        self.unknown = list(given.giver.unknown.values())
        self.either = frozenset(given.giver.either)

    def _run(self, given: Pass, batch: NetBatch) -> FreeValues:
        undo = remembered(self.net)
        parameters = {k: t for k, t in self.net.state_dict().items() if not t.stop_gradient}
        layers = given.layers
        try:
            _forget_gradients(parameters)
            with with_loss(self.net):
                args = _leaves(batch)
                outputs = run_with_draws(given, args)
                ends = [leaf for leaf in leaves(outputs) if is_tensor(leaf)]
                slopes = [end for end in ends if not end.stop_gradient]
                if slopes:
                    paddle.autograd.backward(slopes, [paddle.ones_like(end) for end in slopes])
            found = FreeValues()
            for index, end in enumerate(ends):
                found.values[f"loss:{index}"] = np.array(to_array(end))
            given_in = [leaf for leaf in leaves(args[:2]) if is_tensor(leaf)]
            for index, leaf in enumerate(x for x in given_in if not x.stop_gradient):
                found.values[f"grad_input:{index}"] = _gradient(leaf)
            for key, parameter in parameters.items():
                found.values[f"grad:{key}"] = _gradient(parameter)
            left = copied_buffers(layers)
            undo()
            with with_loss(self.net, False):
                self.net(*_leaves(batch))
            found.moved = changed(left, copied_buffers(layers))
        finally:
            _forget_gradients(parameters)
            undo()
        return found


def _leaves(batch: NetBatch) -> tuple:
    """Return the arguments of net and loss; a gradient flows to inputs, none to the label."""

    def leaf(array: Any) -> Any:
        tensor = to_tensor(array)
        if is_tensor(tensor) and (tensor.is_floating_point() or tensor.is_complex()):
            tensor.stop_gradient = False
        return tensor

    *inputs, label = batch.args
    return (*map_leaves(tuple(inputs), leaf), map_leaves(label, to_tensor))


def _gradient(tensor: paddle.Tensor) -> Array:
    return None if tensor.grad is None else np.array(to_array(tensor.grad))


def _forget_gradients(parameters: dict[str, paddle.Tensor]) -> None:
    for parameter in parameters.values():
        parameter.clear_gradient(set_to_zero=False)
