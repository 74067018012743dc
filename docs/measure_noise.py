"""Measures what rounding does to a correct port and to one wrong epsilon, for docs/faq.md.

STDC1 as a classifier, seeded weights, one image batch; prints the table of the page.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NET, SHAPE = "stdc1_cls", (2, 3, 224, 320)
WRONG = "features.2.conv_list.0.bn"


class Result:
    """Output and gradients of one run."""

    def __init__(self, output: np.ndarray, gradients: dict[str, np.ndarray]) -> None:
        self.output, self.gradients = output.astype(np.float64), gradients


def run_torch(net: Any, dtype: str, train: bool) -> Result:
    """Run the reference on the batch, and back from a fixed cotangent."""
    import torch

    net = net.to(getattr(torch, dtype)).train(train)
    image, cotangent = batch(dtype)
    net.zero_grad()
    output = net(torch.from_numpy(image))
    output.backward(torch.from_numpy(cotangent))
    named = net.named_parameters()
    return Result(
        output.detach().numpy(), {n: p.grad.numpy().copy() for n, p in named if p.grad is not None}
    )


def run_paddle(net: Any, dtype: str, train: bool) -> Result:
    """Run the port likewise."""
    import paddle

    net.to(dtype=dtype)
    net.train() if train else net.eval()
    image, cotangent = batch(dtype)
    net.clear_gradients()
    output = net(paddle.to_tensor(image))
    (output * paddle.to_tensor(cotangent)).sum().backward()
    named = [(n, p) for n, p in net.named_parameters() if not p.stop_gradient]
    return Result(
        output.numpy(), {n: p.grad.numpy().copy() for n, p in named if p.grad is not None}
    )


def batch(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return image and cotangent, the same for every run."""
    draw = np.random.default_rng(0)
    image, cotangent = draw.standard_normal(SHAPE), draw.standard_normal((SHAPE[0], 1000))
    return image.astype(np.float32).astype(dtype), cotangent.astype(np.float32).astype(dtype)


def off(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference as a share of the largest value of `theirs`."""
    ours = ours.T if ours.shape != theirs.shape else ours
    return float(np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max())


def worst_gradient(ours: Result, theirs: Result) -> float:
    """Return the largest `off` of a convolution's or BatchNorm's gradient."""
    named = [n for n, g in theirs.gradients.items() if g.ndim in (1, 4)]
    return max(off(ours.gradients[n], theirs.gradients[n]) for n in named)


def measure() -> dict[str, list[str]]:
    """Return the rows of the table: float32 both, reference in both, float64 both."""
    import torch

    from commands.subjects.rows import seeded_pair

    torch.set_num_threads(1)
    reference, port = seeded_pair(NET, 0)
    for layer in (*reference.modules(), *port.sublayers()):
        if type(layer).__name__ == "Dropout":
            layer.p = 0.0  # masks of the two frameworks are never the same
    rows: dict[str, list[str]] = {}
    t32, t64 = (run_torch(reference, dtype, False) for dtype in ("float32", "float64"))
    p32, p64 = (run_paddle(port, dtype, False) for dtype in ("float32", "float64"))
    pairs = (p32, t32), (t32, t64), (p64, t64)
    rows["output, eval mode"] = [f"{off(a.output, b.output):.0e}" for a, b in pairs]
    dict(port.named_sublayers())[WRONG]._epsilon = 2e-5
    w32, w64 = (run_paddle(port, dtype, False) for dtype in ("float32", "float64"))
    wrong = f"{off(w32.output, t32.output):.0e}", "", f"{off(w64.output, t64.output):.0e}"
    rows["output, eval mode, one epsilon wrong"] = list(wrong)
    dict(port.named_sublayers())[WRONG]._epsilon = 1e-5
    t32, t64 = (run_torch(reference, dtype, True) for dtype in ("float32", "float64"))
    p32, p64 = (run_paddle(port, dtype, True) for dtype in ("float32", "float64"))
    pairs = (p32, t32), (t32, t64), (p64, t64)
    rows["worst gradient, train mode"] = [f"{worst_gradient(a, b):.0e}" for a, b in pairs]
    return rows


def main() -> int:
    """Print the table."""
    print("| | float32: port, reference | reference: float32, float64 | float64: port, reference |")
    print("|---|---|---|---|")
    for name, cells in measure().items():
        print(f"| {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
