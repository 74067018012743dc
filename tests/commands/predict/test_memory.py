"""A photo of 12 million pixels: how much memory the whole command takes."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.paths import ROOT, TOOLS

paddle = pytest.importorskip("paddle")

MOST_KIB = 2 * 1024 * 1024
# The largest of the processes that it starts, in KiB.
PEAK = (
    "import resource, subprocess, sys\n"
    "code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_photos_of_4000x3000_take_less_than_2_gib(tmp_path):
    """With the export that the first photo waits for, and with all pictures."""
    from commands.subjects.named.config import read_config
    from commands.subjects.named.frameworks import parts_of

    config, weights = ROOT / "configs" / "stdc1.yml", tmp_path / "net.pdparams"
    paddle.save(parts_of(read_config(config), "paddle").seeded_net(0).state_dict(), str(weights))
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    photo = Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC)
    photos = [tmp_path / "first.png", tmp_path / "second.jpg"]
    for path in photos:
        photo.save(path)
    given = [config, *photos, "--weights", weights, "--threads", 2, "--output", tmp_path / "out"]
    command = [sys.executable, TOOLS / "predict.py", *given]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, command)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in ("first", "second"):
        assert Image.open(tmp_path / "out" / f"{name}.png").size == (4000, 3000)
    assert int(done.stdout) < MOST_KIB
