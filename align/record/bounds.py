"""Which functions bound values in a run, and what each gives far beyond what it was given.

A run tells no `relu` from a `relu6` where its inputs stay below 6. So each call of such a function
is taken down as what the code makes of one tensor: plain arithmetic with numbers around it belongs
to it (`x * relu6(x + 3) / 6` is one function of x). After the run it is probed on `GRID`.
"""

import math
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from align.arrays.trees import leaves, map_leaves
from align.record.draws import CallKey

_POWERS = np.logspace(-4, 8, 97)
# A stored trace holds what functions give here: another grid is another schema.
GRID = np.unique(np.concatenate([-_POWERS, _POWERS, np.linspace(-12, 12, 193)]))

# Functions that bound values, by their names in either framework.
BOUNDS = frozenset(
    (
        "relu",
        "relu6",
        "hardtanh",
        "clamp",
        "clip",
        "clamp_min",
        "clamp_max",
        "minimum",
        "maximum",
        "fmin",
        "fmax",
        "min",
        "max",
        "threshold",
        "thresholded_relu",
        "hardsigmoid",
        "hardswish",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "hardshrink",
        "softshrink",
        "abs",
    )
)
COMPARISONS = frozenset(
    ("gt", "lt", "ge", "le", "greater_than", "less_than", "greater_equal", "less_equal")
)
# Functions with which code may bound values: of these alone nothing is said.
CHOICES = COMPARISONS | {"where", "masked_fill", "setitem"}
ARITHMETIC = frozenset(
    (
        "add",
        "radd",
        "iadd",
        "sub",
        "rsub",
        "isub",
        "mul",
        "rmul",
        "imul",
        "div",
        "rdiv",
        "idiv",
        "truediv",
        "rtruediv",
        "true_divide",
        "subtract",
        "multiply",
        "divide",
        "scale",
        "neg",
    )
)
FUNCTIONS = BOUNDS | CHOICES | ARITHMETIC
PAIRED = {"min": 2, "max": 2}  # these reduce one tensor
DEEPEST = 16  # functions in one another
# Modules of the frameworks whose code says what a layer is; other code of theirs is their own.
SAYING = ("torch.nn.modules.activation", "paddle.nn.layer.activation")
# Modules through which code calls a function: their own functions of that name, and decorators.
PASSED = ("torch._tensor", "torch.nn.functional", "paddle.nn.functional.", "paddle.tensor.")
AROUND = ("align.", "torch.overrides", "paddle.utils.", "paddle.base.", "decorator")

Apply = Callable[[Any], Any]


@dataclass(frozen=True)
class Span:
    """What is known of the tensor that a function was given: how many values, and their ends."""

    size: int
    low: float
    high: float

    def is_same(self, other: "Span") -> bool:
        """Tell whether it may be the other run's same tensor."""
        near = 1e-4 * max(abs(self.low), abs(self.high), abs(other.low), abs(other.high))
        ends = abs(self.low - other.low), abs(self.high - other.high)
        return self.size == other.size and max(ends) <= near


@dataclass(eq=False)
class View:
    """A function of one tensor, in which a call has its part; `values` are those at `GRID`."""

    span: Span
    apply: Apply | None
    values: np.ndarray | None = None


@dataclass(eq=False)
class Bounding:
    """One call of a function that bounds values, by code of the call `owner`."""

    function: str
    owner: CallKey | None
    said: bool  # by code of the net, not by a framework's own
    source: str  # file:line
    views: list[View] = field(default_factory=list)

    @property
    def bounds(self) -> bool:
        """Tell whether the function is one of `BOUNDS`."""
        return self.function in BOUNDS

    @property
    def place(self) -> str:
        """Its `source` without the folder."""
        return self.source.replace("\\", "/").rpartition("/")[2]


@dataclass(eq=False)
class _Root:
    tensor: weakref.ref
    version: int
    span: Span | None = None


@dataclass(eq=False)
class _Known:
    """What a tensor is a function of."""

    tensor: weakref.ref
    version: int
    root: _Root
    apply: Apply
    calls: tuple[Bounding, ...] = ()
    depth: int = 0


class BoundsRecorder(ABC):
    """Takes down the calls of one run, for either framework; `owner` gives whose code runs."""

    def __init__(self, owner: Callable[[], CallKey | None]) -> None:
        self.owner = owner
        self.found: list[Bounding] = []
        self._known: dict[int, _Known] = {}

    @abstractmethod
    def is_tensor(self, value: Any) -> bool:
        """Tell whether it is a tensor."""

    @abstractmethod
    def ends(self, tensor: Any) -> tuple[float, float] | None:
        """Return the least and the largest of its values; None unless they are real floats."""

    @abstractmethod
    def version(self, tensor: Any) -> int:
        """Return how often something was written into it."""

    @abstractmethod
    def constant(self, tensor: Any) -> Any:
        """Return its first value as a tensor that is no part of a graph."""

    @abstractmethod
    def probed(self, apply: Apply, grid: np.ndarray) -> np.ndarray:
        """Return what `apply` gives for a tensor of these values, as float64."""

    def called(self, function: str, call: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call `call`, whose name is `function`, and take down what it is; return its result."""
        name = function.strip("_")
        tensors = [leaf for leaf in leaves((args, kwargs)) if self.is_tensor(leaf)]
        if name == "setitem":
            self._note(name)
        if name == "setitem" or not tensors or (name in PAIRED and len(tensors) != PAIRED[name]):
            return call(*args, **kwargs)
        if name in COMPARISONS and all(self.ends(tensor) is None for tensor in tensors):
            return call(*args, **kwargs)  # of labels: no value is bounded by it
        operands = self._operands(tensors, name not in ARITHMETIC)
        calls = list(dict.fromkeys(c for known in operands.values() for c in known.calls))
        if name not in ARITHMETIC:
            calls.append(self._note(name))
            if len(operands) == 1:
                operand = next(t for t in tensors if id(t) in operands)
                alone = self._applied(call, args, kwargs, {id(operand): _same})
                self._view(calls[-1:], self._span(operand), alone)
        if not _is_one_function(operands):
            return call(*args, **kwargs)
        root = next(iter(operands.values())).root
        if calls:
            self._span_of_root(root)
        inner = {key: known.apply for key, known in operands.items()}
        applied = self._applied(call, args, kwargs, inner)
        result = call(*args, **kwargs)
        if self.is_tensor(result):
            depth = 1 + max(known.depth for known in operands.values())
            here, version = weakref.ref(result), self.version(result)
            self._known[id(result)] = _Known(here, version, root, applied, tuple(calls), depth)
            self._view(calls, root.span, applied)
        return result

    def same(self, tensor: Any, other: Any) -> None:
        """Note that `other` holds the values of `tensor`."""
        known = self._operand(tensor)
        if known is not None and other is not tensor:
            here = replace(known, tensor=weakref.ref(other), version=self.version(other))
            self._known[id(other)] = here
            if known.root.tensor() is tensor:  # which may be gone when its values are asked for
                known.root.tensor, known.root.version = here.tensor, here.version

    def finish(self) -> list[Bounding]:
        """Probe every function; return the calls, which hold no tensor of the run any more."""
        self._known.clear()
        views = {id(view): view for call in self.found for view in call.views}
        for view in views.values():
            if view.apply is not None:
                try:
                    with np.errstate(all="ignore"):
                        view.values = self.probed(view.apply, GRID)
                except Exception:  # it takes no such tensor: nothing is known of it
                    view.values = None
                view.apply = None
        return self.found

    def _note(self, name: str) -> Bounding:
        said, source = _caller()
        self.found.append(Bounding(name, self.owner(), said, source))
        return self.found[-1]

    def _operands(self, tensors: list[Any], seeks: bool) -> dict[int, _Known]:
        """Return {id of a tensor: what it is a function of}, but of those of one value.

        Those of many values that are all one are found where the function `seeks` them.
        """
        found = {id(t): known for t in tensors if (known := self._operand(t)) is not None}
        if seeks and len({id(known.root) for known in found.values()}) > 1:
            for tensor in tensors:
                ends = self.ends(tensor) if id(tensor) in found else None
                if ends is not None and ends[0] == ends[1]:
                    del found[id(tensor)]
        return found

    def _operand(self, tensor: Any) -> _Known | None:
        """Return what a tensor is a function of: itself, at least; None for one number."""
        version = self.version(tensor)
        known = self._known.get(id(tensor))
        if known is not None and known.tensor() is tensor and known.version == version:
            return known
        if math.prod(tensor.shape) == 1:
            return None
        here = weakref.ref(tensor)
        known = _Known(here, version, _Root(here, version), _same)
        self._known[id(tensor)] = known
        return known

    def _view(self, calls: list[Bounding], span: Span | None, apply: Apply) -> None:
        if span is not None:
            view = View(span, apply)
            for call in calls:
                call.views.append(view)

    def _span_of_root(self, root: _Root) -> None:
        tensor = root.tensor()
        if root.span is None and tensor is not None and self.version(tensor) == root.version:
            root.span = self._span(tensor)

    def _span(self, tensor: Any) -> Span | None:
        ends = self.ends(tensor)
        return None if ends is None else Span(math.prod(tensor.shape), *ends)

    def _applied(
        self, call: Any, args: tuple, kwargs: dict[str, Any], inner: dict[int, Apply]
    ) -> Apply:
        """Return the call as a function of one tensor; it holds no tensor but single numbers."""

        def kept(leaf: Any) -> Any:
            if not self.is_tensor(leaf):
                return leaf
            if id(leaf) in inner:
                return _Operand(inner[id(leaf)])
            one, single = self.constant(leaf), math.prod(leaf.shape) == 1
            return one if single else _Operand(lambda probe: probe * 0 + one)

        own_args, own_kwargs = map_leaves((args, kwargs), kept)

        def apply(probe: Any) -> Any:
            given = map_leaves(
                (own_args, own_kwargs),
                lambda leaf: leaf.apply(probe) if isinstance(leaf, _Operand) else leaf,
            )
            return call(*given[0], **given[1])

        return apply


class _Operand:
    """Stands for a tensor in the arguments of a call: what it is of the probe."""

    def __init__(self, apply: Apply) -> None:
        self.apply = apply


def _is_one_function(operands: dict[int, _Known]) -> bool:
    """Tell whether these tensors are all functions of one tensor."""
    roots = {id(known.root) for known in operands.values()}
    return len(roots) == 1 and max(known.depth for known in operands.values()) < DEEPEST


def _same(probe: Any) -> Any:
    return probe.clone()  # a function may write into it


def _caller() -> tuple[bool, str]:
    """Return whether code of a net calls here, no framework's own, and its file and line."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        passed = frame.f_code.co_name.strip("_") in FUNCTIONS and module.startswith(PASSED)
        if not (passed or module.startswith(AROUND)):
            own = module.partition(".")[0] in ("torch", "paddle") and module not in SAYING
            return not own, f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return False, ""
