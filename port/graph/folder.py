"""The folder that is handed over: the net's source, its builder, and what was shown of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from port.graph.account import GraphAccount
from port.graph.mend import Mended

NET, BUILDER, WEIGHTS = "net.py", "builder.py", "weights.pdparams"
GUIDE, REPORT = "GRAPH.md", "graph.json"
WRITTEN = {"__init__.py", "__pycache__", NET, BUILDER, WEIGHTS, GUIDE, REPORT}


def check_graph_folder(folder: Path, force: bool) -> None:
    """Raise UserError where no net may be written into `folder`.

    A folder that holds a file which no conversion writes is never replaced.
    """
    if not folder.name.isidentifier():
        raise UserError(
            f"-o {folder}: what is written is a Python package; give a name of letters, digits "
            "and _"
        )
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / REPORT).is_file()):
        raise UserError(
            f"-o {folder}: exists, and is no net that convert_graph wrote; give another"
        )
    if any(folder.iterdir()) and not force:
        raise UserError(f"-o {folder}: exists already; --force writes another in its place")
    if others := sorted(path.name for path in folder.iterdir() if path.name not in WRITTEN):
        raise UserError(
            f"-o {folder}: holds {others[0]}, which convert_graph did not write; move it away, or "
            "give another folder"
        )


def write_sources(folder: Path, mended: Mended, source: str, version: str) -> None:
    """Write the package without its weights and reports."""
    head = (
        f"# Written by X2Paddle {version} from {source}; what was changed afterwards is marked\n"
        "# `mended`. GRAPH.md says what was shown of it.\n"
    )
    builder = (
        f'"""Builds the Paddle net that was made of {source}."""\n\n'
        f"from .net import {mended.name}\n\n\n"
        "def build():\n"
        f'    """Return the net, a paddle.nn.Layer; its weights lie in {WEIGHTS}."""\n'
        f"    return {mended.name}()\n"
    )
    for name, text in (("__init__.py", ""), (NET, head + mended.code), (BUILDER, builder)):
        (folder / name).write_text(text, encoding="utf-8")


def write_reports(folder: Path, done: Mapping[str, Any], account: GraphAccount) -> None:
    """Write what was shown, for people and for machines."""
    text = json.dumps(done, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")
    (folder / GUIDE).write_text(graph_guide(done, account), encoding="utf-8")


def graph_guide(done: Mapping[str, Any], account: GraphAccount) -> str:
    """Return the text of GRAPH.md."""
    lines = [f"# {done['source']} as a Paddle net", "", "| shown | result |", "|---|---|"]
    lines += [f"| {row['name']} | {row['words']} |" for row in done["rows"]]
    lines += _listed("Mended in net.py", done["mended"])
    lines += _listed("Not mended", done["open"])
    lines += _listed("To know", done["notes"])
    lines += ["", "## The way of every tensor", "", "| tensor | shape | became | here |"]
    lines += ["|---|---|---|---|"]
    for way in account.ways:
        here = f"`{way.target}`" if way.target else ""
        told = " ".join(filter(None, (here, way.reason)))
        lines.append(f"| `{way.name}` | {list(way.shape)} | {way.became} | {told} |")
    lines += _listed("In the net and not in the source", [f"`{one}`" for one in account.added])
    return "\n".join(lines) + "\n"


def _listed(title: str, told: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {one}" for one in told)] if told else []
