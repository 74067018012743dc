"""Opens a model file with one engine."""

from importlib.util import find_spec
from pathlib import Path

from export.deployment import Deployment
from export.engine import Engine

MODULES = {"paddle": "paddle", "onnxruntime": "onnxruntime"}  # engine -> what must be installed


def installed() -> list[str]:
    """Return the engines that are installed here."""
    return [name for name, module in MODULES.items() if find_spec(module)]


def open_file(
    path: Path, engine: str, deployment: Deployment | None, threads: int | None
) -> Engine:
    """Open a model file with one engine, "paddle" or "onnxruntime"."""
    if engine == "paddle":
        from export.engine_paddle import PaddleEngine

        return PaddleEngine(path, deployment, threads)
    from export.engine_onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, deployment, threads)
