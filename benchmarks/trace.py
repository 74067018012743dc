"""Time and memory of a stored trace: recording it, forcing a port on it, judging it again.

Against the bare pass of the reference, float64, in train mode, of a seeded row of the table. Every
figure is of a process of its own, as such halves run: processor time without imports and building
nets, and the peak of the process. "less imports": the peak above that of a process which imports
the same framework alone.

    python benchmarks/trace.py                        # some minutes on one core
    python benchmarks/trace.py --input-shape 2 3 128 192 --json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

STAGES = ("forward", "backward")
WORKS = ("bare", "record", "force", "keep", "judge")
FRAMEWORK = {"bare": "torch", "record": "torch", "force": "paddle", "keep": "paddle", "judge": ""}


def main() -> int:
    """Measure every work in a process of its own and print the ratios."""
    options = _parse()
    if options.work:
        print(json.dumps(measure(options)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        imports = {name: _child(options, "import", name)["mb"] for name in ("torch", "paddle", "")}
        for stage in STAGES:
            rows += _rows(options, stage, Path(folder) / stage, imports)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        _print(options, rows)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="stdc1_seg", help="a row of the table")
    parser.add_argument("--input-shape", type=int, nargs=4, default=[2, 3, 256, 512])
    parser.add_argument("--folder", help="where traces are written while this runs")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--trace", help=argparse.SUPPRESS)
    return parser.parse_args()


def _rows(
    options: argparse.Namespace, stage: str, trace: Path, imports: dict[str, float]
) -> list[dict[str, Any]]:
    """Return one row a work, as ratios to the bare pass of `stage`."""
    found = {work: _child(options, work, stage, trace) for work in WORKS}
    bare, base = found["bare"], imports["torch"]
    return [
        {
            "stage": stage,
            "work": work,
            "s": round(figures["s"], 2),
            "mb": round(figures["mb"]),
            "time": round(figures["s"] / bare["s"], 2),
            "memory": round(figures["mb"] / bare["mb"], 2),
            "less_imports": round(
                (figures["mb"] - imports[FRAMEWORK[work]]) / (bare["mb"] - base), 2
            ),
            "trace_mb": round(figures["trace_mb"]),
        }
        for work, figures in found.items()
    ]


def _child(
    options: argparse.Namespace, work: str, stage: str, trace: Path | None = None
) -> dict[str, float]:
    """Return the figures of a process of its own."""
    print(f"measuring {work} {stage} ...", file=sys.stderr)
    shape = map(str, options.input_shape)
    command = [sys.executable, __file__, "--model", options.model, "--input-shape", *shape]
    command += ["--work", work, "--stage", stage, "--trace", str(trace)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{work} {stage}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Do `options.work` in this process and return its figures."""
    run = _work(options)
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = list(Path(options.trace).glob("*"))
    return {
        "s": seconds,
        "mb": peak,
        "trace_mb": sum(file.stat().st_size for file in files if file.is_file()) / 1e6,
    }


def _work(options: argparse.Namespace) -> Callable[[], Any]:
    """Return what is measured; what stands around it is done."""
    backward = options.stage == "backward"
    if options.work == "import":
        if options.stage:
            __import__(options.stage)
        return int
    if options.work in ("bare", "record"):
        return _torch_work(options, backward)
    if options.work == "judge":
        from align import judge_trace

        return lambda: _aligned(judge_trace(options.trace))
    import paddle

    import paddle_impl
    from align import force_trace

    paddle.set_default_dtype("float64")
    port = paddle_impl.build_model(options.model)
    keep = options.work == "keep"
    return lambda: _aligned(force_trace(port, options.trace, keep=keep))


def _torch_work(options: argparse.Namespace, backward: bool) -> Callable[[], Any]:
    import torch

    from align import record_trace
    from commands.subjects.inputs import seeded_input
    from torch_ref.seeded import build_seeded

    torch.set_num_threads(1)
    net = build_seeded(options.model, 0)
    image = seeded_input(tuple(options.input_shape), 0)
    if options.work == "record":
        return lambda: record_trace(net, [image], options.trace, train=True, backward=backward)
    net.double().train()
    tensor = torch.from_numpy(image)

    def bare() -> None:
        with torch.set_grad_enabled(backward):
            outputs = net(tensor)
        if backward:
            sum(out.sum() for out in outputs).backward()

    return bare


def _aligned(report: Any) -> None:
    if not report.aligned:
        raise RuntimeError(report.verdict)


def _print(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print one line and a table of all figures."""
    words = [
        f"{row['work']} {row['stage']} {row['time']:.0f} x the time, {row['memory']:.1f} x memory"
        for row in rows
        if row["work"] in ("record", "force")
    ]
    print(f"{options.model} {options.input_shape}, against the bare pass: {'; '.join(words)}\n")
    head = f"{'stage':<10}{'work':<8}{'s':>8}{'MB':>8}{'time x':>8}"
    print(f"{head}{'memory x':>10}{'less imports':>14}{'trace MB':>10}")
    for row in rows:
        figures = f"{row['stage']:<10}{row['work']:<8}{row['s']:>8.1f}{row['mb']:>8}"
        ratios = f"{row['time']:>8.2f}{row['memory']:>10.2f}{row['less_imports']:>14.2f}"
        print(f"{figures}{ratios}{row['trace_mb']:>10}")


if __name__ == "__main__":
    sys.exit(main())
