"""The written net, loaded from its file and run."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from align.arrays.trees import leaves
from align.nets.prepare_paddle import prepared
from commands.graph.ran import GraphRun
from common.errors import UserError


class WrittenNet:
    """The net of `code` (one class, `name`) with the weights `state`."""

    def __init__(self, code: str, name: str, state: Mapping[str, np.ndarray]) -> None:
        self._code, self._name, self.state = code, name, dict(state)

    def build(self) -> nn.Layer:
        """Return it in eval mode. Raises UserError where its code fails or a weight is left."""
        net = self._made()
        absent, unknown = net.set_state_dict(self.state)
        if absent or unknown:
            names = ", ".join([*absent, *unknown][:6])
            raise UserError(f"could not check: the written net does not take its weights: {names}")
        net.eval()
        return net

    def _made(self) -> nn.Layer:
        space: dict[str, Any] = {"__name__": "written_net"}
        with _its_errors():
            exec(compile(self._code, "net.py", "exec"), space)  # what this command wrote
            net: nn.Layer = space[self._name]()
        return net

    def names(self) -> list[str]:
        """Return the names of its tensors."""
        return list(self._made().state_dict())

    def complete(self) -> list[str]:
        """Give the state what the code makes of itself and X2Paddle did not save: its constants.

        Returns their names. Raises UserError where the code fails.
        """
        net = self._made()
        absent = [name for name in net.state_dict() if name not in self.state and "." not in name]
        self.state |= {name: net.state_dict()[name].numpy() for name in absent}
        return absent

    def run(
        self, inputs: Sequence[np.ndarray], train: bool = False, dtype: str = "float64"
    ) -> GraphRun:
        """Return what it gives for the inputs, its gradients, and statistics after it."""
        net = self.build()
        with prepared(net, dtype=dtype, train=train), _its_errors():
            tensors = [_tensor(array, dtype) for array in inputs]
            paddle.seed(0)
            outputs = [one for one in leaves(net(*tensors)) if paddle.is_tensor(one)]
            ran = GraphRun([one.numpy() for one in outputs])
            score = ran.score(outputs, paddle.to_tensor)
            if score is not None and not score.stop_gradient:
                score.backward()
            ran.inputs = [None if one.grad is None else one.grad.numpy() for one in tensors]
            for name, value in net.state_dict().items():
                if value.grad is not None:
                    ran.gradients[name] = value.grad.numpy()
                elif value.stop_gradient:
                    ran.buffers[name] = value.numpy()
        return ran


@contextmanager
def _its_errors() -> Iterator[None]:
    """Make what the written code raises a UserError."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"could not check: what X2Paddle wrote does not run: {_first(error)}"
        ) from error


def load_builder(folder: Path) -> nn.Layer:
    """Return what `builder.py` in the folder that is handed over builds, as its user would."""
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = package
    spec.loader.exec_module(package)
    net: nn.Layer = importlib.import_module(f"{folder.name}.builder").build()
    return net


def _tensor(array: np.ndarray, dtype: str) -> paddle.Tensor:
    if array.dtype.kind != "f":
        return paddle.to_tensor(array)
    return paddle.to_tensor(array.astype(dtype), stop_gradient=False)


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"
