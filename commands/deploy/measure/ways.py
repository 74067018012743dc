"""The ways in which a net is run, and what is measured of each."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from common.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 3600
# way -> what people call it
WAYS = {
    "paddle_eager": "Paddle, eager",
    "paddle": "Paddle Inference, oneDNN",
    "onnxruntime": "ONNX Runtime",
    "torch": "PyTorch",
    "torch_channels_last": "PyTorch, channels last",
}
EXPORTED = ("paddle", "onnxruntime")


@dataclass(frozen=True)
class Task:
    """One way, in the words that its process is told.

    Attributes:
        way: a key of WAYS.
        config, overrides: what `read_config` takes; `weights`: a file, or None for seeded ones.
        folder: of the export, for the ways in EXPORTED.
        shape: of the input [N, 3, H, W].
        warm_up, runs: how often it runs before and while time is taken.
    """

    way: str
    config: str
    overrides: tuple[str, ...]
    weights: str | None
    folder: str | None
    shape: tuple[int, int, int, int]
    threads: int
    warm_up: int
    runs: int


@dataclass(frozen=True)
class Measured:
    """What one process found.

    Attributes:
        seconds: of every run.
        peak_bytes: most memory that the process held, frameworks included.
        parameters: trainable values; macs: products of one input in convolutions and linear
            layers. Both of `paddle_eager` alone.
    """

    way: str
    seconds: tuple[float, ...]
    peak_bytes: int
    parameters: int | None = None
    macs: int | None = None

    @property
    def median_s(self) -> float:
        """The median of the runs."""
        return median(self.seconds)


def measured(task: Task) -> Measured:
    """Return what a process of its own measured. Raises UserError with its error, or last line."""
    threads = str(task.threads)
    # Paddle's eager kernels follow MKL's number, torch's OpenMP's.
    omp = threads if task.way.startswith("torch") else "1"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {"OMP_NUM_THREADS": omp, "MKL_NUM_THREADS": threads, "PYTHONPATH": path}
    command = [sys.executable, "-m", "commands.deploy.measure", json.dumps(asdict(task))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, env=os.environ | variables
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{WAYS[task.way]}: did not end within {LIMIT_S:g} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line] or lines
        raise UserError(f"{WAYS[task.way]}: {errors[-1] if errors else done.returncode}")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise UserError(f"{WAYS[task.way]}: its process ended without a result") from None
    return Measured(**found | {"seconds": tuple(found["seconds"])})


def merged(runs: Sequence[Measured]) -> Measured:
    """Return several processes of one way as one."""
    seconds = tuple(second for run in runs for second in run.seconds)
    first = runs[0]
    peak = max(run.peak_bytes for run in runs)
    return Measured(first.way, seconds, peak, first.parameters, first.macs)


def timed(run: Callable[[], Any], warm_up: int, runs: int) -> tuple[float, ...]:
    """Return the seconds of `runs` calls after `warm_up` that do not count."""
    for _ in range(warm_up):
        run()
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return tuple(found)
