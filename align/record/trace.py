"""What one run of the reference left behind, as arrays."""

import math
from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from align.judge.words import Cause
from align.nets.casts.told import CastOf
from align.record.bounds import Bounding
from align.record.choices.choice import Choice, Left
from align.record.draws import CallKey, Draw
from common.errors import UserError

if TYPE_CHECKING:
    from align.record.stock_attention import Attention

CallPlace = tuple[str, int, str]  # (path of the module, its k-th call, "output:0")


TENSOR = object()


class RunAgain(Exception):
    """A recording does not serve what is asked of it: another one is to be made."""


class BackwardRaises(UserError):
    """The backward pass of the reference itself raises; `cause` says what and where."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(str(cause))
        self.cause = cause


class LossDifferentiates(UserError):
    """The reference's loss differentiates the net while it runs, at the line `place`."""

    def __init__(self, place: str) -> None:
        super().__init__(
            "could not check: the reference's loss (--torch-loss, torch_loss) differentiates "
            f"the net while it runs{f' ({place})' if place else ''}, as a gradient penalty "
            "does, which cannot be judged layer by layer: align_backward and align_training of "
            "two live nets judge it as a whole; elsewhere leave that term out"
        )
        self.place = place


class NetDifferentiates(UserError):
    """The reference differentiates calls of its own while it runs forward, at the line `place`."""

    def __init__(self, place: str) -> None:
        super().__init__(
            "could not check: the reference differentiates its own layers while it runs forward"
            f"{f' ({place})' if place else ''}, as energy and score nets do, which cannot be "
            "judged layer by layer. Align the part that it differentiates instead, as a net of "
            "its own, up to the value that it takes the gradient of: align_backward compares "
            "that very gradient; then compare the outputs of the whole in float64 by hand"
        )
        self.place = place


class Slot:
    """Stands for a tensor in a tree of arguments: the index of it among a call's inputs."""

    def __init__(self, index: int) -> None:
        self.index = index


@dataclass(frozen=True, eq=False)
class HandedOn:
    """Stands for a cotangent that went unchanged from one layer to another, and is judged.

    Both layers were judged alone with it; the code between hands the tensor on as it is.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    largest: float
    total: float  # sum of the magnitudes of a channel, of the channel where that is most


@dataclass(frozen=True, eq=False)
class Dropped:
    """Stands for a tensor inside a call that is judged as a whole.

    `variance` is that of each channel, where a running variance was made of it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    variance: np.ndarray | None = None

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values it had."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class OnDisk:
    """Stands for a tensor whose values went into a file of arrays, under `name`."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


Cotangent = np.ndarray | HandedOn | None


@dataclass
class Call:
    """One call of one module of the reference.

    `inputs` and `outputs` are its tensors as arrays, in the order of the signature and of
    `trees.map_leaves`; `numbers` are the plain numbers among the inputs (a size, a flag).
    `grad_inputs` are what this call alone adds to the gradients of its inputs, `grad_outputs` the
    cotangents of its outputs: None where nothing flows, empty lists without a backward pass.
    """

    path: str
    index: int
    inputs: MutableSequence[np.ndarray] = field(default_factory=list)
    numbers: list[Any] = field(default_factory=list)
    outputs: MutableSequence[np.ndarray] = field(default_factory=list)
    grad_inputs: MutableSequence[Cotangent] = field(default_factory=list)
    grad_outputs: MutableSequence[Cotangent] = field(default_factory=list)
    template: Any = None  # the tree of its outputs, with `TENSOR` in place of each tensor
    arguments: Any = None  # (args, kwargs) with a `Slot` in place of each tensor
    parent: "Call | None" = field(default=None, repr=False, compare=False)  # whose code called it
    random: bool = False  # code in it drew random numbers
    kernels: set[str] = field(default_factory=set)  # rows of kernels.KERNELS its own code called
    attention: "Attention | None" = None  # of a stock attention layer
    # Where its own code casts floating values to float32, as "file:line"; "" where it does not.
    casts: str = ""
    cast_of: list[CastOf] = field(default_factory=list)  # what, but for parameters
    simple: bool = False  # may run again by itself, whatever ran before
    # Judged alone, while the reference's backward ran: no code of it runs in the forced pass.
    alone: bool = False
    # Inside such a call, that is no simple one: its arrays are `Dropped`.
    gone: bool = False
    # Floating tensors that need no gradient in a backward pass: "input:0".
    constant: set[str] = field(default_factory=set)
    # Tensors that code of the reference writes into after they were recorded: "input:0".
    written: set[str] = field(default_factory=set)

    @property
    def values_per_channel(self) -> int:
        """Return N * H * W of its largest tensor: as long as a sum inside it may be."""
        arrays = [*self.inputs, *self.outputs]
        sizes = [array.size // (array.shape[1] or 1) for array in arrays if array.ndim > 1]
        return max([*sizes, *(array.size for array in arrays if array.ndim == 1)], default=0)

    @property
    def largest_size(self) -> int:
        """Return how many values its largest tensor has."""
        return max((array.size for array in (*self.inputs, *self.outputs)), default=0)

    @property
    def key(self) -> CallKey:
        """Its path and number."""
        return (self.path, self.index)

    def place(self, where: str) -> CallPlace:
        """Return the key of a tensor at this call."""
        return (self.path, self.index, where)


@dataclass(frozen=True)
class Trace:
    """Every call of every module in the order in which they began, and what it left.

    `paths` maps the first path of each module to all of them; `parameters` are the names of all
    parameters; `buffers` maps "path.name" to the buffers after the run, `buffers_before`
    before it, `moved` to the frozen parameters that code wrote into, after it, `gradients` to
    those of the parameters (None where there is none). `draws` are the random numbers that code
    drew, in order. Only the recording fills it; nothing is written into it afterwards.

    `as_code` are modules that write into a tensor which code around them reads afterwards: they
    have no calls, and are no part of `paths`; what they do is a part of that code. `packed` are
    those of them that take or give packed sequences.
    """

    calls: list[Call] = field(default_factory=list)
    paths: dict[str, list[str]] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)
    buffers_before: dict[str, np.ndarray] = field(default_factory=dict)
    moved: dict[str, np.ndarray] = field(default_factory=dict)
    gradients: dict[str, np.ndarray | None] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    inplace: list[str] = field(default_factory=list)  # in-place modules that change the outputs
    as_code: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    bounds: list[Bounding] = field(default_factory=list)  # what bounds values
    choices: list[Choice] = field(default_factory=list)  # its discrete steps, in order
    choices_left: dict[str, Left] = field(default_factory=dict)  # path -> why some are not there


def around(calls: Iterable[Call]) -> set[str]:
    """Return the paths of `calls` and of all modules whose code ran around them.

    By who called whom: of a module that several others hold, the name tells one of them.
    """
    found: dict[CallKey, Call] = {}
    for call in calls:
        frame: Call | None = call
        while frame is not None and frame.key not in found:
            found[frame.key] = frame
            frame = frame.parent
    return {path for path, _ in found}


def nearest(call: Call | None, judged: set[str]) -> Call | None:
    """Return `call`, or the closest call around it, of a module in `judged`."""
    while call is not None and call.path not in judged:
        call = call.parent
    return call
