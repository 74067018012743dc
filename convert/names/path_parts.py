"""Cuts a pair of paths into parts: containers that hold the same layers belong together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from convert.names.likeness import aligned

Segments = tuple[str, ...]
# What a part that is called otherwise costs beside what differs in it; a number alone says nothing.
_A_PART, _A_NUMBER = 0.1, 1.5


@dataclass(frozen=True)
class Part:
    """Some segments of a file's path, and those of the net's path that belong to them."""

    old: Segments
    new: Segments
    done: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a rule has yet to rename it."""
        return not self.done and self.old != self.new

    @property
    def now(self) -> Segments:
        """The segments at present."""
        return self.new if self.done else self.old


@dataclass(frozen=True)
class PartedPath:
    """A path on its way from the file's name to the net's; each part is renamed once."""

    parts: tuple[Part, ...]
    mark: str = ""

    @cached_property
    def name(self) -> str:
        """The path at present, with a dot at its end."""
        return self.mark + "".join(f"{s}." for part in self.parts for s in part.now)

    @cached_property
    def turn(self) -> int | None:
        """Which part is renamed next: one that is left out, then the innermost; None: none is."""
        left = [i for i, part in enumerate(self.parts) if part.is_open]
        return max(left, key=lambda i: (not self.parts[i].new, i), default=None)

    @cached_property
    def following(self) -> "PartedPath":
        """The path with the next part renamed."""
        parts = [replace(p, done=p.done or i == self.turn) for i, p in enumerate(self.parts)]
        return PartedPath(tuple(parts), self.mark)


def parted(pairs: Mapping[str, str]) -> dict[str, PartedPath]:
    """Return the path of each layer of the file in parts; `pairs` is file's path: net's path.

    The parts end where a container of the file and one of the net hold the same layers. Layers
    at the root of a side are left out.
    """
    ours, theirs = _held(pairs), _held(pairs.values())
    containers: dict[tuple[int, ...], set[Segments]] = defaultdict(set)
    for path, layers in theirs.items():
        containers[layers].add(path)
    found = {}
    for source, target in pairs.items():
        if source and target:
            old, new = tuple(source.split(".")), tuple(target.split("."))
            ends = [
                (i, j)
                for i in range(1, len(old) + 1)
                for j in range(len(new) + 1)
                if new[:j] in containers[ours[old[:i]]]
            ]
            found[source] = PartedPath(_parts(old, new, ends))
    return found


def _held(paths: Iterable[str]) -> dict[Segments, tuple[int, ...]]:
    """Return {container: numbers of the layers in it}; a layer is one too, and so is the root."""
    held: dict[Segments, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        segments = tuple(path.split("."))
        for end in range(len(segments) + 1):
            held[segments[:end]].append(number)
    return {container: tuple(layers) for container, layers in held.items()}


def _parts(old: Segments, new: Segments, ends: Sequence[tuple[int, int]]) -> tuple[Part, ...]:
    """Return as many parts as there can be, of those ways to cut the one that changes least."""
    whole = (len(old), len(new))
    best: dict[tuple[int, int], tuple[int, float, tuple[Part, ...]]] = {(0, 0): (0, 0.0, ())}
    inner = sorted(end for end in ends if end[0] < whole[0] and end[1] < whole[1])
    for i, j in [*inner, whole]:
        ways = []
        for (a, b), (count, cost, parts) in best.items():
            if a < i and (b < j or not j):  # a container that holds all may be left out
                part = Part(old[a:i], new[b:j])
                ways.append((count - 1, round(cost + _cost(part), 6), (*parts, part)))
        best[i, j] = min(ways, key=lambda way: way[:2])
    return best[whole][2]


def _cost(part: Part) -> float:
    """Return what it costs to call a part otherwise; 0 where it keeps its name."""
    if not part.is_open:
        return 0.0
    alone = len(part.old) == 1 and part.old[0].isdigit()
    return aligned(part.old, part.new)[0] + _A_PART + _A_NUMBER * alone
