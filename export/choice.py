"""Which engine is the faster one for a model on this machine: measured once, then remembered."""

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.documents import json_in
from common.errors import UserError
from common.files import make_folder, sha256_of, whole_file
from export.deployment import Deployment
from export.engine import Engine
from export.open_file import open_file

CACHE_VARIABLE = "TORCH2PADDLE_CACHE"  # environment variable: where to remember
RUNS = 5  # after one to warm up; the fastest counts
FREE_HW = (512, 1024)  # pixels that a model of free size is measured at


def cache_folder() -> Path:
    """Return where engines and exported nets are remembered."""
    given = os.environ.get(CACHE_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "torch2paddle"


def fastest(files: Mapping[str, Path], deployment: Deployment | None, threads: int | None) -> str:
    """Return the engine of `files` {engine: model} that runs this model fastest here.

    What was measured before for the same files, machine, versions and threads is taken.
    """
    key = _key(files, threads)
    path = cache_folder() / "engines.json"
    known = _read(path)
    if (engine := str(known.get(key, {}).get("engine"))) in files:
        return engine
    times = {name: _seconds(file, name, deployment, threads) for name, file in files.items()}
    measured = {name: found for name, found in times.items() if isinstance(found, float)}
    if not measured:
        raise UserError(f"no engine can run it: {'; '.join(map(str, times.values()))}")
    winner = min(measured, key=lambda name: measured[name])
    _remember(path, key, {"engine": winner, "seconds": measured})
    return winner


def _seconds(
    path: Path, name: str, deployment: Deployment | None, threads: int | None
) -> float | UserError:
    """Return the time of one image, the error where the engine cannot run the model."""
    try:
        engine = open_file(path, name, deployment, threads)
        return timed(engine, example(engine))
    except UserError as error:
        return error


def example(engine: Engine) -> np.ndarray:
    """Return an input that the engine takes: float32 [N, 3, H, W]."""
    batch, channels, height, width = engine.input_shape
    step, plus = engine.deployment.size_step if engine.deployment else (1, 0)
    free = [size // step * step + plus for size in FREE_HW]
    shape = (
        max(batch, 1),
        channels,
        height if height > 0 else free[0],
        width if width > 0 else free[1],
    )
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def timed(engine: Engine, images: np.ndarray, runs: int = RUNS) -> float:
    """Return the seconds of the fastest of `runs`, after one that does not count."""
    engine.run(images)
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        engine.run(images)
        found.append(time.perf_counter() - start)
    return min(found)


def _key(files: Mapping[str, Path], threads: int | None) -> str:
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for package in ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    sums = [f"{name} {sha256_of(path)[:16]}" for name, path in sorted(files.items())]
    weights = files.get("paddle")
    if weights is not None and weights.with_suffix(".pdiparams").is_file():
        sums.append(sha256_of(weights.with_suffix(".pdiparams"))[:16])
    machine = f"{platform.node()} {_processor()} {os.cpu_count()}"
    return "; ".join([machine, f"threads {threads or 'all'}", *versions, *sums])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def _read(path: Path) -> dict[str, dict]:
    try:
        known = json_in(path)
    except (OSError, ValueError, UserError):
        return {}
    known = known if isinstance(known, dict) else {}
    return {key: found for key, found in known.items() if isinstance(found, dict)}


def _remember(path: Path, key: str, found: dict) -> None:
    """Add to what is known; where nothing can be written the next call measures again."""
    try:
        make_folder(path.parent)
        with whole_file(path) as draft:
            draft.write_text(json.dumps(_read(path) | {key: found}, indent=1), encoding="utf-8")
    except UserError:
        return
