"""Mends what X2Paddle is known to write wrong, line by line and with a comment, and says it.

Facts of X2Paddle 1.6.0, op_mapper/pytorch2paddle/aten.py: the momentum of BatchNorm is torch's
(:751), a pooling without a stride gets an empty list (:560 ff.), `Linear` without a bias gets a
parameter for one (:2930 ff.); op_mapper/onnx2paddle/opset_legacy.py: a Resize by scales is taken to
align corners whatever it says (:470 ff.), parameters get names that a process has only once;
core/program.py: the weights are loaded by their absolute path.
"""

import ast
import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

MARK = "  # mended: "


@dataclass(frozen=True)
class Norm:
    """What a BatchNorm of the source is set to, in Paddle's meaning; None: it has no such number.

    momentum: share of the running statistics that stays. origin: what the source says, in words.
    """

    momentum: float | None
    epsilon: float
    origin: str


@dataclass(frozen=True)
class Resizing:
    """What a Resize of the source is set to, in ONNX's words."""

    mode: str
    coordinates: str
    nearest: str


@dataclass
class Mended:
    """The code after mending.

    Attributes:
        code: its text.
        name: the class of the net in it.
        changes: "batchnorm0: what was mended", in order.
        open: what is wrong and was not mended.
        needs_x2paddle: whether it calls layers of X2Paddle at run time.
    """

    code: str
    name: str = ""
    changes: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    needs_x2paddle: bool = False


def mend(
    text: str,
    norms: Mapping[str, Norm],
    trained: Set[str],
    resizes: Mapping[str, Resizing] = MappingProxyType({}),
) -> Mended:
    """Return the code with its known faults mended.

    Args:
        text: `x2paddle_code.py`.
        norms: layer of the code ("batchnorm0") -> what it has to be.
        resizes: tensor of the code -> how it has to be made by resizing.
        trained: names of parameters that the source trains; None of the others may be.

    Raises SyntaxError where the text is no Python, ValueError where it defines no net.
    """
    tree = ast.parse(text)
    lines = text.splitlines()
    net = next((one for one in tree.body if isinstance(one, ast.ClassDef)), None)
    if net is None:
        raise ValueError("it defines no class")
    made = Mended("", net.name)
    for layer, call in _layers(net):
        change = _Change(lines, layer, call, made)
        if call_name(call).endswith("BatchNorm"):
            _norm(layer, change, norms)
        elif "Pool" in call_name(call):
            _pool(change)
        elif call_name(call) == "self.create_parameter":
            _parameter(layer, change, layer in trained)
    for name, call in _resizings(net):
        if name in resizes:
            _resize(_Change(lines, name, call, made), resizes[name])
    made.code = _kept(_without(lines, tree), made)
    return made


def _kept(lines: list[str], made: Mended) -> str:
    """Return the text of the lines, with the imports that they need and no other."""
    made.needs_x2paddle = any("x2paddle_nn." in line for line in lines)
    if not made.needs_x2paddle:
        lines = [line for line in lines if "custom_layer as x2paddle_nn" not in line]
    _import_numpy(lines, made)
    return "\n".join(lines).rstrip() + "\n"


def _import_numpy(lines: list[str], made: Mended) -> None:
    text = "\n".join(lines)
    if re.search(r"\bnp\.", text) and "import numpy as np" not in text:
        line = f"import numpy as np{MARK}it was used, not imported"
        lines.insert(lines.index("import paddle") + 1, line)
        made.changes.append("net: numpy was used, and not imported")


def _layers(net: ast.ClassDef) -> list[tuple[str, ast.Call]]:
    """Return what the constructor sets: (name, the call that makes it)."""
    found = []
    for node in ast.walk(net):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            place = node.targets[0]
            if isinstance(place, ast.Attribute) and isinstance(place.value, ast.Name):
                found.append((place.attr, node.value))
    return found


def call_name(call: ast.Call) -> str:
    """Return what a call calls, as it is written."""
    return ast.unparse(call.func)


class _Change:
    """Changes of one call, which stands on one line."""

    def __init__(self, lines: list[str], layer: str, call: ast.Call, made: Mended) -> None:
        self._lines, self.layer, self.call, self.made = lines, layer, call, made
        self.number = call.lineno
        self._reasons: list[str] = []

    def setting(self, name: str) -> ast.expr | None:
        """Return what the call gives a keyword, None where it does not give it."""
        return next((one.value for one in self.call.keywords if one.arg == name), None)

    def write(self, name: str, value: str | None, reason: str) -> None:
        """Give a keyword another value, None: leave it out; and say why in the line."""
        line = self._lines[self.number - 1].partition(MARK)[0]
        call = ast.parse(line.strip()).body[0]
        assert isinstance(call, ast.Assign)
        assert isinstance(call.value, ast.Call)
        kept = [one for one in call.value.keywords if one.arg != name]
        if value is not None:
            kept.append(ast.keyword(name, ast.parse(value, mode="eval").body))
        call.value.keywords = kept
        self._note(ast.unparse(call), line, reason)

    def add(self, statement: str, reason: str) -> None:
        """Put a statement behind the call, on its line; and say why."""
        line = self._lines[self.number - 1].partition(MARK)[0]
        self._note(f"{line.strip()}; {statement}", line, reason)

    def _note(self, text: str, line: str, reason: str) -> None:
        self._reasons.append(reason)
        indent = line[: len(line) - len(line.lstrip())]
        self._lines[self.number - 1] = f"{indent}{text}{MARK}{'; '.join(self._reasons)}"
        self.made.changes.append(f"{self.layer}: {reason}")


def _norm(layer: str, change: _Change, norms: Mapping[str, Norm]) -> None:
    if change.setting("is_test") is not None:
        change.write("is_test", None, "train mode is one, is_test was set")
    wanted = norms.get(layer)
    if wanted is None:
        change.made.open.append(f"{layer}: no BatchNorm of the source is known to be this one")
        return
    momentum, epsilon = _number(change, "momentum", 0.9), _number(change, "epsilon", 1e-5)
    if wanted.momentum is None:
        change.made.open.append(f"{layer}: {wanted.origin}, which Paddle has not")
    elif not _same(momentum, wanted.momentum):
        reason = f"momentum was {momentum:g}; {wanted.origin}"
        change.write("momentum", repr(wanted.momentum), reason)
    if not _same(epsilon, wanted.epsilon):
        change.write("epsilon", repr(wanted.epsilon), f"epsilon was {epsilon:g}")


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6)  # ONNX holds settings in float32


def _number(change: _Change, name: str, otherwise: float) -> float:
    found = change.setting(name)
    return float(ast.literal_eval(found)) if found is not None else otherwise


def _pool(change: _Change) -> None:
    stride, size = change.setting("stride"), change.setting("kernel_size")
    if size is not None and isinstance(stride, ast.List) and not stride.elts:
        change.write("stride", ast.unparse(size), "no stride is the size of the window")


def _parameter(layer: str, change: _Change, is_trained: bool) -> None:
    if change.setting("attr") is not None:
        change.write("attr", None, "a name that a process may have once")
    if not is_trained:
        change.add(f"self.{layer}.stop_gradient = True", "the source does not train it")


def _resizings(net: ast.ClassDef) -> list[tuple[str, ast.Call]]:
    """Return what is made by resizing: (name of the tensor, the call)."""
    return [
        (node.targets[0].id, node.value)
        for node in ast.walk(net)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.targets[0], ast.Name)
        and call_name(node.value).endswith(".interpolate")
    ]


# ONNX's coordinates of a linear or cubic resize -> Paddle's align_corners and align_mode.
_COORDINATES = {
    "half_pixel": (False, 0),
    "pytorch_half_pixel": (False, 0),
    "align_corners": (True, 0),
    "asymmetric": (False, 1),
}


def _resize(change: _Change, wanted: Resizing) -> None:
    if wanted.mode == "nearest":
        if (wanted.coordinates, wanted.nearest) != ("asymmetric", "floor"):
            told = f"nearest, {wanted.coordinates}, {wanted.nearest}"
            change.made.open.append(f"{change.layer}: Resize {told} has no form in Paddle")
        return
    if wanted.coordinates not in _COORDINATES:
        told = f"{wanted.mode}, {wanted.coordinates}"
        change.made.open.append(f"{change.layer}: Resize {told} has no form in Paddle")
        return
    corners, mode = _COORDINATES[wanted.coordinates]
    reason = f"Resize has {wanted.coordinates}"
    if _bool(change, "align_corners") != corners:
        change.write("align_corners", repr(corners), reason)
    if not corners and int(_number(change, "align_mode", 0)) != mode:
        change.write("align_mode", repr(mode), reason)
    named = change.setting("mode")
    if named is not None and ast.literal_eval(named) == "cubic":
        change.write("mode", "'bicubic'", "Paddle's word for cubic")


def _bool(change: _Change, name: str) -> bool:
    found = change.setting(name)
    return bool(ast.literal_eval(found)) if found is not None else False


def _without(lines: list[str], tree: ast.Module) -> list[str]:
    """Return the lines without what stands behind the class: a `main` with an absolute path."""
    gone = {
        number
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return [line for number, line in enumerate(lines, 1) if number not in gone]
