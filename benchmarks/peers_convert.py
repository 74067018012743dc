"""What converts a net, called as its documentation says, and the judge that all share.

benchmarks/peers.py runs this in the environment of the tool. What a tool wrote is loaded as its
user would, both nets run in float64, and by numbers alone, for names may differ: all outputs in
eval and in train mode, the gradients of the input and of every weight (the sorted norms of those
that are not zero), and the running means after one pass in train mode (each has to be one of the
reference's). Nothing random is on: dropout is set to 0.
"""

import copy
import importlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PORT, GRAPH = "this project: port", "this project: convert_graph"
SEED = 0
AGREES = 1e-6  # of the largest magnitude, in float64; some of Paddle's kernels are off by 1e-8
# net -> what builds it, its arguments, the shape of its input
CONVERTED: dict[str, tuple[str, dict[str, str], tuple[int, ...]]] = {
    "STDC1, plain BatchNorm": (
        "torch_ref.models.stdc:BiSeNet", {"head_norm": "bn"}, (2, 3, 64, 64)
    ),
    "U-Net, an eighth wide": ("torch_ref.models.unet:UNet", {"base": "8"}, (2, 3, 32, 48)),
    "torchvision's ResNet-18": ("torchvision.models:resnet18", {}, (2, 3, 64, 64)),
}  # fmt: skip
WEIGHTS, OUTPUT = Path("given.pth"), "made"


def reference(net: str) -> tuple[Any, Any]:
    """Return a torch net whose weights and statistics are all seeded, and its input."""
    import torch
    from torch import nn

    from port.record.stand_ins.operators_torch import lent

    spec, arguments, shape = CONVERTED[net]
    module, _, name = spec.partition(":")
    values = {key: int(word) if word.isdigit() else word for key, word in arguments.items()}
    torch.manual_seed(SEED)
    built = getattr(lent(lambda: importlib.import_module(module)), name)(**values)
    for layer in built.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor, 0.0, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return built.eval(), torch.randn(shape)


def built() -> Any:
    """Return the net of PEERS_NET: what needs no source may have it by another name."""
    return reference(os.environ["PEERS_NET"])[0]


def convert(tool: str, net: str) -> dict[str, Any]:
    """Convert with one tool in a process of its own; load what it wrote and judge it."""
    import torch

    given, image = reference(net)
    torch.save(given.state_dict(), WEIGHTS)
    run, load = TOOLS[tool]
    before = clock()
    done = run(net)
    row = {"seconds": round(clock() - before, 2), "exit": done.returncode}
    row["megabytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    try:
        port = load(net, given)
    except (Exception, SystemExit) as error:
        told = (done.stderr + done.stdout).strip().splitlines() or [""]
        why = told[-1] if done.returncode else f"{type(error).__name__}: {error}"
        return {**row, "crash": " ".join(why.split())[:300]}
    return {**row, **judged(given, port, image)}


def clock() -> float:
    """Return the processor's seconds of the processes that this one waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _run(command: list[str], net: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PEERS_NET": net}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment
    )


# The tools.


def run_port(net: str) -> Any:
    """Port the net by its source; the command proves what it wrote, and that counts as its time."""
    spec, arguments, shape = CONVERTED[net]
    command = [str(ROOT / "tools" / "port.py"), spec, "--input-shape", *map(str, shape)]
    given = [f"{key}={value}" for key, value in arguments.items()]
    command += ["--args", *given] if given else []
    return _run([*command, "--weights", str(WEIGHTS), "-o", OUTPUT], net)


def run_graph(net: str) -> Any:
    """Convert the traced net through X2Paddle; mending and judging count as its time."""
    shape = map(str, CONVERTED[net][2])
    command = [
        str(ROOT / "tools" / "convert_graph.py"),
        "benchmarks.peers_convert:built",
        "--input-shape",
    ]
    return _run([*command, *shape, "--weights", str(WEIGHTS), "-o", OUTPUT], net)


def load_package(net: str, given: Any) -> Any:
    """Return the net of a package that one of our commands wrote, with its weights."""
    import paddle

    sys.path.insert(0, str(Path.cwd()))
    port = importlib.import_module(f"{OUTPUT}.builder").build()
    weights = next(Path(OUTPUT).rglob("*.pdparams"))
    missing, unexpected = port.set_state_dict(paddle.load(str(weights)))
    if missing or unexpected:
        raise ValueError(f"weights do not fit: {missing}, {unexpected}")
    return port


def run_x2paddle(net: str) -> Any:
    """Convert the traced net."""
    code = (
        "import os; from benchmarks import peers_convert; "
        "from x2paddle.convert import pytorch2paddle; "
        "net, image = peers_convert.reference(os.environ['PEERS_NET']); "
        f"pytorch2paddle(net, '{OUTPUT}', 'trace', [image], disable_feedback=True)"
    )
    return _run(["-c", code], net)


def load_x2paddle(net: str, given: Any) -> Any:
    """Return the net of the code that was written, built as its own `main` does."""
    import paddle

    file = Path(OUTPUT) / "x2paddle_code.py"
    code = file.read_text(encoding="utf-8")
    space: dict[str, Any] = {"__name__": "x2paddle_code"}
    exec(compile(code, str(file), "exec"), space)
    found = re.search(r"model = (\w+)\(\)", code)
    assert found, "its main builds no model"
    port = space[found[1]]()
    port.set_state_dict(paddle.load(str(Path(OUTPUT) / "model.pdparams")))
    return port


def run_paconvert(net: str) -> Any:
    """Convert the files that the net is made of."""
    package = CONVERTED[net][0].partition(".")[0]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] == package and file and file.endswith(".py"):
            home = Path(importlib.import_module(package).__file__ or "").parent.parent
            place = Path("given") / Path(file).relative_to(home)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    command = ["-m", "paconvert.main", "-i", f"given/{package}", "-o", f"{OUTPUT}/{package}"]
    return _run(command, net)


def load_paconvert(net: str, given: Any) -> Any:
    """Return the net of the converted files; lines that PaConvert leaves to a person stay torch's.

    It converts no weights: those of the same name and shape go in, those of Linear turned.
    """
    spec, arguments, _ = CONVERTED[net]
    package, values = spec.partition(".")[0], {}
    for file in Path(OUTPUT).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"^>>>>>>", "", text, flags=re.MULTILINE), encoding="utf-8")
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
    sys.path.insert(0, str(Path(OUTPUT).resolve()))
    module, _, name = spec.partition(":")
    values = {key: int(word) if word.isdigit() else word for key, word in arguments.items()}
    port = getattr(importlib.import_module(module), name)(**values)
    assert f"{OUTPUT}{os.sep}{package}" in str(sys.modules[package].__file__)
    _fill(port, given)
    return port


def _fill(port: Any, given: Any) -> None:
    import paddle

    arrays = {key: value.numpy() for key, value in given.state_dict().items()}
    left = {id(tensor): key for key, tensor in port.state_dict().items()}
    for key, tensor in port.state_dict().items():
        theirs = key.replace("._mean", ".running_mean").replace("._variance", ".running_var")
        if theirs not in arrays:
            continue  # another name of a shared tensor, or it is told below
        left.pop(id(tensor), None)
        array = arrays[theirs]
        layer = reduce(getattr, key.split(".")[:-1], port)  # a shared one has several names
        array = array.T if isinstance(layer, paddle.nn.Linear) and array.ndim == 2 else array
        if list(array.shape) != list(tensor.shape):
            raise ValueError(f"{key}: {list(tensor.shape)}, the reference has {array.shape}")
        tensor.set_value(array)
    if left:
        raise ValueError(f"the reference has no {', '.join(list(left.values())[:3])}")


Tool = tuple[Callable[[str], Any], Callable[[str, Any], Any]]
TOOLS: Mapping[str, Tool] = {
    PORT: (run_port, load_package),
    GRAPH: (run_graph, load_package),
    "X2Paddle": (run_x2paddle, load_x2paddle),
    "PaConvert": (run_paconvert, load_paconvert),
}


# The judge.


def judged(given: Any, port: Any, image: Any) -> dict[str, Any]:
    """Return what of a converted net is the reference's, and by how much outputs are off."""
    import paddle

    row: dict[str, Any] = {"loads": True, "names": _named_alike(given, port)}
    try:
        theirs = _passes_torch(given, image)
        port.to(dtype="float64")
        ours = _passes_paddle(port, paddle.to_tensor(image.numpy().astype("float64")))
    except Exception as error:
        return {**row, "crash": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    errors = {key: _off(theirs[key], ours[key]) for key in ("eval", "train", "gradients")}
    row |= {key: error is not None and error <= AGREES for key, error in errors.items()}
    row["means"] = all(_is_among(mean, theirs["means"]) for mean in ours["means"])
    row["means"] &= bool(ours["means"]) == bool(theirs["means"])
    return {**row, "errors": errors}


def _named_alike(given: Any, port: Any) -> bool:
    """Tell whether weights have the reference's names; statistics have Paddle's own."""
    theirs = {key for key, _ in given.named_parameters()}
    trained = {key for key, value in port.named_parameters() if not value.stop_gradient}
    return theirs == trained


def _passes_torch(given: Any, image: Any) -> dict[str, list[Any]]:
    """Return the outputs in both modes, gradients and running means of a torch net."""
    import torch

    net, image = copy.deepcopy(given).double(), image.double()
    for layer in net.modules():
        if type(layer).__name__.startswith("Dropout"):
            layer.p = 0.0
    with torch.no_grad():
        found = {"eval": _arrays(net.eval()(image))}
    image.requires_grad_(True)
    outputs = _tensors(net.train()(image))
    weighed = zip(outputs, _cotangents(outputs), strict=True)
    sum((out * torch.as_tensor(c)).sum() for out, c in weighed).backward()
    weights = [p.grad.numpy() for p in net.parameters() if p.grad is not None]
    means = [b.numpy() for name, b in net.named_buffers() if name.endswith("running_mean")]
    return found | _measured(outputs, image.grad.numpy(), weights, means)


def _passes_paddle(port: Any, image: Any) -> dict[str, list[Any]]:
    """Return the same of a Paddle net."""
    import paddle

    for layer in port.sublayers():
        if type(layer).__name__.startswith("Dropout"):
            layer.p = 0.0
    port.eval()
    with paddle.no_grad():
        found = {"eval": _arrays(port(image))}
    image.stop_gradient = False
    port.train()
    outputs = _tensors(port(image))
    weighed = zip(outputs, _cotangents(outputs), strict=True)
    sum((out * paddle.to_tensor(c)).sum() for out, c in weighed).backward()
    weights = [p.grad.numpy() for p in port.parameters() if p.grad is not None]
    means = [t.numpy() for key, t in port.state_dict().items() if key.endswith("_mean")]
    return found | _measured(outputs, image.grad.numpy(), weights, means)


def _tensors(outputs: Any) -> list[Any]:
    from align.arrays.trees import leaves

    return list(leaves(outputs))


def _arrays(outputs: Any) -> list[Any]:
    return [tensor.detach().numpy().copy() for tensor in _tensors(outputs)]


def _cotangents(outputs: list[Any]) -> list[Any]:
    """Return what every output is weighed by, seeded."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    return [rng.standard_normal(tuple(tensor.shape)) for tensor in outputs]


def _measured(
    outputs: list[Any], of_input: Any, of_weights: list[Any], means: list[Any]
) -> dict[str, list[Any]]:
    import numpy as np

    norms = np.sort([np.linalg.norm(array) for array in of_weights if array.any()])
    return {
        "train": _arrays(outputs),
        "gradients": [of_input, norms],
        "means": [mean for mean in means if mean.ndim == 1],
    }


def _off(wanted: list[Any], found: list[Any]) -> float | None:
    """Return the largest error, of the largest magnitude of its tensor; None: other shapes."""
    import numpy as np

    if [a.shape for a in wanted] != [a.shape for a in found]:
        return None
    pairs = zip(wanted, found, strict=True)
    errors = [np.abs(a - b).max() / np.abs(a).max() for a, b in pairs]
    return float(np.max(errors))


def _is_among(mean: Any, means: list[Any]) -> bool:
    import numpy as np

    alike = [each for each in means if each.shape == mean.shape]
    return any(np.abs(each - mean).max() <= AGREES * np.abs(each).max() for each in alike)
