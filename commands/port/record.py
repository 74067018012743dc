"""Runs the reference in a process of its own, and reads what it recorded."""

import json
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.entry import ROOT
from common.errors import UserError

PATIENCE = 540.0  # seconds; the process that watches this one waits a little longer
# torch's words where it finds no GPU
NO_GPU = re.compile("not compiled with CUDA|initialize CUDA|No CUDA GPUs|no NVIDIA driver")


def recorded(asked: dict[str, Any]) -> Any:
    """Return the recording of the net that is asked for. Raises UserError where there is none.

    A net that asks for a GPU by name, where there is none, runs once more on the CPU; `asked` says
    so from then on.
    """
    answer = _answer(asked)
    told = [answer] if isinstance(answer, str) else list(getattr(answer, "failed", {}).values())
    if not asked.get("gpu") and any(map(NO_GPU.search, told)):
        asked["gpu"] = True
        answer = _answer(asked)
    if isinstance(answer, str):
        raise UserError(answer)
    return answer


def _answer(asked: Mapping[str, Any]) -> Any:
    """Return what a process of its own recorded or traced, or the text of an error."""
    with tempfile.TemporaryDirectory(prefix="port-") as folder:
        request, output = Path(folder) / "request.json", Path(folder) / "record"
        request.write_text(json.dumps(dict(asked)), encoding="utf-8")
        command = [sys.executable, "-c", _START, str(ROOT), str(request), str(output)]
        try:
            ended = subprocess.run(command, stdout=sys.stderr, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"could not check: {asked['spec']} ran for {PATIENCE:g} s; give a smaller input"
            ) from None
        if not output.is_file():
            raise UserError(
                f"could not check: the process that ran {asked['spec']} ended with exit code "
                f"{ended.returncode} and recorded nothing"
            )
        return pickle.loads(output.read_bytes())


_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
    "from commands.port.recording_torch import main; main(Path(sys.argv[2]), Path(sys.argv[3]))"
)
