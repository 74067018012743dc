"""STDC1-Seg at 512x1024 on two cores, full-size logits: every way to run it, against PyTorch.

Each way is a process of its own; ways take turns, and the fastest run of each counts, so that a
busy machine hits all alike. The ratios are what matters; the operators of the two engines, with
their times, stand below them.

No engine can be faster than the machine multiplies: "products alone" is the time of the net's
products at the speed of the fastest matrix product measured in the same run. A way is good that
has the ratio asked of it, or needs at most 15 % more than that.

    python benchmarks/inference.py              # some minutes
    python benchmarks/inference.py --rounds 5 --json
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402 - the checkout is on the path only now
from commands.deploy.benchmark import possible
from commands.deploy.measure.ways import EXPORTED, WAYS, Measured, Task, measured, merged

CONFIG, SHAPE, THREADS = ROOT / "configs" / "stdc1.yml", (1, 3, 512, 1024), 2
LEAST = {"paddle": 1.7, "onnxruntime": 2.5}  # times as fast as torch, contiguous
EARLY = 3.5  # the better engine with classes chosen before the last resize
NEAR = 1.15  # Paddle Inference, in units of ONNX Runtime; any, in units of its products alone
EARLIER = ", early argmax"
ALONE = "products alone, at this machine's speed"
SHOWN = 12  # operators


def main() -> int:
    """Print ratios and operators; exit 1 where a ratio is below what is asked for."""
    args = _parse()
    ways, absent = possible(list(WAYS))
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        logits, early = Path(folder) / "logits", Path(folder) / "early"
        formats = ("paddle", "onnx") if "onnxruntime" in ways else ("paddle",)
        _export(logits, formats)
        _export(early, formats, output="argmax", early_argmax=True)
        speed = _products_a_second()
        found = _rounds(args, ways, logits, early)
        speed = max(speed, _products_a_second())
        operators = {way: _operators(logits, way) for way in ways if way in EXPORTED}
    result = _result(found, operators, absent, speed)
    print(json.dumps(result, indent=2) if args.json else _told(result))
    return 0 if result["good"] else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way")
    parser.add_argument("--runs", type=int, default=15, help="of each process")
    parser.add_argument("--folder", help="where the exports go (default: the temporary folder)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _export(folder: Path, formats: tuple[str, ...], **given: Any) -> None:
    from commands.deploy.subject_paddle import subject_of
    from commands.subjects.named.config import read_config
    from export.make.job_paddle import export_net

    subject = subject_of(read_config(CONFIG), None)
    deployment = subject.deployment(height=SHAPE[2], width=SHAPE[3], **given)
    export_net(subject.build, deployment, folder, formats)


def _rounds(
    args: argparse.Namespace, ways: list[str], logits: Path, early: Path
) -> dict[str, Measured]:
    found: dict[str, list[Measured]] = {}
    for _ in range(args.rounds):
        for way in ways:
            found.setdefault(way, []).append(_measured(args, way, logits))
            if way in EXPORTED:
                found.setdefault(f"{way}{EARLIER}", []).append(_measured(args, way, early))
    return {name: merged(runs) for name, runs in found.items()}


def _products_a_second() -> float:
    """Return how many products of a sum this machine makes in its fastest matrix product."""
    import torch

    torch.set_num_threads(THREADS)
    best = 0.0
    for size in (512, 1024, 2048):
        a, b = torch.randn(size, size), torch.randn(size, size)
        for _ in range(12):
            begin = time.perf_counter()
            a @ b
            best = max(best, size**3 / (time.perf_counter() - begin))
    return best


def _measured(args: argparse.Namespace, way: str, folder: Path) -> Measured:
    return measured(Task(way, str(CONFIG), (), None, str(folder), SHAPE, THREADS, 3, args.runs))


def _operators(folder: Path, way: str) -> dict[str, float]:
    """Return the seconds of each kind of operator in one run, most first."""
    from export.engines import open_engine

    image = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    if way == "paddle":
        from export.profile_paddle import operators

        engine = open_engine(folder, way, THREADS)
        engine.run(image)
        found = operators(lambda: engine.run(image))
    else:
        found = _of_onnxruntime(folder / "model.onnx", image)
    return dict(Counter(found).most_common(SHOWN))


def _of_onnxruntime(model: Path, image: np.ndarray) -> dict[str, float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = THREADS, True
    options.profile_file_prefix = str(model.with_name("profile"))
    session = onnxruntime.InferenceSession(str(model), options)
    for _ in range(2):
        session.run(None, {session.get_inputs()[0].name: image})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: Counter[str] = Counter()
    nodes = [event for event in events if event.get("cat") == "Node" and "op_name" in event["args"]]
    for event in nodes[len(nodes) // 2 :]:  # the second run
        found[event["args"]["op_name"]] += event["dur"] / 1e6
    return dict(found)


def _result(
    found: dict[str, Measured],
    operators: dict[str, dict[str, float]],
    absent: dict[str, str],
    speed: float,
) -> dict[str, Any]:
    macs = next(run.macs for run in found.values() if run.macs)
    seconds = {name: min(run.seconds) for name, run in found.items()}
    torch = seconds.get("torch")
    ratios = {name: torch / value for name, value in seconds.items()} if torch else {}
    good = all(
        ratios.get(way, 0) >= least or seconds.get(way, math.inf) <= NEAR * macs / speed
        for way, least in LEAST.items()
        if way not in absent
    )
    return {
        "milliseconds": {name: value * 1e3 for name, value in seconds.items()},
        "times_as_fast_as_torch": ratios,
        "products_alone_ms": macs / speed * 1e3,
        "asked": LEAST | {"early argmax": EARLY, "paddle / onnxruntime": NEAR},
        "operators_s": operators,
        "absent": absent,
        "good": good and bool(ratios),
    }


def _told(result: dict[str, Any]) -> str:
    lines = [f"STDC1-Seg, {SHAPE[2]}x{SHAPE[3]}, {THREADS} threads, fastest run of each"]
    for name, value in result["milliseconds"].items():
        way, comma, rest = name.partition(",")
        ratio = result["times_as_fast_as_torch"].get(name)
        shown = f"{ratio:.2f} x torch" if ratio else ""
        lines.append(f"{WAYS[way] + comma + rest:40} {value:8.1f} ms  {shown}")
    alone = result["products_alone_ms"]
    lines.append(f"{ALONE:40} {alone:8.1f} ms")
    for way, operators in result["operators_s"].items():
        total = sum(operators.values()) or 1.0
        lines.append(f"operators, {WAYS[way]}:")
        lines += [
            f"  {name:36} {value * 1e3:8.1f} ms {value / total:6.1%}"
            for name, value in operators.items()
        ]
    lines += [f"{WAYS[way]}: {name} is not installed" for way, name in result["absent"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
