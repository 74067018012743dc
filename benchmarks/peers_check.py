"""What compares two nets, called as its documentation says: run by benchmarks/peers.py.

One call judges one healthy or broken port, in the environment of the tool. "forward" is the forward
pass in eval mode, "backward" the gradients in eval mode. A tool that goes down from the net to the
first layer that differs is right where the layer that it marks, or the layer around the function
that it marks, is at fault; one that lists layers where its list is that of the layers at fault.
"""

import inspect
import random
import re
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS, BARE = "this project", "no tool: both nets run"
SEED, DRAWN = 0, 4
# net -> how many of its faults are drawn, and healthy ports by their seeds
FORWARD = {"stdc": 2, "attention": DRAWN, "zoo": DRAWN, "pyramid": DRAWN, "decoder": DRAWN}
# The faults that are drawn are loud; these two are small, and were chosen for that.
SMALL = ("epsilon of one BatchNorm", "epsilon of a head")
# Faults of gradients alone, of nets that draw nothing in eval mode.
BACKWARD = {
    "decoder": ("the frozen upsampling is trained",),
    "stdc": ("detached branch", "halved gradient between layers", "a trained weight is frozen"),
}
QUICK_START = {"atol": 1e-4, "rtol": 0, "compare_mode": "strict"}
# What PaDiff prints where it pairs no parameters; its hint is to write a LayerMap.
REFUSED = r"Err occurs when compare \w+!!!\s+(.*)"
# tool -> {setting: arguments}
CHECKERS: dict[str, dict[str, dict[str, Any]]] = {
    OURS: {"no tolerances": {}},
    BARE: {"": {}},
    "PaDiff": {
        "defaults: means, rtol 1e-7": {},
        "loosest, its README: strict, atol 1e-4": QUICK_START,
        "the same, single step": {**QUICK_START, "single_step": True},
        "tightest: strict, rtol 1e-7": {"compare_mode": "strict"},
        "the best that we found: float64, strict, atol 1e-5": {
            "float64": True, "atol": 1e-5, "rtol": 0, "compare_mode": "strict"
        },
    },
    "reprod_log": {
        "defaults: mean below 1e-6": {"diff_method": "mean", "diff_threshold": 1e-6},
        "loosest, the guide: mean below 1e-5": {"diff_method": "mean", "diff_threshold": 1e-5},
        "tightest: max below 1e-6": {"diff_method": "max", "diff_threshold": 1e-6},
        "the best that we found: float64, max below 1e-5": {
            "float64": True, "diff_method": "max", "diff_threshold": 1e-5
        },
    },
}  # fmt: skip


def cases(part: str) -> list[tuple[str, str]]:
    """Return (net, fault) of every case of a part; a healthy one has no fault."""
    if part == "backward":
        return [(net, fault) for net, faults in BACKWARD.items() for fault in ("", *faults)]
    if part == "small":
        return [("stdc", fault) for fault in SMALL]
    from tests.faults import ALL

    draw = random.Random(SEED)
    found = []
    for net, count in FORWARD.items():
        able = [f.name for f in ALL if f.subject == net and "forward" in f.blame]
        found += [(net, name) for name in ("", *sorted(draw.sample(able, count)))]
    return found


def settings_of(tool: str, part: str) -> list[str]:
    """Return the settings that a tool runs with; reprod_log's own backward takes float32 alone."""
    able = CHECKERS[tool].items()
    forced = tool == "reprod_log" and part == "backward"
    return [name for name, settings in able if not (forced and "float64" in settings)]


def clock() -> float:
    """Return the processor's seconds of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Ports:
    """A healthy or broken port beside its reference, in eval mode.

    Attributes:
        torch_net, paddle_net: the nets, with equal weights.
        inputs: what the subject gives them.
        layers: paths of the layers at fault.
        arrays: the inputs by position; those with fractions float32, or float64.
    """

    def __init__(self, part: str, net: str, fault: str, float64: bool = False) -> None:
        import numpy as np

        from tests.faults import ALL, SUBJECTS

        subject: Any = SUBJECTS[net]()
        self.layers = frozenset[str]()
        for each in ALL:
            if each.subject == net and each.name == fault:
                self.layers = each.layers("backward" if part == "backward" else "forward", subject)
                each.apply(subject)
        self.torch_net, self.paddle_net = subject.torch_net.eval(), subject.paddle_net
        self.paddle_net.eval()
        given = subject.inputs
        self.inputs = given
        values = [np.asarray(a) for a in (given.values() if isinstance(given, Mapping) else given)]
        dtype = "float64" if float64 else "float32"
        self.arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in values]
        if float64:
            self.torch_net.double()
            self.paddle_net.to(dtype="float64")

    def tensors(self) -> tuple[list[Any], list[Any]]:
        """Return the inputs as tensors of torch, and of Paddle."""
        import paddle
        import torch

        return [torch.as_tensor(a) for a in self.arrays], [paddle.to_tensor(a) for a in self.arrays]

    def names(self) -> tuple[list[str], list[str]]:
        """Return the names of what the forward of each net takes: torch's, Paddle's."""
        nets = (self.torch_net, self.paddle_net)
        found = [list(inspect.signature(type(n).forward).parameters)[1:] for n in nets]
        return found[0], found[1]


def check_ours(part: str, net: str, fault: str, options: Any, out: Any) -> dict[str, Any]:
    """Align the forward pass, or the gradients."""
    from align import align_backward, align_forward
    from tests.faults.core import found_layers

    ports = Ports(part, net, fault)
    nets = ports.torch_net, ports.paddle_net, ports.inputs
    start = clock()
    report = align_forward(*nets) if part != "backward" else align_backward(*nets, train=False)
    seconds = round(clock() - start, 2)
    if report.exit_code == 2:
        return {"crash": "could not check", "seconds": seconds}
    right = found_layers(report) == ports.layers if fault else None
    return {"detected": report.exit_code == 1, "right": right, "seconds": seconds}


def check_bare(part: str, net: str, fault: str, options: Any, out: Any) -> dict[str, Any]:
    """Run both nets and compare nothing: what any comparison costs at least."""
    ports = Ports(part, net, fault)
    theirs, ours = ports.tensors()
    start = clock()
    for run, tensors in ((ports.torch_net, theirs), (ports.paddle_net, ours)):
        outputs = run(*tensors)
        if part == "backward":
            loss_of(outputs).backward()
    return {"detected": False, "right": None, "seconds": round(clock() - start, 2)}


def loss_of(outputs: Any) -> Any:
    """Return the sum of the means of all outputs."""
    from align.arrays.trees import leaves

    return sum(tensor.mean() for tensor in leaves(outputs))


def check_padiff(part: str, net: str, fault: str, options: Any, out: Any) -> dict[str, Any]:
    """Compare with PaDiff, as deep as the part asks for."""
    from padiff import auto_diff

    settings = dict(options)
    ports = Ports(part, net, fault, settings.pop("float64", False))
    settings["diff_phase"] = "both" if part == "backward" else "forward"
    named = zip(ports.names(), ports.tensors(), strict=True)
    theirs, ours = (dict(zip(names, tensors, strict=False)) for names, tensors in named)
    log = Path("diff_log") / "grad_diff.log"
    log.unlink(missing_ok=True)
    marked, before = _marked_by_padiff(), len(out.getvalue())
    start = clock()
    same = auto_diff(
        ports.paddle_net, ports.torch_net, (ours, theirs), auto_weights=False, options=settings
    )
    seconds = round(clock() - start, 2)
    if not marked and (refused := re.search(REFUSED, out.getvalue()[before:])):
        return {"crash": f"could not compare: {refused[1]}", "seconds": seconds}
    if marked:
        right = _right_mark(ports, marked[0])
    else:
        listed = log.read_text(encoding="utf-8") if log.exists() else ""
        paths = re.findall(r"paddle path:\n +\w+\.?(\S*?)\.?\w+\n", listed)
        right = bool(paths) and set(paths) == ports.layers
    told = {"says": str(marked[0])} if marked else {}
    return {"detected": not same, "right": right if fault else None, "seconds": seconds, **told}


def _marked_by_padiff() -> list[Any]:
    """Return a list that gets the nodes of the tree of layers and functions that PaDiff marks."""
    checker: Any = sys.modules["padiff.trainer.Checker"]
    found: list[Any] = []
    printed = inspect.unwrap(checker.print_info)

    def print_info(*arguments: Any, **named: Any) -> None:
        found.append(named["p_root"])
        printed(*arguments, **named)

    print_info.__wrapped__ = printed  # type: ignore[attr-defined]  # as functools.wraps leaves it
    checker.print_info = print_info
    return found


def _right_mark(ports: Ports, node: Any) -> bool:
    """Tell whether the node that PaDiff marks is at fault.

    It looks at no layer without parameters of its own: the layer around stands for it, or the
    function that is marked in there. The whole net stands for itself alone.
    """
    layers = dict(ports.paddle_net.named_sublayers(include_self=True))
    layer = node.father.net if node.is_api else node.net
    if layer is not ports.paddle_net or node.is_api:
        seen = _looked_at(node)
        around = {_nearest(path, layers, seen) for path in ports.layers}
        return id(layer) in around
    return "" in ports.layers


def _nearest(path: str, layers: Mapping[str, Any], seen: set[int]) -> int:
    """Return the id of the layer at `path`, or of the nearest one around it that is `seen`."""
    while id(layers[path]) not in seen:
        path = path.rpartition(".")[0]
    return id(layers[path])


def _looked_at(node: Any) -> set[int]:
    """Return the ids of all layers of the tree that holds a node."""
    while node.father is not None:
        node = node.father
    seen, left = set(), [node]
    while left:
        node = left.pop()
        seen.add(id(node.net))
        left += node.children
    return seen


def check_reprod_log(part: str, net: str, fault: str, options: Any, out: Any) -> dict[str, Any]:
    """Log every output of both nets, as the guide's first checkpoint does; or its own backward."""
    settings = dict(options)
    ports = Ports(part, net, fault, settings.pop("float64", False))
    start = clock()
    if part == "backward":
        said = _reprod_log_backward(ports, settings, out)
        failed = re.findall(r"(\S+)\.\w+: \n\t\w+ diff: check passed: False", said)
        right = set(failed) == ports.layers if fault else None
    else:
        said, right = _reprod_log_forward(ports, settings), None
    seconds = round(clock() - start, 2)
    return {"detected": "diff check failed" in said, "right": right, "seconds": seconds}


def _reprod_log_forward(ports: Ports, settings: Mapping[str, Any]) -> str:
    import paddle
    import torch
    from reprod_log import ReprodDiffHelper, ReprodLogger

    from align.arrays.trees import leaves

    theirs, ours = ports.tensors()
    with torch.no_grad(), paddle.no_grad():
        outputs = {"torch": ports.torch_net(*theirs), "paddle": ports.paddle_net(*ours)}
    for side, tree in outputs.items():
        log = ReprodLogger()
        for index, tensor in enumerate(leaves(tree)):
            log.add(f"output_{index}", tensor.numpy())
        log.save(f"{side}.npy")
    helper = ReprodDiffHelper()
    helper.compare_info(helper.load_info("torch.npy"), helper.load_info("paddle.npy"))
    Path("diff.log").unlink(missing_ok=True)
    helper.report(path="diff.log", **settings)
    return Path("diff.log").read_text(encoding="utf-8")


def _reprod_log_backward(ports: Ports, settings: Mapping[str, Any], out: Any) -> str:
    from reprod_log.compare import compare_loss_and_backward

    def loss(given: Any, outputs: Any) -> dict[str, Any]:
        return {"loss": loss_of(outputs)}

    inputs = dict(zip(ports.names()[0], ports.arrays, strict=False))
    before = len(out.getvalue())
    nets = ports.torch_net, ports.paddle_net
    compare_loss_and_backward(*nets, loss, loss, inputs, **settings)
    return out.getvalue()[before:]


CHECKS = {
    OURS: check_ours, BARE: check_bare, "PaDiff": check_padiff, "reprod_log": check_reprod_log
}  # fmt: skip


def check(tool: str, setting: str, part: str, case: Sequence[str], out: Any) -> dict[str, Any]:
    """Judge one port with one tool; `out` gets what is printed."""
    return CHECKS[tool](part, case[0], case[1], CHECKERS[tool][setting], out)
