"""Where the code of a port casts what it is given and has learnt to float32."""

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import nn

from align.arrays.arguments import Forward
from align.arrays.arrays_paddle import is_tensor, to_array
from align.arrays.trees import map_leaves
from align.force.pass_paddle import Pass
from align.force.stock.cells_paddle import states_alone
from align.nets.calls import wrapped_forwards
from align.nets.casts.told import CastOf, cast_of, told_of_casts
from align.nets.prepare_paddle import FLOATING, state_kept
from align.record.draws import CallKey

Casts = dict[CallKey, tuple[str, list[CastOf]]]  # of a call: the first line, and what is cast


class CastPass(Pass):
    """The port as its user runs it, with gradients: `flowing` has the calls that cast, by key.

    A table of sines that is cast says nothing: a cast counts through which a gradient may flow.
    """

    def run(self, args: tuple, kwargs: Mapping[str, Any]) -> Casts:
        """Run it; return {call: ("file:line" of the first cast in its own code, what is cast)}."""
        self.stack: list[CallKey | None] = []
        self.flowing: Casts = {}
        args, kwargs = map_leaves((args, dict(kwargs)), _flowing)
        wrapped = wrapped_forwards(self.matched, states_alone(self._wrap))
        draws, told = self.replay.replaced(self.net), told_of_casts(self._cast)
        with state_kept(self.net), paddle.enable_grad(), wrapped, draws, told:
            self.net(*args, **kwargs)
        return self.flowing

    def _wrap(self, path: str, layer: nn.Layer, forward: Forward) -> Forward:
        def counted(*args: Any, **kwargs: Any) -> Any:
            call = self.next_call(path)
            self.stack.append(None if call is None else call.key)
            try:
                own = forward if call is None else self.around(path, call, forward)
                return own(*args, **kwargs)
            finally:
                self.stack.pop()

        return counted

    def _cast(self, flows: bool, line: str, tensor: paddle.Tensor) -> None:
        key = next((key for key in reversed(self.stack) if key is not None), None)
        if flows and key is not None:
            _, found = self.flowing.setdefault(key, (line, []))
            if not tensor.is_leaf:  # a parameter is promoted where it is used
                found.append(cast_of(line, to_array(tensor), bool(found)))


def _flowing(leaf: Any) -> Any:
    """Return a tensor that code may write into and that gradients flow from."""
    if not is_tensor(leaf) or leaf.dtype not in FLOATING:
        return leaf
    own = leaf.detach()
    own.stop_gradient = False
    return own.clone()
