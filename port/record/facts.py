"""What one recording holds: plain data, which travels from the process that ran the net."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from port.calls import UNKNOWN
from port.record.instrument import Span

Place = tuple[str, Span]  # a module, and a place in its file
Reader = tuple[str, int]  # a module, and a line of its file
Holder = tuple[str, int, str]  # a module, the line that it has come to, a name there
# `SeenCall.whose` of what reaches a thing by a string; the first is that of exec, too.
OF_STRINGS, GETATTR = "builtins:eval", "builtins:getattr"
MODULE_BY_NAME, LOCATE = "importlib:import_module", "pydoc:locate"
MODULE_OF_PYTHON = "types.ModuleType"  # `Facts.kind` of a module that is not torch's
PARTIAL = "functools.partial"  # `Facts.value` of a partial of torch's class, "" of another's
# Calls that cut a tensor into pieces, which are parts of it in torch and copies in Paddle.
CUTTING = frozenset(
    f"torch.{owner}{name}"
    for owner in ("", "Tensor.", "functional.")
    for name in ("chunk", "split", "split_with_sizes")
)
MOST = 300  # observations of one place; a loop tells nothing new after them


@dataclass(frozen=True)
class Facts:
    """What is known of a value: see `port.calls.Argument`. names: of a class, function or module.

    single: a list or tuple of one number came here, maybe among others. uneven: so did one of
    tensors of several shapes, or a tensor that is not shaped as the one whose method was called.
    either: where layers of several classes came, the names of each. part: so did a tensor that has
    not its memory for itself, such as `x[:, 1:]`. linked: so did a view of another tensor that
    gradients go through. of_linear: so did the weight of a Linear, among others maybe.

    names are canonical names of torch ("torch.nn.Conv2d", "torch.nn.modules.conv.Conv2d"); of an
    instance those of the class of torch nearest to it.
    """

    kind: str = "other"
    value: Any = UNKNOWN
    rank: int | None = None
    dtype: str | None = None
    names: tuple[str, ...] = ()
    single: bool = False
    uneven: bool = False
    either: tuple[tuple[str, ...], ...] = ()
    part: bool = False
    linked: bool = False
    of_linear: bool = False


def merged(one: Facts, other: Facts) -> Facts:
    """Return what both agree in."""
    if one == other:
        return one
    same_value = type(one.value) is type(other.value) and one.value == other.value
    return Facts(
        one.kind if one.kind == other.kind else "other",
        one.value if same_value else UNKNOWN,
        one.rank if one.rank == other.rank else None,
        one.dtype if one.dtype == other.dtype else None,
        one.names if one.names == other.names else (),
        one.single or other.single,
        one.uneven or other.uneven,
        tuple(dict.fromkeys((*_classes(one), *_classes(other)))) if _differ(one, other) else (),
        one.part or other.part,
        one.linked or other.linked,
        one.of_linear or other.of_linear,
    )


def _classes(facts: Facts) -> tuple[tuple[str, ...], ...]:
    return facts.either or (facts.names,)


def _differ(one: Facts, other: Facts) -> bool:
    """Tell whether both are layers, and not of one class."""
    return one.kind == other.kind == "module" and _classes(one) != _classes(other)


@dataclass
class SeenCall:
    """One way in which a place called something: who, with what; all calls of the way merged.

    names: of torch's function or class, () of another's. partial: by way of functools.partial.
    built: it is a class of the user's that inherits the constructor of a class of torch.
    positional, keywords: what arrived by position, and by name. receiver: of a method.
    returns_written: what came back is the tensor that was written into. aliases: the caller's local
    names of that tensor. writers: calls inside this one that wrote, or made the layers that did.
    pieces_written: it cut a tensor into pieces, and one of them was written into.
    """

    names: tuple[str, ...] = ()
    partial: bool = False
    built: bool = False
    receiver: Facts | None = None
    positional: list[Facts] = field(default_factory=list)
    keywords: dict[str, Facts] = field(default_factory=dict)
    result: Facts = Facts()
    returns_written: bool = False
    aliases: set[str] = field(default_factory=set)
    ragged: bool = False  # the number of arguments differed from call to call
    through: dict[str, Facts] = field(default_factory=dict)  # what functools.partial gave by name
    whose: str = ""  # "module:name" of what is not torch's
    asked: str = ""  # the name that `getattr` was asked for, the string that `eval` was given,
    # the dotted name of a module that was imported by it
    asked_of: str = ""  # the module that it was asked for that name
    writers: set[Place] = field(default_factory=set)
    pieces_written: bool = False

    @property
    def of_others(self) -> tuple[str, str, str]:
        """Return what tells calls of what is not torch's apart."""
        return self.whose, self.asked, self.asked_of


@dataclass
class Binding:
    """What a name of a module stands for. kind: torch (names), module (value: its dotted name),
    thing (value: "module:name" of a class or function), other.
    """

    kind: str
    value: str = ""
    names: tuple[str, ...] = ()


@dataclass
class FileRecord:
    """One file of the user's, or of a library that builds nets, as it ran.

    ran: first statements of the blocks that ran; at_work: of those that ran after the imports.
    written: operators such as `+=` that wrote into a tensor, with all local names of that tensor.
    idle, busy: decorators that gave back what they got, and kept nothing of it; those that did not.
    names: of torch's and the user's; a file of numbers alone has none. made_up: what
    imports inside functions and `package.name` got, by (module, name). imported: to its end.
    """

    path: Path
    module: str
    is_package: bool
    library: bool
    calls: dict[Span, list[SeenCall]] = field(default_factory=dict)
    values: dict[Span, Facts] = field(default_factory=dict)
    written: dict[Span, set[str]] = field(default_factory=dict)
    ran: set[Span] = field(default_factory=set)
    at_work: set[Span] = field(default_factory=set)
    idle: set[Span] = field(default_factory=set)
    busy: set[Span] = field(default_factory=set)
    names: dict[str, Binding] = field(default_factory=dict)
    made_up: dict[tuple[str, str], Binding] = field(default_factory=dict)
    imported: bool = False


@dataclass
class Record:
    """A recording: the files, and the factory ("module", "name").

    modes: the passes that ran ("eval", "train"); failed: those that did not, and why. absent:
    addresses and paths of weights that the net asked for and that could not be had. held: what
    wrote into a tensor, with what held that tensor then: a list, say, of the outputs so far.
    with_modes: classes ("module:name") that hand a mode on layer by layer. settings: files that
    the net's code read, and the lines that did. frozen: torch's names of what the net has with a
    frozen weight, of those whose gradient is then another in Paddle.
    """

    files: dict[str, FileRecord]
    root: tuple[str, str]
    modes: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    with_modes: set[str] = field(default_factory=set)
    held: dict[Place, set[Holder]] = field(default_factory=dict)
    settings: dict[Path, set[Reader]] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
