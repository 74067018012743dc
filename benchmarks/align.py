"""Time and memory of the forward and backward rungs against the two bare float64 passes.

Ratios within one run, each the minimum of three; memory is the peak of a process of its own, less
that of one that only imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REPEATS = 3
SHAPE = (2, 3, 128, 192)
KINDS = ("import", "torch", "paddle", "forward", "backward")


def work(kind: str) -> Callable[[], Any]:
    """Return one run of `kind` on STDC1-Seg: a bare forward and backward pass, or a rung."""
    import paddle
    import torch

    from align import align_backward, align_forward
    from align.subjects import seeded_input, seeded_pair

    torch.set_num_threads(1)
    torch_net, paddle_net = seeded_pair("stdc1_seg", 0)
    image = seeded_input(SHAPE, 0)
    if kind == "forward":
        return lambda: align_forward(torch_net, paddle_net, [image], train=True)
    if kind == "backward":
        return lambda: align_backward(torch_net, paddle_net, [image])
    if kind == "torch":
        torch_net.double()
        return lambda: sum(out.sum() for out in torch_net(torch.from_numpy(image))).backward()
    paddle.set_default_dtype("float64")
    paddle_net.to(dtype="float64")
    return lambda: sum(out.sum() for out in paddle_net(paddle.to_tensor(image))).backward()


def measure(kind: str) -> dict[str, float]:
    """Return seconds (the minimum) and peak memory in MB of this process."""
    seconds = 0.0
    if kind == "import":
        import paddle  # noqa: F401
        import torch  # noqa: F401
    else:
        run = work(kind)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        seconds = min(times)
    return {"s": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> int:
    """Measure every kind in a process of its own and print the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.kind:
        print(json.dumps(measure(options.kind)))
        return 0
    found = {}
    for kind in KINDS:
        command = [sys.executable, __file__, "--kind", kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[kind] = json.loads(done.stdout.splitlines()[-1])
    bare_s = found["torch"]["s"] + found["paddle"]["s"]
    base = found["import"]["mb"]
    bare_mb = max(found["torch"]["mb"], found["paddle"]["mb"]) - base
    words = [
        f"align_{kind} {found[kind]['s'] / bare_s:.1f} x the time, "
        f"{(found[kind]['mb'] - base) / bare_mb:.1f} x the memory"
        for kind in ("forward", "backward")
    ]
    print(f"STDC1-Seg {list(SHAPE)}, bare {bare_s:.1f} s and {bare_mb:.0f} MB: {'; '.join(words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
