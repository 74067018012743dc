"""Time and memory of the forward and backward rungs against bare float64 passes of both sides.

The forward rung is divided by forward passes, the backward rung by forward and backward passes.

On STDC1-Seg and on stacks of 5, 10, 20 (and 40) Conv-BN-ReLU of 64 channels at 256x256; PaDiff
0.2.0 beside it where it is installed (the extra `peers`), up to 10 blocks. Every figure is of a
process of its own: processor time without imports, the minimum of some runs; memory is the peak of
the process after the first run. A bare process imports one framework; bare memory is the larger of
the two peaks. "less imports": the same of what comes on top of the imports.

    python benchmarks/align.py                        # about five minutes on one core
    python benchmarks/align.py --deep                 # four more
    python benchmarks/align.py --quick --csv cost.csv --picture cost.png
"""

import argparse
import csv
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHAPE = (2, 3, 128, 192)
STACK_SHAPE = (1, 64, 256, 256)
DEPTHS, QUICK, DEEPEST = (5, 10, 20), (5, 10), 40
RUNGS = ("forward", "backward", "padiff")
SMALL = 10  # beyond this depth only the backward rung is measured, and once


@dataclass(frozen=True)
class Figures:
    """Seconds and megabytes of one kind of work; `failure` says why there are none."""

    seconds: float = 0.0
    megabytes: float = 0.0
    failure: str = ""


def main() -> int:
    """Measure every kind in a process of its own and print the ratios."""
    options = _parse()
    if options.kind:
        with redirect_stdout(sys.stderr):
            found = measure(options.kind, options.depth, options.runs)
        print(json.dumps(vars(found)))
        return 0
    imports = {
        kind: _child(f"import {kind}", 0, 1).megabytes for kind in ("torch", "paddle", "both")
    }
    rows = []
    depths = (0, *(QUICK if options.quick else DEPTHS), *([DEEPEST] if options.deep else []))
    for depth in depths:
        rows += _ratios(depth, imports)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        _print(rows)
    if options.csv:
        _write_csv(rows, options.csv)
    if options.picture:
        _draw(rows, options.picture)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="stacks of 5 and 10 blocks only")
    parser.add_argument("--deep", action="store_true", help="also a stack of 40 blocks")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--csv", type=Path, help="also write the rows to this file")
    parser.add_argument("--picture", type=Path, help="also draw the ratios over depth (PNG)")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--depth", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def _ratios(depth: int, imports: dict[str, float]) -> list[dict[str, Any]]:
    """Return one row a rung; depth 0 is STDC1-Seg. `imports`: megabytes of importing processes.

    The forward rung is divided by bare forward passes, the others by forward and backward.
    """
    runs = 1 if depth else 3
    rows = []
    bare: dict[str, dict[str, Figures]] = {}
    for rung in RUNGS if depth <= SMALL else ("backward",):
        passes = "forward" if rung == "forward" else "both"
        if passes not in bare:
            kinds = {framework: f"{framework} {passes}" for framework in ("torch", "paddle")}
            bare[passes] = {one: _child(kind, depth, runs) for one, kind in kinds.items()}
        alone = bare[passes]
        seconds = sum(figures.seconds for figures in alone.values())
        megabytes = max(figures.megabytes for figures in alone.values())
        on_top = max(figures.megabytes - imports[one] for one, figures in alone.items())
        figures = _child(rung, depth, 1 if rung == "padiff" else runs)
        name = f"{depth} blocks" if depth else "STDC1-Seg"
        row: dict[str, Any] = {"net": name, "rung": rung}
        row |= {"bare_s": round(seconds, 2), "bare_mb": round(megabytes)}
        if figures.failure:
            row |= {"time": None, "memory": None, "less_imports": None, "failure": figures.failure}
        else:
            row |= {
                "time": round(figures.seconds / seconds, 2),
                "memory": round(figures.megabytes / megabytes, 2),
                "less_imports": round((figures.megabytes - imports["both"]) / on_top, 2),
                "failure": "",
            }
        rows.append(row)
    return rows


def _child(kind: str, depth: int, runs: int) -> Figures:
    """Return the figures of a process of its own."""
    print(f"measuring {kind}, {depth or 'STDC1-Seg'} ...", file=sys.stderr)
    command = [sys.executable, __file__, "--kind", kind, "--depth", str(depth)]
    with tempfile.TemporaryDirectory() as folder:  # PaDiff writes into the folder it runs in
        done = subprocess.run(
            [*command, "--runs", str(runs)], capture_output=True, text=True, cwd=folder
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        if kind != "padiff":
            raise RuntimeError(f"{kind}, depth {depth}: {lines[-1]}")
        return Figures(failure=lines[-1])
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def measure(kind: str, depth: int, runs: int) -> Figures:
    """Run `kind` in this process and return its figures."""
    if kind.startswith("import "):
        for framework in ("torch", "paddle"):
            if kind.endswith((framework, "both")):
                importlib.import_module(framework)
        return Figures(megabytes=_peak())
    framework, _, passes = kind.partition(" ")
    run = bare_passes(framework, depth, passes == "both") if passes else work(kind, depth)
    times, megabytes = [], 0.0
    for _ in range(runs):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
        megabytes = megabytes or _peak()
    return Figures(min(times), megabytes)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bare_passes(framework: str, depth: int, backward: bool) -> Callable[[], Any]:
    """Return float64 passes of one framework, which alone is imported; forward records for none."""
    import numpy as np

    image = np.random.default_rng(0).standard_normal(shape_of(depth))
    if framework == "torch":
        import torch

        import torch_ref

        torch.set_num_threads(1)
        net = torch_stack(depth) if depth else torch_ref.build_model("stdc1_seg")
        torch_image = torch.from_numpy(image)
        net.double().train()
        if not backward:
            return torch.no_grad()(lambda: net(torch_image))
        return lambda: total(net(torch_image)).backward()
    import paddle

    import paddle_impl

    paddle.set_default_dtype("float64")
    port = paddle_stack(depth) if depth else paddle_impl.build_model("stdc1_seg")
    paddle_image = paddle.to_tensor(image)
    port.train()
    if not backward:
        return paddle.no_grad()(lambda: port(paddle_image))
    return lambda: total(port(paddle_image)).backward()


def shape_of(depth: int) -> tuple[int, ...]:
    """Return the input's shape; depth 0 is STDC1-Seg."""
    return STACK_SHAPE if depth else SHAPE


def work(kind: str, depth: int) -> Callable[[], Any]:
    """Return one run of `kind`: a rung, or PaDiff."""
    import paddle
    import torch

    from align import align_backward, align_forward
    from commands.subjects.inputs import seeded_input
    from commands.subjects.rows import seeded_pair

    torch.set_num_threads(1)
    torch_net, paddle_net = stacks(depth) if depth else seeded_pair("stdc1_seg", 0)
    image = seeded_input(shape_of(depth), 0)
    if kind == "forward":
        return lambda: _aligned(align_forward(torch_net, paddle_net, [image], train=True))
    if kind == "backward":
        return lambda: _aligned(align_backward(torch_net, paddle_net, [image]))
    torch_image = torch.from_numpy(image).double()
    paddle_image = paddle.to_tensor(image.astype("float64"))
    torch_net.double()
    paddle.set_default_dtype("float64")
    paddle_net.to(dtype="float64")
    sys.path.insert(0, os.getcwd())  # PaDiff deletes and writes diff_log in the first entry
    from padiff import auto_diff

    inputs = ({"x": paddle_image}, {"x": torch_image})
    return lambda: _passed(auto_diff(paddle_net, torch_net, inputs, options={"atol": 1e-6}))


def _aligned(report: Any) -> None:
    if not report.aligned:
        raise RuntimeError(report.verdict)


def _passed(same: bool) -> None:
    if not same:  # one False for a difference and for layers that it cannot match
        raise RuntimeError("PaDiff does not pass this healthy pair")


def total(outputs: Any) -> Any:
    """Return the sum of everything a net returns."""
    return sum(out.sum() for out in (outputs if isinstance(outputs, (tuple, list)) else [outputs]))


def stacks(depth: int) -> tuple[Any, Any]:
    """Return `depth` Conv-BN-ReLU of 64 channels in torch, and their port with its weights."""
    from align.pairing.fill import load_state
    from convert import convert_state

    reference, port = torch_stack(depth), paddle_stack(depth)
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def torch_stack(depth: int) -> Any:
    """Return `depth` Conv-BN-ReLU of 64 channels in torch."""
    from torch import nn

    class Reference(nn.Module):  # PaDiff fails on a root that is a Sequential
        def __init__(self) -> None:
            super().__init__()
            blocks = [
                (nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
                for _ in range(depth)
            ]
            self.body = nn.Sequential(*(layer for block in blocks for layer in block))

        def forward(self, x: Any) -> Any:
            return self.body(x)

    return Reference()


def paddle_stack(depth: int) -> Any:
    """Return the same in Paddle."""
    from paddle import nn

    from paddle_impl.layers import BatchNorm2D

    class Port(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            blocks = [
                (nn.Conv2D(64, 64, 3, padding=1, bias_attr=False), BatchNorm2D(64), nn.ReLU())
                for _ in range(depth)
            ]
            self.body = nn.Sequential(*(layer for block in blocks for layer in block))

        def forward(self, x: Any) -> Any:
            return self.body(x)

    return Port()


def _passes(rung: str) -> str:
    return "bare forward passes" if rung == "forward" else "bare forward and backward passes"


def _print(rows: list[dict[str, Any]]) -> None:
    """Print one line for STDC1-Seg and a table of all ratios."""
    stdc = [row for row in rows if row["net"] == "STDC1-Seg" and row["rung"] != "padiff"]
    words = [
        f"align_{row['rung']} {row['time']:.1f} x the time, {row['memory']:.1f} x the memory of "
        f"{_passes(row['rung'])} ({row['bare_s']:.1f} s, {row['bare_mb']} MB)"
        for row in stdc
    ]
    print(f"STDC1-Seg {list(SHAPE)}: {'; '.join(words)}\n")
    head = f"{'net':<12}{'rung':<10}{'bare s':>8}{'bare MB':>9}{'time x':>8}"
    print(f"{head}{'memory x':>10}{'less imports':>14}")
    for row in rows:
        figures = f"{row['net']:<12}{row['rung']:<10}{row['bare_s']:>8.1f}{row['bare_mb']:>9}"
        if row["failure"]:
            print(f"{figures}  does not run: {row['failure']}")
        else:
            print(f"{figures}{row['time']:>8.2f}{row['memory']:>10.2f}{row['less_imports']:>14.2f}")


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    from common.files import whole_file

    with whole_file(path) as draft, draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and memory over depth, one line a rung."""
    from matplotlib.figure import Figure

    from common.files import write_picture

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("time", "memory"), strict=True):
        for rung in RUNGS:
            points = [
                (int(row["net"].split()[0]), row[what])
                for row in rows
                if row["rung"] == rung and row["net"].endswith("blocks") and not row["failure"]
            ]
            if points:
                name = "PaDiff 0.2.0" if rung == "padiff" else f"align_{rung}"
                axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(xlabel="Conv-BN-ReLU blocks", ylabel=f"{what} / bare passes")
        axes.set_ylim(bottom=0)
        axes.legend()
    write_picture(figure, path)


if __name__ == "__main__":
    sys.exit(main())
