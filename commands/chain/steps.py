"""The steps of the chain: a command of `tools/` each, run as a person would."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.entry import COULD_NOT_CHECK, ROOT
from common.words.language import asked

# Whose exit code says that it was stopped, and by which signal.
STOPPED = (130, 143)


@dataclass
class Step:
    """A step that ran: its name, its command line, its exit code, and what it printed as JSON."""

    name: str
    command: str
    code: int
    result: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""

    @property
    def exit_code(self) -> int:
        """What the chain exits with where this step did not succeed."""
        known = self.code in (0, 1, 2, *STOPPED)
        return self.code if known else COULD_NOT_CHECK


def run_step(name: str, arguments: Sequence[str], beside: Path, quiet: bool = False) -> Step:
    """Run `tools/<name>.py <arguments> --json`; what it says on stderr goes on unless `quiet`.

    beside: folder in which modules of a config's own are looked for.
    """
    tool = {"train": "train_paddle"}.get(name, name)
    typed = [f"tools/{tool}.py", *arguments, "--json"]
    spoken = ["--lang", tongue] if (tongue := asked()) else []
    places = [str(beside), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, str(ROOT / typed[0]), *typed[1:], *spoken],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
    )
    step = Step(name, shlex.join(["python", *typed]), done.returncode, said=done.stderr or "")
    try:
        step.result = json.loads(done.stdout)
    except ValueError:
        step.code = step.code or COULD_NOT_CHECK  # it did not say what it did
    return step


def training_lines(folder: Path) -> list[str]:
    """Return a line for each logged interval of a run, in the words of the guide's chain test.

    reader_cost and batch_cost are seconds a step; ips is images a second.
    """
    from common.training.logs import is_validation, read_log

    speeds = {row["iteration"]: row for row in read_log(folder / "speed.jsonl")}
    rows = [row for row in read_log(folder / "log.jsonl") if not is_validation(row)]
    lines = []
    for row in rows:
        speed = speeds[row["iteration"]]
        lines.append(
            f"[TRAIN] iter: {row['iteration']}/{rows[-1]['iteration']}, loss: {row['loss']:.4f}, "
            f"lr: {row['lr']:.6f}, reader_cost: {speed['data_s']:.4f} sec, "
            f"batch_cost: {speed['step_s']:.4f} sec, ips: {speed['images_per_s']:.2f} images/sec"
        )
    return lines
