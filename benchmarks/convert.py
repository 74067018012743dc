"""Time and memory of a conversion, as ratios against the plain way and against X2Paddle.

The plain way is what one writes without this project: torch.load, transpose, paddle.save. Each run
is a process of its own; times are the minimum of the runs and leave imports out; memory is the peak
of anonymous memory (RssAnon) above that of the process before it starts.

    python benchmarks/convert.py            # 1 GB, five runs each: some minutes
    python benchmarks/convert.py --megabytes 200 --runs 3
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

WIDTH = 2048  # of the square Linears: 16 MB each, half of all tensors
ALLOWED_TIME, ALLOWED_MB = 1.0, 256


def main() -> int:
    """Print the ratios; exit 1 where one is above what is allowed."""
    args = _parse()
    if args.worker:
        print(json.dumps(_measured(WORKERS[args.worker], Path(args.folder))))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        _make(Path(folder), args.megabytes)
        ways = ["plain", "ours", "ours, no checksum", "legacy"]
        results = _run_all(ways, Path(folder), args.runs)
        good = _report(results, args.megabytes)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        _against_x2paddle(Path(folder), args.runs)
    return 0 if good else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _make(folder: Path, megabytes: int) -> None:
    """Write a checkpoint of square Linears and convolutions of 16 MB each, in both formats."""
    import torch

    count = max(1, megabytes // 32)
    state: dict[str, Any] = {}
    for i in range(count):
        state[f"fc.{i}.weight"] = torch.randn(WIDTH, WIDTH)
        state[f"fc.{i}.bias"] = torch.randn(WIDTH)
        state[f"conv.{i}.weight"] = torch.randn(WIDTH, WIDTH // 4, 2, 2)
        state[f"conv.{i}.bias"] = torch.randn(WIDTH)
    torch.save(state, folder / "net.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    (folder / "count").write_text(str(count))


def _layer(folder: Path) -> Any:
    """Return the Paddle net that the checkpoint fills, without memory for its weights."""
    import paddle

    count = int((folder / "count").read_text())
    with paddle.LazyGuard():
        net = paddle.nn.Layer()
        net.fc = paddle.nn.LayerList([paddle.nn.Linear(WIDTH, WIDTH) for _ in range(count)])
        net.conv = paddle.nn.LayerList(
            [paddle.nn.Conv2D(WIDTH // 4, WIDTH, 2) for _ in range(count)]
        )
    return net


def _plain(folder: Path) -> Callable[[], Any]:
    import paddle
    import torch

    def run() -> None:
        state = torch.load(folder / "net.pth", map_location="cpu", weights_only=True)
        arrays = {key: value.numpy() for key, value in state.items()}
        for key in arrays:
            if key.startswith("fc.") and key.endswith("weight"):
                arrays[key] = arrays[key].T.copy()
        paddle.save(arrays, str(folder / "plain.pdparams"))

    return run


def _ours(folder: Path, name: str = "net.pth", checksum: bool = True) -> Callable[[], Any]:
    from convert import convert_checkpoint

    layer = _layer(folder)

    def run() -> None:
        output = folder / "ours.pdparams"
        convert_checkpoint(folder / name, output, layer, force=True, checksum=checksum)

    return run


def _x2paddle(folder: Path) -> Callable[[], Any]:
    import importlib

    import torch

    from torch_ref.seeded import build_seeded

    net = build_seeded("stdc2_seg")
    net.load_state_dict(torch.load(folder / "stdc2.pth", weights_only=True))
    net.eval()
    image = torch.zeros(1, 3, 64, 96)
    convert = importlib.import_module("x2paddle.convert")

    def run() -> None:
        convert.pytorch2paddle(
            net, str(folder / "x2paddle"), "trace", [image], disable_feedback=True
        )

    return run


def _ours_stdc(folder: Path) -> Callable[[], Any]:
    from convert import convert_checkpoint

    def run() -> None:
        convert_checkpoint(folder / "stdc2.pth", folder / "ours.pdparams", force=True)

    return run


WORKERS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "plain": _plain,
    "ours": _ours,
    "ours, no checksum": lambda folder: _ours(folder, checksum=False),
    "legacy": lambda folder: _ours(folder, "legacy.pth"),
    "x2paddle": _x2paddle,
    "ours, STDC2": _ours_stdc,
}


def _measured(prepare: Callable[[Path], Callable[[], Any]], folder: Path) -> dict[str, float]:
    """Return seconds and peak MB of anonymous memory of one run, in this process."""
    run = prepare(folder)
    before, peak, done = _anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"seconds": seconds, "megabytes": max(0.0, peak[0] - before)}


def _anonymous() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def _run_all(ways: list[str], folder: Path, runs: int) -> dict[str, dict[str, float]]:
    """Return the minimum of each way; ways take turns, so that a busy machine hits all alike."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            command = [sys.executable, __file__, "--worker", way, "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        way: {
            "seconds": min(run["seconds"] for run in measured),
            "megabytes": max(run["megabytes"] for run in measured),
        }
        for way, measured in found.items()
    }


def _report(results: dict[str, dict[str, float]], megabytes: int) -> bool:
    plain = results["plain"]
    print(
        f"{megabytes} MB, half of it transposed; plain way: {plain['seconds']:.2f} s, "
        f"{plain['megabytes']:.0f} MB"
    )
    for way, found in results.items():
        if way != "plain":
            ratio = found["seconds"] / plain["seconds"]
            memory = found["megabytes"] / plain["megabytes"]
            print(
                f"{way:20} {ratio:.2f} x the time ({found['seconds']:.2f} s), {memory:.3f} x the "
                f"memory ({found['megabytes']:.0f} MB)"
            )
    ours = results["ours"]
    return (
        ours["seconds"] <= ALLOWED_TIME * plain["seconds"]
        and ours["megabytes"] <= ALLOWED_MB + WIDTH * WIDTH * 4 / 2**20
    )


def _against_x2paddle(folder: Path, runs: int) -> None:
    import importlib.util

    if importlib.util.find_spec("x2paddle") is None:
        print("X2Paddle is not installed: no comparison (pip install x2paddle six)")
        return
    import torch

    from torch_ref.seeded import build_seeded

    torch.save(build_seeded("stdc2_seg").state_dict(), folder / "stdc2.pth")
    try:
        results = _run_all(["x2paddle", "ours, STDC2"], folder, runs)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:]
        print(f"X2Paddle fails on STDC2: {last}")
        return
    theirs, ours = results["x2paddle"], results["ours, STDC2"]
    print(
        f"STDC2 against X2Paddle: {ours['seconds'] / theirs['seconds']:.2f} x the time "
        f"({ours['seconds']:.2f} s, {theirs['seconds']:.2f} s), "
        f"{ours['megabytes'] / theirs['megabytes']:.2f} x the memory "
        f"({ours['megabytes']:.0f} MB, {theirs['megabytes']:.0f} MB)"
    )


if __name__ == "__main__":
    sys.exit(main())
