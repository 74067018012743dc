"""ONNX Runtime on the CPU."""

import os
from pathlib import Path

import numpy as np

from common.errors import UnreadableError
from export.deployment import Deployment
from export.engine import Engine

FATAL = 4  # what ONNX Runtime prints: nothing below


class OnnxRuntimeEngine(Engine):
    """An ONNX file."""

    name = "onnxruntime"

    def __init__(
        self, path: Path, deployment: Deployment | None = None, threads: int | None = None
    ) -> None:
        import onnxruntime  # an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UnreadableError(f"{path}: ONNX Runtime cannot open it: {error}") from None
        given = self._session.get_inputs()[0]
        self._name = given.name
        shape = [size if isinstance(size, int) and size > 0 else -1 for size in given.shape]
        super().__init__(deployment, shape)

    def _run(self, images: np.ndarray) -> np.ndarray:
        result: np.ndarray = self._session.run(None, {self._name: images})[0]
        return result.astype(np.int64) if result.dtype == np.int32 else result
