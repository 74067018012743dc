"""What is the same on both sides of a training: a `Side` but for the framework's own functions."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.data import Batch
from common.errors import ConversionError, UserError
from common.evaluation.protocol import Ask, predict
from common.processes.group import ALONE, ProcessGroup
from common.settings.run import Evaluate

COUNTERS = ("step", "beta1_pow", "beta2_pow")  # slots of one value: what Adam counts


AVERAGE = "ema"  # the part of a state that is the moving average
SCALER = "scaler"  # and that of the scale of the loss


class NetSide:
    """A net, its criterion and its optimizer: the half of a `Side` that needs no framework.

    A framework's side sets the functions, which are those of its `train.py`, and adds the rest.
    Arrays of `state` have their tensors' dtypes. `frozen` are layers that stay in eval mode.
    `averaged`: makes the moving average of the net's weights, which is kept from the first step on,
    and which is what is evaluated and saved as weights; None: there is none. `precision` is how a
    step computes, `group` the processes of the training, `ask` how a task predicts.
    """

    frozen: Sequence[Any] = ()
    averaged: Callable[[Any], Any] | None = None
    precision: Any
    group: ProcessGroup = ALONE
    ask: Ask = staticmethod(predict)

    train_step: Callable[..., dict[str, float]]
    inference: Callable[[Any], Any]
    read_arrays: Callable[..., dict[str, np.ndarray]]
    load_arrays: Callable[..., None]
    read_slots: Callable[..., dict[str, np.ndarray]]
    write_slots: Callable[..., None]

    def __init__(self, net: Any, criterion: Any, optimizer: Any) -> None:
        self.net, self.criterion, self.optimizer = net, criterion, optimizer
        self._average: Any = None

    def step(self, batches: Sequence[Batch], lr: float) -> dict[str, float]:
        """Make one update with the batches of all processes; see `train_step`.

        Afterwards all have the same weights, and the buffers of the first one.
        """
        self._begin_average()
        self._show_average(False)
        made = (self.net, self.criterion, self.optimizer)
        how = {"frozen": self.frozen, "precision": self.precision, "group": self.group}
        losses = self.train_step(*made, batches, lr, **how)
        self.group.share_buffers(self.net, self.criterion)
        if self._average:
            self._average.update()
        return losses

    def predict(self, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """Return what the net predicts for `image`, in eval mode; see `Side`."""
        self._show_average(True)
        with self.precision.predicting():
            return self.ask(self.inference(self.net), image, options)

    def state(self) -> dict[str, np.ndarray]:
        """Return weights, buffers and slots as net.*, criterion.*, velocity.* and so on."""
        self._begin_average()
        self._show_average(False)
        arrays = {
            f"{part}.{key}": array
            for part, module in self._parts().items()
            for key, array in self.read_arrays(module).items()
        }
        average = self._average.state() if self._average else {}
        arrays |= {f"{AVERAGE}.{key}": array for key, array in average.items()}
        arrays |= {f"{SCALER}.{key}": array for key, array in self.precision.state().items()}
        return {**arrays, **self.read_slots(self.net, self.criterion, self.optimizer)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave."""
        self._begin_average()
        self._show_average(False)
        for part, module in self._parts().items():
            self.load_arrays(module, _below(part, state))
        if self._average:
            self._average.load_state(_below(AVERAGE, state))
        self.precision.load_state(_below(SCALER, state))
        others = (*self._parts(), AVERAGE, SCALER)
        slots = {key: a for key, a in state.items() if key.split(".")[0] not in others}
        self.write_slots(self.net, self.criterion, self.optimizer, slots)

    def _begin_average(self) -> None:
        """Begin the average at the net's present weights, where there is to be one."""
        if self.averaged is not None and self._average is None:
            self._average = self.averaged(self.net)

    def _show_average(self, average: bool) -> None:
        """Let the net hold the average, or its own weights."""
        if self._average:
            self._average.show(average)

    def _parts(self) -> dict[str, Any]:
        return {"net": self.net, "criterion": self.criterion}


def _below(part: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of one part, without its name."""
    place = f"{part}."
    return {key.removeprefix(place): a for key, a in state.items() if key.startswith(place)}


def outputs_taught(net: Any, criterion: Any, image: Any, target: Any) -> Any:
    """Return what a net returns in training; one whose losses are its own gets the target, too."""
    return criterion.ask(net, image, target) if hasattr(criterion, "ask") else net(image)


def seed_samples(layers: Iterable[Any], seed: int) -> None:
    """Let layers that draw by a generator of their own begin at `seed`."""
    for layer in layers:
        if hasattr(layer, "seed_samples"):
            layer.seed_samples(seed)


def loss_parts(criterion: Any, outputs: Any, target: Any) -> dict[str, Any]:
    """Return the terms of the loss by name, and "loss", which is to be differentiated.

    All are scalars, of terms by image the mean; a criterion without named terms has "loss" alone.
    """
    if not hasattr(criterion, "parts"):
        return {"loss": criterion(outputs, target)}
    parts = criterion.parts(outputs, target)
    shown = {name: part.mean() if len(part.shape) else part for name, part in parts.items()}
    return {**shown, "loss": criterion.total(parts)}


def main_logits(outputs: Any) -> Any:
    """Return the logits of the main head of what a net returns.

    They are [N, C, h, w]. Outputs: logits, a tuple that begins with them, or a dict with "out".
    Raises UserError for another dict.
    """
    if isinstance(outputs, Mapping):
        if "out" not in outputs:
            keys = ", ".join(map(str, outputs))
            raise UserError(
                f"the net returns a dict with {keys}; its logits are looked for under `out`: "
                "return them there, or first in a tuple"
            )
        return outputs["out"]
    return outputs[0] if isinstance(outputs, tuple | list) else outputs


def map_outputs(outputs: Any, function: Callable[[Any], Any]) -> Any:
    """Return what a net returns with `function` applied to its tensors; tuples become lists."""
    if isinstance(outputs, Mapping):
        return {name: map_outputs(value, function) for name, value in outputs.items()}
    if isinstance(outputs, tuple | list):
        return [map_outputs(value, function) for value in outputs]
    return function(outputs)


def tensors_to_fill(
    tensors: Mapping[str, Any], arrays: Mapping[str, np.ndarray], into: str, left: Collection[str]
) -> dict[str, Any]:
    """Return those of a net's `tensors`, by name, that its part `into` holds ("": all).

    Raises ConversionError where `arrays` are not just theirs: what is absent and not named in
    `left`, unknown or of another shape.
    """
    place = f"{into}." if into else ""
    own = {key: tensor for key, tensor in tensors.items() if key.startswith(place)}
    known = {*arrays, *left}
    problems = [f"{key}: not in the net" for key in arrays if key not in own]
    problems += [f"{key}: not in the file" for key in own if key not in known]
    problems += [
        f"{key}: {tuple(array.shape)} in the file, {tuple(own[key].shape)} in the net"
        for key, array in arrays.items()
        if key in own and tuple(array.shape) != tuple(own[key].shape)
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ConversionError(f"the weights do not fit the net: {'; '.join(problems[:3])}{more}")
    return own


def require_slots(parameters: Mapping[str, Any], slots: Mapping[str, np.ndarray]) -> None:
    """Raise UserError where a slot, called <slot>.<parameter>, is not of its parameter's shape.

    Those of `COUNTERS` have one value, whatever their parameter's shape.
    """
    for key, array in slots.items():
        slot, _, name = key.partition(".")
        have = tuple(parameters[name].shape) if name in parameters else None
        if have is not None and slot in COUNTERS:
            have = tuple(array.shape) if array.size == 1 else (1,)
        if have != tuple(array.shape):
            there = "there is no such tensor in the net" if have is None else f"the net has {have}"
            raise UserError(f"{slot} of {name}: the file has {tuple(array.shape)}, {there}")
