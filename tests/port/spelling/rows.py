"""Samples of the rows: made in torch, spelled, made in Paddle."""

import ast
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import torch
import yaml

from convert import convert_state
from port.helpers import source_of
from port.spelling.table import ROWS, read
from tests.port.spelling.translate import Translation

HERE = Path(__file__).parent
FILES = ("samples.yml", "samples_tensors.yml", "samples_modules.yml", "samples_rare.yml")
NO_GRADIENT = ("idx", "mask4", "i2", "label", "array")


@cache
def samples() -> dict[str, list[str]]:
    """Return {API: arguments of its sample calls}."""
    found: dict[str, list[str]] = {}
    for name in FILES:
        found |= yaml.safe_load((HERE / name).read_text("utf-8")) or {}
    return found


@cache
def rows_by_first() -> dict[str, list[str]]:
    """Return {first API of a row: all of them}."""
    keys = [key for name in ROWS for key in read(name)["rows"]]
    keys = [
        k
        for k in keys
        if not k.startswith("torch.nn.init.") or not k.partition(" ")[0].endswith("_")
    ]
    return {key.split(" | ")[0]: key.split(" | ") for key in keys}


@cache
def written_forms() -> dict[str, int]:
    """Return {first API of a row: how many forms it has}; of methods in place more may follow."""
    found = {key: forms for name in ROWS for key, forms in read(name)["rows"].items()}
    return {key.split(" | ")[0]: len(forms) for key, forms in found.items()}


@cache
def arrays() -> dict[str, np.ndarray]:
    """Return the tensors that samples name, float64."""
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {
        "x1": rng.normal(size=6),
        "x2": rng.normal(size=(4, 6)),
        "x3": rng.normal(size=(2, 4, 6)),
        "x4": rng.normal(size=(2, 4, 6, 8)),
        "y4": rng.normal(size=(2, 4, 6, 8)),
        "x5": rng.normal(size=(2, 2, 4, 4, 4)),
        "w4": rng.normal(size=(5, 4, 3, 3)),
        "sq": rng.normal(size=(2, 4, 4)),
        "sym": rng.normal(size=(4, 4)) + 3 * np.eye(4),
        "fold": rng.normal(size=(1, 12, 12)),
        "places": np.arange(0, 4 * 6 * 8, 1).reshape(1, 4, 6, 8).repeat(2, 0) % 48 * 4,
        "places5": np.arange(0, 8 * 8 * 8, 8).reshape(1, 1, 4, 4, 4).repeat(2, 0).repeat(2, 1),
        "grid": rng.uniform(-1, 1, (2, 3, 5, 2)),
        "theta": rng.normal(size=(2, 2, 3)),
        "pos4": rng.uniform(0.5, 2, (2, 4, 6, 8)),
        "unit4": rng.uniform(-0.9, 0.9, (2, 4, 6, 8)),
        "halves": np.arange(-4, 5) / 2,
        "i2": rng.integers(0, 4, (4, 6)),
        "idx": np.array([2, 0, 3]),
        "label": rng.integers(0, 4, (2, 6, 8)),
        "mask4": rng.uniform(size=(2, 4, 6, 8)) > 0.5,
        "y3": rng.normal(size=(2, 4, 6)),
    }
    return found


PLAIN = {"n": 2, "flag": True, "how": "bilinear", "order": [0, 2, 3, 1], "varied": True}


def arrays_of(text: str) -> dict[str, np.ndarray]:
    """Return the arrays that a text names; x4 for the size of it."""
    names = set(re.findall(r"\w+", text)) | {"x4"}
    return {name: array for name, array in arrays().items() if name in names}


def torch_values(text: str) -> dict[str, Any]:
    """Return the names of a sample as torch tensors that ask for their gradients."""
    found: dict[str, Any] = {k: torch.from_numpy(a.copy()) for k, a in arrays_of(text).items()}
    for value in found.values():
        value.requires_grad_(value.is_floating_point())
    size = {"size4": found["x4"].size(), "array": arrays()["x2"], **torch_net()}
    return {**found, **PLAIN, **size}


def paddle_values(text: str) -> dict[str, Any]:
    """Return the names of a sample as Paddle tensors that ask for their gradients."""
    found: dict[str, Any] = {k: paddle.to_tensor(a) for k, a in arrays_of(text).items()}
    for value in found.values():
        value.stop_gradient = not value.is_floating_point()
    size = {"size4": found["x4"].shape, "array": arrays()["x2"], **paddle_net()}
    return {**found, **PLAIN, **size}


@cache
def torch_net() -> dict[str, Any]:
    """Return a net and its parts, float64 whatever the tests around work in."""
    conv, norm = torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
    net = torch.nn.Sequential(conv, torch.nn.Sequential(norm, torch.nn.ReLU()))
    linear = torch.nn.Linear(3, 2)
    return {"net": net.double(), "conv": conv, "norm": norm, "linear": linear.double()}


@cache
def paddle_net() -> dict[str, Any]:
    """Return the same in Paddle, with the same weights."""
    nn, before = paddle.nn, paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    conv, norm = nn.Conv2D(4, 4, 3, padding=1), nn.BatchNorm2D(4)
    net = nn.Sequential(conv, nn.Sequential(norm, nn.ReLU()))
    parts = {"net": net, "conv": conv, "norm": norm, "linear": nn.Linear(3, 2)}
    paddle.set_default_dtype(before)
    for name in ("net", "linear"):
        fill(torch_net()[name], parts[name])
    return parts


@cache
def helper_module() -> dict[str, Any]:
    """Return the helpers as the file beside a port has them."""
    from port.helpers import helper_names

    space: dict[str, Any] = {}
    exec(compile(source_of(helper_names()), "torch_calls.py", "exec"), space)
    return space


def call_text(api: str, arguments: str) -> str:
    """Return a sample's call: of a method on its first argument; of another text as it is."""
    if not arguments.startswith("("):
        return arguments
    if not api.startswith(("torch.Tensor.", "torch.nn.Module.")):
        return api + arguments
    call = ast.parse(f"f{arguments}", mode="eval").body
    assert isinstance(call, ast.Call)
    receiver, *rest = [ast.unparse(a) for a in call.args]
    rest += [f"{k.arg}={ast.unparse(k.value)}" if k.arg else ast.unparse(k) for k in call.keywords]
    return f"({receiver}).{api.rpartition('.')[2]}({', '.join(rest)})"


class Sample:
    """One call in both frameworks: `results` are (torch, Paddle), `text` is Paddle's."""

    def __init__(self, text: str) -> None:
        self.torch, self.paddle = torch_values(text), paddle_values(text)
        self.translation = Translation(self.torch)
        node = ast.parse(text, mode="eval").body
        self.text = ""
        self.results = self._layer(node) if is_layer(node) else self._function(text)

    def space(self) -> dict[str, Any]:
        """Return the names that Paddle text may use."""
        nn, functional = paddle.nn, paddle.nn.functional
        known = {"paddle": paddle, "nn": nn, "F": functional, **helper_module()}
        return {**known, "math": math, **self.paddle}

    def _function(self, text: str) -> tuple[Any, Any]:
        reference = self.translation.value(ast.parse(text, mode="eval").body)
        self.text = self.translation.translated(text)
        return reference, eval(self.text, self.space())

    def _layer(self, call: Any) -> tuple[Any, Any]:
        """Build the layer on both sides, fill the port's from torch's, run both."""
        built, training = call.func, True
        assert isinstance(built, ast.Call)
        if isinstance(built.func, ast.Attribute) and built.func.attr == "eval":
            built, training = built.func.value, False
        reference = self.translation.value(built)
        self.text = ast.unparse(self.translation.visit(built))
        port = eval(self.text, self.space())
        fill(reference, port)
        reference.train(training)
        (port.train if training else port.eval)()
        inputs = [ast.unparse(a) for a in call.args]
        extra = {k.arg: self.translation.value(k.value) for k in call.keywords if k.arg}
        given = [self.translation.value(a) for a in call.args]
        arrived = [eval(Translation(self.torch).translated(text), self.space()) for text in inputs]
        return reference(*given, **extra), port(*arrived, **extra)


def is_layer(node: ast.expr) -> bool:
    """Return whether a sample builds a layer and calls it."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Call):
        return False
    built = node.func.func
    if isinstance(built, ast.Attribute) and built.attr == "eval":
        assert isinstance(built.value, ast.Call)
        built = built.value.func
    return ast.unparse(built).startswith("torch.nn.") and "append" not in ast.unparse(built)


def fill(reference: torch.nn.Module, port: Any) -> None:
    """Give both layers the same weights, other than their first ones."""
    generator = torch.Generator().manual_seed(1)
    for tensor in reference.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.1 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
    state = {k: v.detach().numpy() for k, v in reference.state_dict().items()}
    if state:
        port.set_state_dict(
            {k: paddle.to_tensor(v) for k, v in convert_state(state, port).state.items()}
        )


def flat(value: Any) -> list[Any]:
    """Return the leaves of a result."""
    if isinstance(value, list | tuple | torch.Size) or type(value).__name__ == "Size":
        return [leaf for item in value for leaf in flat(item)]
    return [value]
