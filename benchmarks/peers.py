"""PaDiff, reprod_log, X2Paddle and PaConvert beside this project, on the same nets.

Each peer gets an environment of its own (made once, in the cache folder, beside the frameworks
that run this script). What compares (peers_check.py) gets the same healthy ports and ports broken
on purpose as docs/proof/faults.py has, one fault at a time: of each net the faults of the forward
pass that a drawn seed picks, two small ones, and some of gradients alone. It runs at its defaults
and at the loosest and the tightest setting of its own documentation; weights are equal already. A
crash is counted as such. What converts (peers_convert.py) gets three nets. What each needs is
measured too. What a run has measured is kept until it ends: a second one goes on where the first
was stopped, as long as no line of what it measures has changed.

    python benchmarks/peers.py                     # half an hour on one core
    python benchmarks/peers.py --only PaDiff       # one peer anew; the others' rows stay
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import peers_check, peers_convert
from benchmarks.peers_check import BARE, CHECKERS, OURS, ROOT, clock
from benchmarks.peers_convert import CONVERTED, GRAPH, PORT, TOOLS

RESULTS = ROOT / "docs" / "proof" / "peers.json"
LIMIT_S = 3600  # that a process may take for what one tool has to do in one part
PARTS = ("forward", "small", "backward")
# PaConvert 3.3.1 writes names of nn that Paddle 3.3 has not: 3.3.0 is the newest that runs here.
PEERS = {
    "PaDiff": ("padiff==0.2.0",),
    "reprod_log": ("reprod_log==1.0.1",),
    "X2Paddle": ("x2paddle==1.6.0", "six", "requests"),
    "PaConvert": ("paconvert==3.3.0",),
}
# Of what the cells of a part depend on: files and folders of this repository.
CODE = ("align", "common", "convert", "tests/faults", "paddle_impl", "torch_ref")
OF_CONVERSIONS = ("commands", "port", "tools", "benchmarks/peers_convert.py")
# name -> (what is installed, what a user imports)
NEEDS = {
    OURS: ("torch2paddle-seg", ("align", "convert", "port.port")),
    "PaDiff": ("padiff", ("padiff",)),
    "reprod_log": ("reprod_log", ("reprod_log",)),
    "X2Paddle": ("x2paddle", ("x2paddle.convert",)),
    "PaConvert": ("paconvert", ("paconvert.main",)),
}
ROOMS = ("align", "commands", "common", "convert", "export", "paddle_impl", "port", "torch_ref")
Cell = tuple[str, str, str, str, str]  # part, tool, setting, net, fault
Row = dict[str, Any]


def main() -> int:
    """Measure, write the results, print where."""
    options = _parse()
    if options.child:
        return _child(json.loads(options.child), Path(options.into))
    results, load = options.results, os.getloadavg()[0]
    known = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    names = options.only or [OURS, *PEERS]
    cells = [cell for cell in all_cells(options.nets) if owner(cell[1]) in names]
    kept = Kept(options.kept, options.anew)
    for group in groups(cells):
        measure(group, kept)
    measured = {key: dict(known.get(key, {})) for key in ("checks", "conversions", "needs")}
    for tool in dict.fromkeys(cell[1] for cell in cells):
        own = [(cell, kept.rows[cell]) for cell in cells if cell[1] == tool]
        place = "conversions" if tool in TOOLS else "checks"
        measured[place][tool] = converted(own) if tool in TOOLS else checked(own)
    for name in names:
        cell = ("needs", name, "", "", "")
        if cell not in kept.rows:
            kept.add(cell, needs_of(name))
        measured["needs"][name] = kept.rows[cell]
        cells.append(cell)
    dates = known.get("dates", {}) | dict.fromkeys(names, date.today().isoformat())
    _write(measured | {"dates": dates, "load": [round(load, 1), round(os.getloadavg()[0], 1)]},
           results)  # fmt: skip
    kept.forget(cells)
    print(f"written: {results}")
    return 0


def _parse() -> argparse.Namespace:
    from export.choice import cache_folder

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    nets = [*peers_check.FORWARD, *CONVERTED]
    kept = cache_folder() / "peers" / "run.jsonl"
    parser.add_argument("--only", nargs="+", choices=[OURS, *PEERS], help="these, anew")
    parser.add_argument("--nets", nargs="+", choices=nets, default=nets, help="these alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    parser.add_argument("--kept", type=Path, default=kept, help="what a stopped run measured")
    parser.add_argument("--anew", action="store_true", help="drop what a stopped run measured")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    return parser.parse_args()


def _write(measured: Mapping[str, Any], results: Path) -> None:
    from common.documents import write_text
    from common.environment import versions

    pins = {name: wanted[0] for name, wanted in PEERS.items()}
    head = {"versions": versions(), "peers": pins, "cores": os.cpu_count()}
    write_text(results, json.dumps({**measured, **head}, indent=1) + "\n")


# What is measured, and what of it a stopped run has left.


def all_cells(nets: Sequence[str]) -> list[Cell]:
    """Return what a whole run measures, on some nets."""
    found = [
        (part, tool, setting, net, fault)
        for part in PARTS
        for tool in CHECKERS
        for setting in peers_check.settings_of(tool, part)
        for net, fault in peers_check.cases(part)
        if net in nets
    ]
    found += [("convert", tool, "", net, "") for net in CONVERTED for tool in TOOLS if net in nets]
    return found


def owner(tool: str) -> str:
    """Return whose environment a tool's cells count for."""
    return OURS if tool in (BARE, PORT, GRAPH) else tool


def groups(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Return the cells that one process measures: of one tool and part, or one conversion."""
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        part, tool, _, net, _ = cell
        found.setdefault((part, tool, net if part == "convert" else ""), []).append(cell)
    return list(found.values())


class Kept:
    """The rows of a run on disk, a line each; those of other code are left alone and not taken."""

    def __init__(self, path: Path, anew: bool) -> None:
        self.path, self.rows = path, dict[Cell, Row]()
        path.parent.mkdir(parents=True, exist_ok=True)
        if anew:
            path.unlink(missing_ok=True)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError, KeyError):  # the line that a kill cut
                entry = json.loads(line)
                part, tool, setting, net, fault = entry["cell"]
                if entry["mark"] == mark(part):
                    self.rows[part, tool, setting, net, fault] = entry["row"]

    def add(self, cell: Cell, row: Row) -> None:
        """Keep one row."""
        self.rows[cell] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"cell": cell, "mark": mark(cell[0]), "row": row}) + "\n")

    def forget(self, cells: Iterable[Cell]) -> None:
        """Leave no row of a run that has ended, so that the next one measures anew."""
        if set(self.rows) <= set(cells):
            self.path.unlink(missing_ok=True)


@cache
def mark(part: str) -> str:
    """Return what stands for the code and the frameworks that a part's rows were measured with."""
    from common.environment import versions

    names = [*CODE, *(OF_CONVERSIONS if part == "convert" else ("benchmarks/peers_check.py",))]
    files = [f for name in names for f in sorted((ROOT / name).rglob("*")) or [ROOT / name]]
    digest = hashlib.sha256(json.dumps([versions(), PEERS]).encode())
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


# Environments.


def environment_of(name: str) -> Path:
    """Return the Python of a tool's environment, made where it is not there."""
    from export.choice import cache_folder

    name = "X2Paddle" if name == GRAPH else name
    if name not in PEERS:
        return Path(sys.executable)
    folder = cache_folder() / "peers" / name
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = " ".join(PEERS[name])
    if not ready.exists() or ready.read_text(encoding="utf-8") != wanted:
        print(f"installing {name} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        limits = ["-c", str(ROOT / "constraints.txt")]
        install = [str(python), "-m", "pip", "install", "--quiet", *limits, *PEERS[name]]
        subprocess.run(install, check=True)
        ready.write_text(wanted, encoding="utf-8")
    own = next((folder / "lib").glob("python*")) / "site-packages"
    frameworks = sysconfig.get_paths()["purelib"]
    (own / "frameworks.pth").write_text(frameworks + "\n", encoding="utf-8")
    return python


# Processes.


def measure(group: Sequence[Cell], kept: "Kept") -> None:
    """Measure the cells of a group that are not kept yet.

    A process that dies leaves a row that says so, and another goes on behind it.
    """
    part, tool, _, net, _ = group[0]
    python = environment_of(tool)
    while left := [cell for cell in group if cell not in kept.rows]:
        print(f"{part}: {tool} {net} ({len(left)})", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            into = Path(folder) / "rows.jsonl"
            told = _run_child(python, left, Path(folder), into)
            lines = into.read_text(encoding="utf-8").splitlines() if into.exists() else []
        rows = [json.loads(line) for line in lines]
        for cell, row in zip(left, rows, strict=False):
            kept.add(cell, row)
        if len(rows) < len(left):
            kept.add(left[len(rows)], {"crash": told[:300], "seconds": 0.0, "disk": 0.0})


def _run_child(python: Path, cells: Sequence[Cell], folder: Path, into: Path) -> str:
    """Run a process over the cells; return how it ended."""
    command = [str(python), str(Path(__file__).resolve()), "--child", json.dumps(cells)]
    place = folder / "here"
    place.mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, "--into", str(into)], cwd=place, env=environment,
            capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done in {LIMIT_S} s"
    return f"exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}"


def _child(cells: Sequence[Sequence[str]], into: Path) -> int:
    """Measure each cell in this process and write a row for it; the first says the memory."""
    sys.path.insert(0, os.getcwd())  # PaDiff writes beside the first entry
    for number, cell in enumerate(cells):
        start = clock()
        row = _measured(cell)
        row.setdefault("seconds", round(clock() - start, 2))
        files = [path.stat().st_size for path in Path.cwd().rglob("*") if path.is_file()]
        row["disk"] = round(sum(files) / 1e6, 2)
        if not number and "crash" not in row:  # some tools keep what earlier calls left
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            row.setdefault("megabytes", round(peak))
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return 0


def _measured(cell: Sequence[str]) -> Row:
    part, tool, setting, *case = cell
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            if part == "convert":
                return peers_convert.convert(tool, case[0])
            return peers_check.check(tool, setting, part, case, out)
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())
        return {"crash": f"{type(error).__name__}: {words}"[:300]}


# Sums.


def checked(own: Sequence[tuple[Cell, Row]]) -> list[Row]:
    """Return one row a part and setting of one tool."""
    found: dict[tuple[str, str], list[tuple[Cell, Row]]] = {}
    for cell, row in own:
        found.setdefault((cell[0], cell[2]), []).append((cell, row))
    peaks = {part: max((row.get("megabytes", 0) for cell, row in own if cell[0] == part), default=0)
             for part in PARTS}  # fmt: skip
    return [
        {"part": part, "setting": setting, **summed(rows), "megabytes": peaks[part]}
        for (part, setting), rows in found.items()
    ]


def summed(rows: Sequence[tuple[Cell, Row]]) -> Row:
    """Return what the rows of one part and setting come to, and what came of every case."""
    broken = [row for cell, row in rows if cell[4]]
    healthy = [row for cell, row in rows if not cell[4]]
    return {
        "broken": len(broken),
        "detected": sum(row.get("detected", False) for row in broken),
        "right": sum(bool(row.get("right")) for row in broken),
        "names_layers": any(row.get("right") is not None for row in broken),
        "healthy": len(healthy),
        "alarms": sum(row.get("detected", False) for row in healthy),
        "crashes": sum("crash" in row for row in broken),
        "crashes_healthy": sum("crash" in row for row in healthy),
        "seconds": round(sum(row["seconds"] for _, row in rows), 1),
        "disk": max(row["disk"] for _, row in rows),
        "of_cases": [
            {"net": cell[3], "fault": cell[4]}
            | {key: value for key, value in row.items() if key not in ("disk", "megabytes")}
            for cell, row in rows
        ],
    }


def converted(own: Sequence[tuple[Cell, Row]]) -> list[Row]:
    """Return one row a net of one tool."""
    return [{"net": cell[3], **row} for cell, row in own]


# What each needs.


def needs_of(name: str) -> Row:
    """Return the megabytes that a tool adds to torch and Paddle, and what it imports without."""
    python = environment_of(name)
    distribution, modules = NEEDS[name]
    row: Row = {"megabytes": round(float(_said(python, SIZE, distribution)), 1)}
    if name == OURS:
        files = [f for room in ROOMS for f in (ROOT / room).rglob("*") if f.suffix != ".pyc"]
        own = sum(f.stat().st_size for f in files if f.is_file()) / 1e6
        row["megabytes"] = round(row["megabytes"] + own, 1)
    for framework in ("torch", "paddle"):
        good = _said(python, WITHOUT, framework, *modules) == "good"
        row[f"without_{framework}"] = good
    return row


def _said(python: Path, code: str, *arguments: str) -> str:
    command = [str(python), "-c", code, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    return (done.stdout.strip().splitlines() or [""])[-1]


# The files of a distribution and of all that it requires, but torch and Paddle; in megabytes.
SIZE = """
import re, sys
from importlib.metadata import PackageNotFoundError, distribution
left, seen, size = [sys.argv[1]], set(), 0
while left:
    name = re.sub("[-_.]+", "-", left.pop()).lower()
    if name in seen or name in ("torch", "paddlepaddle", "paddlepaddle-gpu"):
        continue
    seen.add(name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        continue
    paths = [found.locate_file(file) for file in found.files or ()]
    size += sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
    left += [re.match("[\\w.-]+", r)[0] for r in found.requires or () if "extra ==" not in r]
print(size / 1e6)
"""
WITHOUT = """
import importlib, sys
sys.modules[sys.argv[1]] = None
for name in sys.argv[2:]:
    importlib.import_module(name)
print("good")
"""


if __name__ == "__main__":
    sys.exit(main())
