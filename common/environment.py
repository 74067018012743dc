"""What a result depends on besides the nets: versions, machine, time."""

import os
import platform
import re
import time
from contextlib import suppress
from functools import cache
from importlib import metadata
from typing import Any

PACKAGES = ("torch", "paddlepaddle", "paddlepaddle-gpu", "numpy", "torch2paddle-seg")


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def versions() -> dict[str, str]:
    """Return the versions that a result depends on; a missing package is left out."""
    return dict(_versions())


@cache
def paddle_version() -> tuple[int, ...] | None:
    """Return the Paddle that is installed as (3, 3, 1), None without; Paddle is not imported."""
    for name in ("paddlepaddle", "paddlepaddle-gpu"):
        with suppress(metadata.PackageNotFoundError):
            return tuple(map(int, re.findall(r"\d+", metadata.version(name))[:3]))
    return None


def environment() -> dict[str, Any]:
    """Return versions, machine, threads and the time now (UTC)."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }


def memory_bytes() -> int:
    """Return the memory of this machine in bytes; 1 TB where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**40
