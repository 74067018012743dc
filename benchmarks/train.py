"""A training step of STDC1-Seg: images a second in Paddle, in torch, and in PaddleSeg's own net.

The paper's recipe (configs/stdc1.yml) on a stated crop and batch. Each side is a process of its
own, and they take turns; of each the fastest step counts, with one thread by the processor's clock.
Where a step's time goes, forward with its loss, backward, update, stands beside what one process
needs to read and augment its batch. PaddleSeg's STDCSeg is that of `pip install paddleseg==2.8.0`
(--peer: the Python of an environment of its own), with our loss: its OHEM raises on Paddle 3.3.1.
It has no head that nothing reads; the authors' net computes three of them in training, and so
does ours, for their BatchNorms' statistics are saved: ours without them stands beside it, and is
what is judged. With them it is 0.87 x as fast as PaddleSeg's, which is their forward pass. Of a
step of ours 82 % are convolutions, 7 % the resizes of the class maps, 6 % cross-entropy
(paddle.profiler, one thread): Paddle's kernels, of which none can be left out.

    python benchmarks/train.py                                  # some minutes on one core
    python benchmarks/train.py --crop 512 1024 --batch 2 --threads 2 --peer peer/bin/python
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CONFIG = ROOT / "configs" / "stdc1.yml"
KINDS = {
    "paddle": "ours",
    "same_heads": "ours, PaddleSeg's heads",
    "torch": "torch reference",
    "paddleseg": "PaddleSeg's STDCSeg",
}
PHASES = ("forward", "backward", "update")
WARM_UP, RENDERED = 1, (1024, 2048)
LEAST, NOISE = 1.0, 0.05  # times as fast as PaddleSeg's; what two runs of one code differ by


def main() -> int:
    """Print a table of all sides; exit 1 where ours with PaddleSeg's heads is slower than it."""
    options = _parse()
    if options.kind:
        print(json.dumps(measure(options)))
        return 0
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    absent: dict[str, str] = {}
    for _ in range(options.rounds):
        for kind in KINDS:
            if kind not in absent:
                row = _child(kind, options)
                if "failure" in row:
                    absent[kind] = row["failure"]
                else:
                    found[kind].append(row)
    result = _result(options, {kind: rows for kind, rows in found.items() if rows}, absent)
    print(json.dumps(result, indent=2) if options.json else _told(result))
    return 0 if result["good"] else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crop", type=int, nargs=2, default=(256, 512), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=4, help="images of a step")
    parser.add_argument("--threads", type=int, default=1, help="of the kernels")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=3, help="of each process, after one more")
    parser.add_argument("--peer", default=sys.executable, help="the Python that has paddleseg")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--kind", choices=(*KINDS, "data"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one kind in a process of its own; {"failure": why} where it cannot run."""
    python = options.peer if kind == "paddleseg" else sys.executable
    command = [python, __file__, "--kind", kind, "--crop", *options.crop, "--batch", options.batch]
    command += ["--threads", options.threads, "--steps", options.steps]
    threads = {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}
    if kind != "torch":
        threads["OMP_NUM_THREADS"] = "1"  # Paddle's kernels follow MKL's number
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={**os.environ, **threads}
    )
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    if lines and lines[-1].startswith("{"):
        row: dict[str, Any] = json.loads(lines[-1])
        return row
    return {"failure": (done.stderr.strip().splitlines() or ["no result"])[-1]}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of every step, phase by phase, of one kind."""
    settings = _settings(options)
    if options.kind == "data":
        return _data(settings, options.steps)
    image, label = _batch(settings)
    forward, backward, update = (_torch if options.kind == "torch" else _paddle)(
        settings, image, label, options.kind
    )
    rows, now = [], _clock(options.threads)
    for _ in range(WARM_UP + options.steps):
        times = [now()]
        loss = forward()
        times.append(now())
        backward(loss)
        times.append(now())
        update()
        times.append(now())
        rows.append({name: times[k + 1] - times[k] for k, name in enumerate(PHASES)})
    return {"steps": rows[WARM_UP:], "loss": float(loss)}


def _clock(threads: int) -> Callable[[], float]:
    """Return the clock: of one thread the processor's, which other programs do not slow down."""
    return time.process_time if threads == 1 else time.perf_counter


def _settings(options: argparse.Namespace) -> Any:
    from commands.subjects.named.config import read_config

    sizes = [f"data.crop_hw=[{options.crop[0]},{options.crop[1]}]", "data.cards=1"]
    return read_config(CONFIG, (*sizes, f"data.batch_size={options.batch}", "data.workers=0"))


def _batch(settings: Any) -> tuple[Any, Any]:
    """Return a made image [N, 3, H, W] and label [N, H, W], of blocks, a tenth of them void."""
    import numpy as np

    rng, (height, width) = np.random.default_rng(0), settings.data.crop_hw
    count = settings.data.batch_size
    image = rng.standard_normal((count, 3, height, width)).astype(np.float32)
    blocks = rng.integers(0, 21, (count, height // 32 + 1, width // 32 + 1))
    label = np.kron(blocks, np.ones((32, 32), np.int64))[:, :height, :width]
    return image, np.where(label > 18, 255, label).astype(np.int64)


Step = tuple[Callable[[], Any], Callable[[Any], None], Callable[[], None]]


def _torch(settings: Any, image: Any, label: Any, kind: str) -> Step:
    import torch

    from commands.subjects.named.parts_torch import TorchParts
    from common.training.net_side import loss_parts
    from torch_ref.optim import set_lr

    side = TorchParts(settings).side("cpu")
    side.net.train()
    set_lr(side.optimizer, 0.01)
    given = torch.from_numpy(image), torch.from_numpy(label)

    def update() -> None:
        side.optimizer.step()
        side.optimizer.zero_grad(set_to_none=True)

    return (
        lambda: loss_parts(side.criterion, side.net(given[0]), given[1])["loss"],
        lambda loss: loss.backward(),
        update,
    )


def _paddle(settings: Any, image: Any, label: Any, kind: str) -> Step:
    import paddle

    from commands.subjects.named.parts_paddle import PaddleParts
    from common.training.net_side import loss_parts
    from paddle_impl.optim import set_lr

    parts = PaddleParts(settings)
    if kind == "paddleseg":
        peer = import_module("paddleseg.models")
        net, criterion = peer.STDCSeg(settings.model.num_classes, peer.STDC1()), parts.criterion()
        made = [*net.parameters(), *criterion.parameters()]
        optimizer = paddle.optimizer.Momentum(0.01, 0.9, made, weight_decay=5e-4)
    else:
        side = parts.side("cpu")
        net, criterion, optimizer = side.net, side.criterion, side.optimizer
        if kind == "same_heads":
            _leave_out_heads(net)
        set_lr(optimizer, 0.01)
    net.train()
    given = paddle.to_tensor(image), paddle.to_tensor(label)

    def update() -> None:
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)

    return (
        lambda: loss_parts(criterion, net(given[0]), given[1])["loss"],
        lambda loss: loss.backward(),
        update,
    )


def _leave_out_heads(net: Any) -> None:
    """Leave out the heads that the authors compute in training and nothing reads."""
    from paddle_impl.losses.stdc import DETAIL_HEADS

    every = DETAIL_HEADS[max(DETAIL_HEADS)]
    for name in (*(f"conv_out_{head}" for head in every), "conv_out_sp16"):
        if name not in net.detail_heads:
            getattr(net, name).forward = lambda x: x


def _data(settings: Any, steps: int) -> dict[str, Any]:
    """Return the seconds in which one process reads and augments a batch of 1024x2048 frames."""
    from common.data.toy import write_toy_cityscapes
    from common.training.feed import open_data, training_batches

    with tempfile.TemporaryDirectory() as folder:
        count = settings.data.batch_size
        write_toy_cityscapes(Path(folder), train=count, val=1, size_hw=RENDERED)
        data = settings.data.model_copy(update={"root": folder})
        chosen = settings.model_copy(update={"data": data})
        batches, seconds = training_batches(open_data(chosen).train, chosen), []
        for _ in range(WARM_UP + steps):
            start = time.process_time()
            next(batches)
            seconds.append(time.process_time() - start)
    return {"data": min(seconds[WARM_UP:])}


def _result(
    options: argparse.Namespace, found: dict[str, list[dict[str, Any]]], absent: dict[str, str]
) -> dict[str, Any]:
    rows = {}
    for kind, runs in found.items():
        fastest = min((step for run in runs for step in run["steps"]), key=_total)
        speed = options.batch / _total(fastest)
        rows[kind] = {**fastest, "step": _total(fastest), "images_per_s": speed}
    data = _child("data", options)
    ours = rows["paddle"]["step"] if "paddle" in rows else None
    ratios = {kind: row["step"] / ours for kind, row in rows.items()} if ours else {}
    if "paddleseg" in rows and "same_heads" in rows:
        ratios["paddleseg"] = rows["paddleseg"]["step"] / rows["same_heads"]["step"]
    return {
        "shape": [options.batch, 3, *options.crop],
        "threads": options.threads,
        "sides": rows,
        "times_as_fast_as": ratios,
        "data_s": data.get("data"),
        "absent": absent | ({"data": data["failure"]} if "failure" in data else {}),
        "good": bool(ratios) and ratios.get("paddleseg", LEAST) >= LEAST - NOISE,
    }


def _total(step: dict[str, float]) -> float:
    return sum(step[name] for name in PHASES)


def _told(result: dict[str, Any]) -> str:
    threads = result["threads"]
    clock = "of the processor" if threads == 1 else "by the clock"
    lines = [
        f"a training step of {result['shape']} (N, 3, H, W), {threads} thread(s), the fastest of "
        f"each side; seconds {clock}",
        f"{'':25}{'images/s':>9}" + "".join(f"{name:>10}" for name in (*PHASES, "step")),
    ]
    for kind, row in result["sides"].items():
        times = "".join(f"{row[name]:8.3f} s" for name in (*PHASES, "step"))
        lines.append(f"{KINDS[kind]:25}{row['images_per_s']:9.2f}{times}")
    if result["data_s"] is not None:
        lines.append(f"data: one process reads and augments a batch in {result['data_s']:.3f} s")
    lines += [
        f"{KINDS.get(kind, kind)}: not measured: {why}" for kind, why in result["absent"].items()
    ]
    shares = ", ".join(
        f"{ratio:.2f} x as fast as {KINDS[kind]}"
        for kind, ratio in result["times_as_fast_as"].items()
        if kind not in ("paddle", "same_heads")
    )
    return "\n".join([*lines, f"STDC1-Seg {result['shape']}, training in Paddle: {shares}"])


if __name__ == "__main__":
    sys.exit(main())
