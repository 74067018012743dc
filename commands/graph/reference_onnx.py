"""An ONNX file run by ONNX Runtime, as the reference of a conversion."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from commands.graph.ran import GraphRun
from common.errors import UnreadableError, UserError
from common.words.controls import in_one_line

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
}
_FATAL = 4  # what ONNX Runtime prints: nothing below


class OnnxReference:
    """The user's file as it stands; nothing of it is optimised.

    Attributes:
        shapes: of the inputs, in order; None where a size is free.
        dtypes: of the inputs.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime  # an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UnreadableError(
                f"{path}: ONNX Runtime cannot open it: {in_one_line(str(error)[:300])}"
            ) from None
        self._path = path
        given = self._session.get_inputs()
        self._names = [one.name for one in given]
        self.dtypes = [_DTYPES.get(one.type, one.type) for one in given]
        self.shapes = [
            [size if isinstance(size, int) and size > 0 else None for size in one.shape]
            for one in given
        ]

    def run(self, inputs: Sequence[np.ndarray]) -> GraphRun:
        """Return its outputs. Raises UserError where it does not run them."""
        given = {
            name: array.astype(dtype)
            for name, array, dtype in zip(self._names, inputs, self.dtypes, strict=True)
        }
        try:
            return GraphRun([np.asarray(one) for one in self._session.run(None, given)])
        except Exception as error:
            raise UserError(
                f"could not check: ONNX Runtime cannot run {self._path}: "
                f"{in_one_line(str(error)[:300])}"
            ) from None
