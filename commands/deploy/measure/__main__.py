"""The process that measures one way and prints it as JSON."""

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from commands.deploy.measure.ways import EXPORTED, Measured, Task, timed
from common.streams import keep_apart, results

KILO = 1024


def main() -> None:
    """Measure what the command line says; what a net prints goes to stderr."""
    keep_apart()
    given = json.loads(sys.argv[1])
    shape, overrides = tuple(given["shape"]), tuple(given["overrides"])
    task = Task(**given | {"shape": shape, "overrides": overrides})
    image = np.random.default_rng(0).standard_normal(task.shape, dtype=np.float32)
    run, counts = prepared(task, image)
    seconds = timed(run, task.warm_up, task.runs)
    found = Measured(task.way, seconds, peak_bytes(), *counts)
    print(json.dumps(asdict(found)), file=results(), flush=True)


def peak_bytes() -> int:
    """Return the most memory that this process held; `ru_maxrss` counts its parent's, too."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILO
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * KILO


def prepared(task: Task, image: np.ndarray) -> tuple[Callable[[], Any], tuple[int, ...]]:
    """Return what runs the net on `image`, and the counts of parameters and products."""
    if task.way in EXPORTED:
        from export.engines import open_engine

        assert task.folder is not None
        engine = open_engine(task.folder, task.way, task.threads)
        return lambda: engine.run(image), ()
    if task.way == "paddle_eager":
        from commands.deploy.measure.eager_paddle import prepare as prepare_paddle

        return prepare_paddle(task, image)
    from commands.deploy.measure.eager_torch import prepare as prepare_torch

    return prepare_torch(task, image), ()


if __name__ == "__main__":
    main()
