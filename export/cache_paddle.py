"""Exports that commands make for themselves: verified once, then opened again by their key."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from common.environment import versions
from common.files import make_folder, sha256_of
from common.words.language import phrase
from export.choice import cache_folder
from export.deployment import Deployment
from export.engine import Engine
from export.engines import open_engine
from export.make.job_paddle import ACCOUNT, Build, export_net
from export.make.onnx_paddle import is_possible

KEPT = 8  # exports; the ones used longest ago go
ROOMS = ("export", "paddle_impl", "common")  # whose code decides what an export is


def cached_engine(
    build: Build,
    deployment: Deployment,
    identity: str,
    engine: str = "auto",
    threads: int | None = None,
    progress: Callable[[str], None] = lambda words: None,
) -> Engine:
    """Return an engine for a net, exporting and verifying it unless that was done before.

    identity: what the net is, besides the weights that `deployment.weights_sha256` names: its
    options, and for code that is not this project's that code. Raises as `export_net` does.
    """
    formats = ("paddle", "onnx") if is_possible() and engine != "paddle" else ("paddle",)
    folder = cache_folder() / "exports" / f"{deployment.net}-{key(deployment, identity, formats)}"
    if not (folder / ACCOUNT).is_file():
        make_folder(folder.parent)
        progress(_said(deployment))
        export_net(build, deployment, folder, formats, force=True, progress=progress)
        _sweep(folder.parent)
    with suppress(OSError):
        os.utime(folder)
    return open_engine(folder, engine, threads)


def _said(deployment: Deployment) -> str:
    if not (deployment.height and deployment.width):
        return phrase("exporting the net for images of any size, once")
    size = f"{deployment.width}x{deployment.height}"
    return phrase("exporting the net for images of {size}, once", size=size)


def key(deployment: Deployment, identity: str, formats: tuple[str, ...]) -> str:
    """Return what an export depends on, in 16 hexadecimal digits."""
    parts = [identity, formats, asdict(deployment), versions(), _code()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _code() -> str:
    root = Path(__file__).resolve().parents[1]
    files = sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()


def _sweep(folder: Path) -> None:
    """Remove the exports that were used longest ago."""
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in found[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
