"""What X2Paddle makes of ONNX files, judged; and what `port` makes of the same nets beside it.

Nets of torchvision (its extra is `test`) at every opset from 11 to 20, folded or not, with free or
fixed sizes, and small nets of one operation each. The processes that run X2Paddle are forks of this
one, which has imported it: a conversion by the command itself starts afresh.

    python benchmarks/graphs.py               # half an hour: the tables in docs/guide/graph.md
    python benchmarks/graphs.py --only Einsum --json graphs.json
"""

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Net of torchvision, opset, constants folded, sizes free.
NETS: list[tuple[str, int, bool, bool]] = [
    ("mobilenet_v2", 11, True, False),
    ("mobilenet_v3_small", 12, False, True),
    ("shufflenet_v2_x0_5", 13, True, True),
    ("squeezenet1_1", 14, False, False),
    ("resnet18", 15, False, True),
    ("mnasnet0_5", 16, True, True),
    ("regnet_x_400mf", 17, False, False),
    ("efficientnet_b0", 18, True, True),
    ("densenet121", 19, True, False),
    ("convnext_tiny", 20, True, False),
    ("swin_t", 17, True, False),
    ("lraspp_mobilenet_v3_large", 11, True, False),
    ("lraspp_mobilenet_v3_large", 18, False, True),
    ("deeplabv3_mobilenet_v3_large", 13, False, False),
    ("deeplabv3_mobilenet_v3_large", 20, True, True),
]
SHAPES = {"net": [2, 3, 64, 64], "operation": [2, 3, 16, 16]}
OPSET = 17  # of the nets of one operation
SECONDS = 300.0


def main() -> int:
    """Run what is asked for, print one line each, write the rows."""
    from common.documents import write_text

    options = _parse()
    _import_all()
    rows = []
    for wanted in _wanted(options.only):
        with tempfile.TemporaryDirectory(prefix="graphs-") as folder:
            rows.append(_measured(wanted, Path(folder)))
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        if options.json:
            write_text(options.json, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    print(table(rows))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="names of nets (default: all)")
    parser.add_argument("--json", type=Path, help="where the rows go")
    return parser.parse_args()


def _wanted(only: Sequence[str]) -> Iterator[dict[str, Any]]:
    from benchmarks.graph_nets import NETS as OPERATIONS

    for name in OPERATIONS:
        if not only or name in only:
            kind = {"kind": "operation", "name": name, "opset": OPSET}
            yield kind | {"folded": True, "free": False}
    for name, opset, folded, free in NETS:
        if not only or name in only:
            kind = {"kind": "net", "name": name, "opset": opset}
            yield kind | {"folded": folded, "free": free}


def _import_all() -> None:
    warnings.simplefilter("ignore")
    import torch
    import x2paddle.convert  # noqa: F401

    from commands.graph import flow

    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # its operators are of another torch; none of these nets calls one
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor b, Tensor s, float t) -> Tensor"
            )
    flow.run_contained = _forked  # type: ignore[assignment]  # forks in its place


def _forked(command: Sequence[str], folder: Path, seconds: float, _: Mapping[str, str]) -> Any:
    """Run X2Paddle's process as a fork of this one."""
    from commands.graph import child
    from port.graph.contain import Ended

    start, said = time.monotonic(), folder / "said.txt"
    number = os.fork()
    if not number:
        try:
            os.setsid()
            os.chdir(folder)
            output = os.open(said, os.O_WRONLY | os.O_CREAT)
            for place in (1, 2):
                os.dup2(output, place)
            child.main(folder)
        finally:
            os._exit(0)
    code: int | None = None
    while code is None and time.monotonic() - start < seconds:
        ended, status = os.waitpid(number, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
        time.sleep(0.05)
    if code is None:
        os.killpg(number, signal.SIGKILL)
        os.waitpid(number, 0)
    words = said.read_text("utf-8", "replace") if said.exists() else ""
    return Ended(code, words, time.monotonic() - start)


def _measured(wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a row: what both ways came to, each an exit code and why."""
    start, row = time.monotonic(), dict(wanted)
    path, shape = folder / "net.onnx", SHAPES[wanted["kind"]]
    row["operators"] = _exported(wanted, path, shape)
    row["x2paddle"], row["why"] = _converted(path, shape, folder / "made", wanted["free"])
    if wanted["kind"] == "operation":
        row["port"], row["port_why"] = _ported(
            wanted["name"], shape, folder / f"port_{wanted['name'].lower()}"
        )
    return row | {"seconds": round(time.monotonic() - start, 1)}


def _exported(wanted: Mapping[str, Any], path: Path, shape: list[int]) -> list[str]:
    """Write a net as ONNX, away from its first weights; return the operators in it."""
    import onnx
    import torch

    from benchmarks.graph_nets import build
    from commands.port.nets_torch import moved

    torch.manual_seed(0)
    net = build(wanted["name"]) if wanted["kind"] == "operation" else _of_torchvision(wanted)
    moved(net, 0)
    axes = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        net.eval(),
        (torch.randn(shape),),
        str(path),
        opset_version=wanted["opset"],
        do_constant_folding=wanted["folded"],
        dynamic_axes={"image": axes} if wanted["free"] else None,
        input_names=["image"],
        training=torch.onnx.TrainingMode.EVAL
        if wanted["folded"]
        else torch.onnx.TrainingMode.PRESERVE,
        dynamo=False,
    )
    return sorted({node.op_type for node in onnx.load(str(path)).graph.node})


def _of_torchvision(wanted: Mapping[str, Any]) -> Any:
    """Return a net of torchvision; of one that segments, its first output."""
    from torch import nn

    models = importlib.import_module("torchvision.models")

    class FirstOutput(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            return self.net(x)["out"]

    if hasattr(models.segmentation, wanted["name"]):
        made = getattr(models.segmentation, wanted["name"])
        return FirstOutput(made(weights=None, weights_backbone=None))
    return getattr(models, wanted["name"])(weights=None)


def _converted(path: Path, shape: list[int], made: Path, free: bool) -> tuple[int, str]:
    from commands.graph.flow import convert_graph
    from common.errors import UserError

    other = [1, 3, shape[2] + 32, shape[3]]
    asked: dict[str, Any] = {
        "kind": "onnx", "spec": str(path), "arguments": {}, "shapes": [[shape]],
        "also": [[other]] if free else [], "inputs": [], "weights": None, "eval_only": False,
        "seed": 0, "timeout": SECONDS, "path": [],
    }  # fmt: skip
    try:
        done = convert_graph(asked, made, False, lambda words: None)
    except UserError as error:
        return error.exit_code, str(error).replace(str(path), "net.onnx")
    worst = max(done["rows"], key=lambda row: (row["code"] > 0, row["error"] or 0.0))
    return done["code"], f"{worst['name']}: {worst['words']}"


def _ported(name: str, shape: list[int], made: Path) -> tuple[int, str]:
    from commands.port.flow import write_and_prove
    from common.errors import UserError

    asked = {
        "spec": "graph_nets:build", "arguments": {"name": name}, "shapes": [[shape]],
        "inputs": [], "weights": None, "modes": ["eval", "train"], "seed": 0,
        "path": [str(ROOT / "benchmarks")],
    }  # fmt: skip
    try:
        done = write_and_prove(asked, made, False, lambda words: None)
    except UserError as error:
        return error.exit_code, str(error)
    return int(done["code"]), str(done["verdict"])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as two Markdown tables: of nets, and of operations."""
    from benchmarks.graph_nets import NETS as OPERATIONS

    said = {0: "equal", 1: "differs", 2: "could not"}
    nets = ["| net of torchvision | opset | constants | sizes | |", "|---|---:|---|---|---|"]
    operations = ["| operation | X2Paddle | `port` |", "|---|---|---|"]
    for row in rows:
        found = said[row["x2paddle"]]
        if row["kind"] == "net":
            kept = "folded" if row["folded"] else "kept"
            sizes = "free" if row["free"] else "fixed"
            nets.append(f"| `{row['name']}` | {row['opset']} | {kept} | {sizes} | {found} |")
        else:
            words = (OPERATIONS[row["name"]].__doc__ or "").strip().rstrip(".")
            operations.append(f"| {words} | {found} | {said[row['port']]} |")
    return "\n".join([*nets, "", *operations])


if __name__ == "__main__":
    raise SystemExit(main())
