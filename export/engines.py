"""Opens what runs an exported model: Paddle Inference or ONNX Runtime, behind one interface.

Neither the nets nor the training are loaded.
"""

from pathlib import Path

from common.errors import UserError
from common.files import require_file
from export.choice import fastest
from export.deployment import NAME, Deployment, read_deployment
from export.engine import Engine
from export.open_file import installed, open_file

ENGINES = ("auto", "paddle", "onnxruntime")
PADDLE_SUFFIXES = (".json", ".pdmodel")


def open_engine(place: str | Path, engine: str = "auto", threads: int | None = None) -> Engine:
    """Open an exported model: its folder, its `deploy.yaml`, or the model file itself.

    engine: one of ENGINES. "auto": the faster one here, which is measured once and remembered
    (`export.choice`). threads: of its kernels; None: as many as there are processors.

    Raises UserError where the engine is not installed or has no file there.
    """
    if engine not in ENGINES:
        raise UserError(f"engine {engine!r} is not known; choose one of {', '.join(ENGINES)}")
    files, deployment = _files(Path(place))
    possible = [name for name in files if name in installed()]
    if engine != "auto":
        _require(engine, files, Path(place))
    elif not possible:
        raise UserError(f"{place}: {_missing(sorted(files))}")
    elif len(possible) == 1:
        engine = possible[0]
    else:
        engine = fastest(files, deployment, threads)
    return open_file(files[engine], engine, deployment, threads)


def _files(place: Path) -> tuple[dict[str, Path], Deployment | None]:
    """Return {engine: its model file}, and what `deploy.yaml` says."""
    if not place.exists():
        raise UserError(f"{place}: no such file or folder")
    beside = place if place.is_dir() else place.parent
    deployment = None
    if place.name == NAME or place.is_dir() or (beside / NAME).is_file():
        deployment, beside = read_deployment(beside)
    if place.suffix == ".onnx":
        return {"onnxruntime": place}, deployment
    if place.suffix in PADDLE_SUFFIXES:
        return {"paddle": place}, deployment
    if deployment is None:
        raise UserError(f"{place}: no exported model; expected its folder, {NAME}, .json or .onnx")
    named = {"paddle": deployment.model, "onnxruntime": deployment.onnx}
    files = {name: beside / file for name, file in named.items() if file}
    for path in files.values():
        if not require_file(path).exists():
            raise UserError(
                f"{path}: no such file, which {beside / NAME} names; copy the whole folder"
            )
    return files, deployment


def _require(engine: str, files: dict[str, Path], place: Path) -> None:
    if engine not in installed():
        raise UserError(_missing([engine]))
    if engine not in files:
        raise UserError(
            f"{place}: has no model for {engine}, only for {', '.join(files)}; export it again "
            "with that format"
        )


def _missing(engines: list[str]) -> str:
    extra = {"paddle": "cpu", "onnxruntime": "onnx"}
    hints = [f"pip install 'torch2paddle-seg[{extra[name]}]'" for name in engines]
    return f"{' and '.join(engines)} not installed: {' or '.join(hints)}"
