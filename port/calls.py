"""One call of a torch API as it is written and as it ran, and its spelling in Paddle."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Unknown(Enum):
    """Stands for a value that was not recorded, or that differed from call to call."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN
# What `Argument.kind` is called of a constant.
KIND_OF: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    type(None): "none",
}


class NoSpelling(Exception):
    """No Paddle spelling is known for a call: the API, and why."""

    def __init__(self, api: str, reason: str) -> None:
        super().__init__(f"{api}: {reason}")
        self.api = api
        self.reason = reason


@dataclass(frozen=True)
class SourceLine:
    """A place in the user's source: the file, and the line counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Argument:
    """One argument of a call as it is written, and what arrived there as it ran.

    `text` is Paddle source already: what stood inside was rewritten before. `name` is the keyword,
    None for a positional one. `kind` is the kind in which all recorded values agree, "other" where
    they do not.
    """

    text: str
    name: str | None = None
    star: str = ""  # "", "*" or "**"
    kind: str = "other"
    # tensor, int, float, bool, str, none, list, tuple, size, dtype, device, module, class,
    # package (a module of torch), function, slice, range, generator, other
    value: object = UNKNOWN  # a constant: number, bool, str, None, or tuple of these
    rank: int | None = None  # of a tensor; of a list, tuple or size its length
    dtype: str | None = None  # of a tensor, as "float32"; of a list the kind of all its items
    single: bool = False  # a list or tuple of one item came here, maybe among others
    uneven: bool = False  # so did one of tensors of several shapes; one unlike the receiver
    linked: bool = False  # a view of another tensor that gradients go through


@dataclass(frozen=True)
class TorchCall:
    """One call of torch: `api` is the dotted name of what was really called.

    "torch.nn.Conv2d", "torch.nn.functional.interpolate", "torch.Tensor.view", "torch.cat".
    A method has a receiver and its `arguments` do not hold it.
    """

    api: str
    arguments: tuple[Argument, ...]
    where: SourceLine
    receiver: Argument | None = None
    result: Argument | None = None  # what came back; its text is empty


@dataclass(frozen=True)
class Spelled:
    """Paddle source of a call, and what it needs.

    `imports` are whole lines ("import paddle", "import paddle.nn.functional as F"), `helpers` names
    in `torch_calls.py`, which the text uses bare; `notes` what a reader should know. `backward`: of
    another spelling, it has the values of the first one, and another gradient.
    """

    text: str
    imports: frozenset[str] = frozenset()
    helpers: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    backward: bool = False
