"""Runs source and written net on the same inputs, in the modes that can be compared."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commands.entry import CHECKED_GOOD, COULD_NOT_CHECK
from commands.graph.judge import (
    GRADIENTS,
    OUTPUTS,
    STATISTICS,
    Judged,
    exit_code,
    float32_allowance,
    float64_allowance,
    judged_gradients,
    judged_outputs,
    judged_statistics,
    lacking,
    noise_between,
)
from commands.graph.ran import GraphRun
from common.errors import UserError
from port.graph.account import GraphAccount
from port.graph.mend import Norm

Inputs = Sequence[np.ndarray]
Tell = Callable[[str], None]
Allow = Callable[[float], float]
_RESIZES = ("'bilinear'", "'bicubic'", "'trilinear'", "'linear'")


def trials_of_onnx(path: Path, written: Any, batches: Sequence[Inputs], tell: Tell) -> list[Judged]:
    """Return the rows of an ONNX file: its outputs by ONNX Runtime, in float32.

    The written net runs in float64, so that all rounding is the reference's; how much that is
    tells the distance of the written net's own float32, and inputs moved by a unit in the last
    place.
    """
    from commands.graph.reference_onnx import OnnxReference

    reference, rows = OnnxReference(path), []
    for inputs in batches:
        name = _named("forward, eval mode", inputs, batches)
        tell(name)
        first = reference.run(inputs)
        noise = noise_between(first, reference.run([_moved(array) for array in inputs]))
        try:
            found, rounded = written.run(inputs), written.run(inputs, dtype="float32")
            noise = max(noise, noise_between(found, rounded))
        except UserError:
            found = written.run(inputs, dtype="float32")
        rows.append(judged_outputs(name, first, found, float32_allowance(noise), noise))
    return rows


def _moved(array: np.ndarray) -> np.ndarray:
    """Return an array with every value moved to a neighbour in float32."""
    if array.dtype.kind != "f":
        return array
    signs = np.random.default_rng(0).choice([-np.inf, np.inf], array.shape).astype(np.float32)
    return np.nextafter(array.astype(np.float32), signs)


def _named(name: str, inputs: Inputs, batches: Sequence[Inputs]) -> str:
    if inputs is batches[0]:
        return name
    return f"{name}, input {' '.join(str(list(array.shape)) for array in inputs)}"


class TorchTrials:
    """The rows of a live torch net: both modes, outputs, gradients, running statistics.

    Attributes:
        notes: what is to know beside the rows.
    """

    def __init__(
        self, net: Any, written: Any, account: GraphAccount, norms: Mapping[str, Norm], code: str
    ) -> None:
        from commands.graph.reference_torch import state_of

        self._net, self._written, self._account = net, written, account
        self._norms, self._before = norms, {n: a.copy() for n, a in state_of(net).items()}
        self._resized = any(mode in code for mode in _RESIZES)
        self._unread: frozenset[str] = frozenset()
        self.notes: list[str] = []

    def rows(self, batches: Sequence[Inputs], train: bool, tell: Tell) -> list[Judged]:
        """Return the rows of all inputs in eval mode, and of the first in train mode if asked."""
        rows = []
        for inputs in batches:
            name = _named("eval mode", inputs, batches)
            tell(name)
            rows += self._mode(name, inputs, False, inputs is batches[0])
        if train:
            tell("train mode")
            rows += self._mode("train mode", batches[0], True, True)
        return rows

    def _mode(self, name: str, inputs: Inputs, train: bool, gradients: bool) -> list[Judged]:
        from commands.graph.reference_torch import run_torch

        try:
            first = run_torch(self._net, inputs, train)
            again = run_torch(self._net, inputs, train, "float32")
        except Exception as error:
            where = f"the source does not run: {type(error).__name__}: {error}"
            return [Judged(f"forward, {name}", COULD_NOT_CHECK, where=where.splitlines()[0][:300])]
        noise, dtype = noise_between(first, again), "float64"
        try:
            found = self._written.run(inputs, train)
        except UserError:
            dtype = "float32"
            try:
                found = self._written.run(inputs, train, dtype)
            except UserError as error:
                return [Judged(f"forward, {name}", COULD_NOT_CHECK, where=str(error))]
        runs = name, first, found
        if train:
            self._find_unread(inputs, first)
        rows = self._rows(runs, train, gradients, self._allowances(dtype, noise, False), noise)
        if self._resized and exit_code(rows) != CHECKED_GOOD:
            rows = self._rows(runs, train, gradients, self._allowances(dtype, noise, True), noise)
        return rows

    def _rows(
        self,
        runs: tuple[str, GraphRun, GraphRun],
        train: bool,
        gradients: bool,
        allow: Allow,
        noise: float,
    ) -> list[Judged]:
        name, first, found = runs
        made = [judged_outputs(f"forward, {name}", first, found, allow(OUTPUTS), noise)]
        if gradients and len(first.outputs) == len(found.outputs):
            title = f"backward, {name}"
            made.append(judged_gradients(title, first, found, self._account, allow(GRADIENTS)))
        if train and self._norms:
            made.append(
                judged_statistics(
                    "running statistics", self._before, first, found, self._account, self._norms,
                    allow(STATISTICS), self._unread,
                )
            )  # fmt: skip
        return made

    def _find_unread(self, inputs: Inputs, first: GraphRun) -> None:
        """Find the statistics of layers that train mode alone runs: no output is made of them.

        A graph of eval mode lacks such layers. That train mode makes no output of them either, the
        row of its outputs shows.
        """
        from commands.graph.reference_torch import are_unread

        names = lacking(self._before, first, self._account, self._norms)
        if names and are_unread(self._net, inputs, names):
            self._unread = frozenset(names)
            layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
            self.notes.append(
                "layers that train mode alone runs, and no output is made of, are not in the "
                f"graph: {', '.join(layers)}"
            )

    def _allowances(self, dtype: str, noise: float, resized: bool) -> Allow:
        if dtype == "float32":
            return lambda least: float32_allowance(noise)
        return lambda least: float64_allowance(least, noise, resized)
