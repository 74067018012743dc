"""Measures how memory and time of a training step grow with its pixels.

Each size is a process of its own, on one thread: the step of the paper's config in Paddle, by the
processor's clock; memory is the peak of the process over what it was before the net was built. Both
are fitted as a line over the pixels of a batch, and the largest size, which the fit has not seen,
says how far the line is off there. What the line says of the paper's batch is written to
docs/proof/growth.json; docs/write_tables.py makes the table of docs/guide/distributed.md of it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
FIGURES = ROOT / "docs" / "proof" / "growth.json"
CONFIGS = ("stdc1", "stdc2")
# Images, height, width of a batch; the last one is predicted.
SIZES = ((2, 128, 256), (2, 192, 384), (2, 256, 512), (4, 256, 512), (2, 512, 1024))
STEPS, MOST_STEPS_S = 2, 30.0  # after a first one; fewer where they are long
RATE = 0.01


def main() -> int:
    """Measure every size of every config, fit, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", nargs=4, metavar=("CONFIG", "N", "H", "W"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        config, *size = options.of
        print(json.dumps(measure(config, [int(number) for number in size])))
        return 0
    from common.documents import write_text

    found = {config: fitted([_child(config, size) for size in SIZES]) for config in CONFIGS}
    write_text(FIGURES, json.dumps(found, indent=1) + "\n")
    for config, figures in found.items():
        print(told(config, figures))
    subprocess.run([sys.executable, "docs/write_tables.py"], cwd=ROOT, check=True)
    return 0


def _child(config: str, size: tuple[int, int, int]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--of", config, *map(str, size)]
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **one})
    if done.returncode:
        raise SystemExit(f"{config} {size}: exit code {done.returncode}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(row, file=sys.stderr)
    return row


def measure(config: str, size: list[int]) -> dict[str, Any]:
    """Return seconds of the fastest step of a batch (images, height, width), and bytes."""
    from commands.subjects.named.config import read_config
    from commands.subjects.named.parts_paddle import PaddleParts

    count, *crop = size
    given = (f"data.crop_hw={crop}", f"data.batch_size={count}", "data.cards=1")
    settings = read_config(ROOT / "configs" / f"{config}.yml", given)
    batch, before = _batch(size), _memory("VmRSS")
    side, seconds = PaddleParts(settings).side("cpu"), list[float]()
    while len(seconds) <= STEPS and sum(seconds) < MOST_STEPS_S:
        start = time.process_time()
        side.step([batch], RATE)
        seconds.append(time.process_time() - start)
    fastest = min(seconds[1:] or seconds)
    return {"size": size, "seconds": fastest, "bytes": _memory("VmHWM") - before}


def _batch(size: list[int]) -> Any:
    """Return images of noise, and labels of blocks, a tenth of them void."""
    import numpy as np

    from common.data import Batch

    count, height, width = size
    rng = np.random.default_rng(0)
    image = rng.standard_normal((count, 3, height, width)).astype(np.float32)
    blocks = rng.integers(0, 21, (count, height // 32, width // 32))
    label = np.kron(blocks, np.ones((32, 32), np.int64))
    return Batch(image, np.where(label > 18, 255, label).astype(np.int64))


def _memory(name: str) -> int:
    """Return a figure of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def fitted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows, and for seconds and bytes the line [of a batch, of a pixel] and its errors.

    Lines have the least squares of relative distances to all rows but the last.
    """
    import numpy as np

    pixels = np.array([float(np.prod(row["size"])) for row in rows])
    found: dict[str, Any] = {"rows": rows}
    for name in ("seconds", "bytes"):
        values = np.array([row[name] for row in rows])
        sides = np.stack([np.ones_like(pixels), pixels], 1) / values[:, None]
        line = np.linalg.lstsq(sides[:-1], np.ones(len(rows) - 1), rcond=None)[0]
        off = sides @ line - 1
        found[name] = {
            "line": line.tolist(),
            "off": float(np.abs(off[:-1]).max()),
            "off_beyond": float(off[-1]),
        }
    return found


def told(config: str, figures: dict[str, Any]) -> str:
    """Say the lines of a config."""
    size, memory = figures["seconds"], figures["bytes"]
    return (
        f"{config}: {1e6 * size['line'][1]:.1f} s and {memory['line'][1] / 1e3:.2f} GB a million "
        f"pixels; off at most {size['off']:.1%} and {memory['off']:.1%}, at twice the largest "
        f"{size['off_beyond']:+.1%} and {memory['off_beyond']:+.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
