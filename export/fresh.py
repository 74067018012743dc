"""Runs an exported model in a process of its own, where nothing of the training is loaded.

python -m export.fresh ENGINE MODEL INPUTS.npz OUTPUTS.npz
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from export.engines import open_engine

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 600
NOT_LOADED = ("paddle_impl", "torch_ref", "convert", "align", "commands", "torch")


class CouldNotRun(UserError):
    """A model could not be run; the message has the last lines of its process."""


def run_fresh(engine: str, model: Path, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the model's output for each of `images` float32 [N, 3, H, W], by name.

    Raises CouldNotRun where its process ends otherwise than well.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        given, made = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, **_named(images))
        files = [str(path) for path in (model.resolve(), given, made)]
        command = [sys.executable, "-m", "export.fresh", engine, *files]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                env=os.environ | {"PYTHONPATH": path},
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            raise CouldNotRun(f"{engine} did not finish {model.name} in {LIMIT_S} s") from None
        if done.returncode:
            raise CouldNotRun(f"{engine} cannot run {model.name}: {_told(done)}")
        with np.load(made) as outputs:
            return {name: outputs[name] for name in images}


def _named(arrays: Mapping[str, np.ndarray]) -> Any:
    """Return them as keywords of `np.savez`, whose own are typed otherwise by version."""
    return dict(arrays)


def _told(done: subprocess.CompletedProcess) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
    errors = [line for line in lines if "rror" in line] or lines
    return f"{how}: {errors[-1][:400] if errors else 'it printed nothing'}"


def main() -> None:
    """Run the model on every array of a file."""
    name, model, given, made = sys.argv[1:]
    engine = open_engine(model, name)
    with np.load(given) as images:
        outputs = {key: engine.run(images[key]) for key in images}
    loaded = [room for room in NOT_LOADED if room in sys.modules]
    if loaded:
        sys.exit(f"Error: running a model loaded {', '.join(loaded)}")
    np.savez(made, **_named(outputs))


if __name__ == "__main__":
    main()
