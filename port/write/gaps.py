"""What could not be written, what did not run, and what a reader should know."""

from dataclasses import dataclass, field

from port.calls import Where
from port.write.torch_like import TorchLike


@dataclass(frozen=True)
class Gap:
    """A call or a name without a Paddle spelling; ran: as the reference ran, it was reached."""

    where: Where
    api: str
    reason: str
    ran: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.api}: {self.reason}"


@dataclass
class Needs:
    """What one written file needs and tells.

    imports: lines; helpers: names of `torch_calls.py`; classes: those that are generated into it,
    their source by name; notes: by place.
    """

    imports: set[str] = field(default_factory=set)
    helpers: set[str] = field(default_factory=set)
    classes: dict[str, TorchLike] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[tuple[Where, str]] = field(default_factory=list)
    calls: int = 0
