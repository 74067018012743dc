"""Paddle Inference on the CPU, with oneDNN."""

import os
from pathlib import Path

import numpy as np
from paddle import inference

from common.errors import UnreadableError
from export.deployment import Deployment
from export.engine import Engine

FREE = [-1, 3, -1, -1]
SHAPES_KEPT = 10  # of inputs, whose prepared kernels oneDNN keeps


class PaddleEngine(Engine):
    """A model of Paddle: .json of Paddle 3, .pdmodel of 2.6."""

    name = "paddle"

    def __init__(
        self,
        path: Path,
        deployment: Deployment | None = None,
        threads: int | None = None,
        one_dnn: bool = True,
    ) -> None:
        try:
            self._predictor = inference.create_predictor(_config(path, threads, one_dnn))
        except Exception as error:
            raise UnreadableError(
                f"{path}: Paddle Inference cannot open it: {_first_line(error)}"
            ) from None
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        shape = [int(size) for size in self._input.shape()]
        shape = shape if len(shape) == len(FREE) else FREE
        super().__init__(deployment, deployment.input_shape if deployment else shape)

    def _run(self, images: np.ndarray) -> np.ndarray:
        self._input.reshape(list(images.shape))
        self._input.copy_from_cpu(images)
        self._predictor.run()
        result: np.ndarray = self._output.copy_to_cpu()
        return result.astype(np.int64) if result.dtype == np.int32 else result


def _config(path: Path, threads: int | None, one_dnn: bool) -> inference.Config:
    config = inference.Config(str(path), str(path.with_suffix(".pdiparams")))
    config.disable_gpu()
    config.disable_glog_info()
    config.switch_ir_optim(True)
    config.set_cpu_math_library_num_threads(threads or os.cpu_count() or 1)
    if one_dnn:
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(SHAPES_KEPT)
    return config


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line or line.startswith("(")]
    return (told or lines or [type(error).__name__])[0][:300]
