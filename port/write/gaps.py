"""What could not be written, what did not run, and what a reader should know."""

from dataclasses import dataclass, field

from port.calls import SourceLine
from port.write.torch_like import TorchLike


@dataclass(frozen=True)
class Gap:
    """A call or a name without a Paddle spelling; ran: as the reference ran, it was reached."""

    where: SourceLine
    api: str
    reason: str
    ran: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.api}: {self.reason}"


@dataclass(frozen=True)
class SpellingChoice:
    """A call that may be spelled otherwise: its place, and how many other spellings there are.

    inside: the class or function of its file that it stands in, "" outside of all. backward: the
    numbers of spellings that have the values of the first, and another gradient.
    """

    where: SourceLine
    column: int
    api: str
    count: int = field(compare=False)
    inside: str = field(default="", compare=False)
    backward: frozenset[int] = field(default=frozenset(), compare=False)


@dataclass
class Needs:
    """What one written file needs and tells.

    imports: lines; helpers: names of `torch_calls.py`; classes: those that are generated into it,
    their source by name; choices: calls that a repair may spell otherwise; notes: by place;
    traced: classes whose forward is written from graphs, and what it holds for.
    """

    imports: set[str] = field(default_factory=set)
    helpers: set[str] = field(default_factory=set)
    classes: dict[str, TorchLike] = field(default_factory=dict)
    choices: list[SpellingChoice] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[tuple[SourceLine, str]] = field(default_factory=list)
    traced: list[tuple[SourceLine, str]] = field(default_factory=list)
