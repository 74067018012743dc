#!/usr/bin/env python
"""Write the locked files: every version that CI installs, with the SHA-256 of its file.

pip chooses as it would install into a new environment, within the constraints; what it names is
written. To be run by the Python, and on the platform, that the file is for: `make lock`.
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OURS = "torch2paddle-seg"
# constraints file -> (end of the name of the locked file, extras that are installed)
LOCKS = {
    "constraints.txt": ("", "torch,cpu,onnx,test,docs"),
    "constraints-paddle26.txt": ("-paddle26", "torch,cpu,test"),
}


def place() -> str:
    """Return what a locked file is for: system, machine and Python, as `linux-x86_64-py311`."""
    return f"{sys.platform}-{platform.machine()}-py{sys.version_info[0]}{sys.version_info[1]}"


def chosen(constraints: str, extras: str) -> list[dict[str, Any]]:
    """Return what pip would install, the build requirements among it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), "-c", constraints]
        subprocess.run([*command, "-e", f".[{extras}]", "setuptools"], cwd=ROOT, check=True)
        install: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return install


def locked(install: list[dict[str, Any]]) -> str:
    """Return the text of a locked file; KeyError for a package whose file has no SHA-256."""
    lines = []
    for row in install:
        name, version = row["metadata"]["name"], row["metadata"]["version"]
        if name != OURS:
            sha256 = row["download_info"]["archive_info"]["hashes"]["sha256"]
            lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    return "".join(sorted(lines, key=str.lower))


def fits(path: Path) -> bool:
    """Tell whether a locked file can be installed here, and say where it cannot.

    It has to be for this Python and platform, and the index to have its build of torch: one for
    CUDA needs packages that are not in it.
    """
    if not path.is_file():
        print(f"{path}: there is none; the constraints say the versions, no hash is checked")
        return False
    torch = re.search(r"^torch==\S+", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert torch is not None
    ask = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", torch[0]]
    if subprocess.run(ask, capture_output=True).returncode:
        print(f"{path}: the index has no {torch[0]}; the constraints say the versions, no hash is")
        print("checked. Another index may have it: PIP_EXTRA_INDEX_URL=...")
        return False
    return True


def main() -> int:
    """Write both files for this Python and platform, or answer what the Makefile asks."""
    if sys.argv[1:] == ["--place"]:
        print(place())
        return 0
    if sys.argv[1:2] == ["--fits"]:
        return 0 if fits(Path(sys.argv[2])) else 1
    for constraints, (end, extras) in LOCKS.items():
        path = ROOT / "requirements" / f"{place()}{end}.txt"
        text = locked(chosen(constraints, extras))
        head = f"# What {constraints} comes to on {place()}; written by `make lock`.\n"
        path.write_text(head + text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
