"""Who is who by the order in which layers are called, on both sides.

Between two pairs that are known, the layers that one side calls are those that the other calls in
the same order, where their shapes agree one after the other. The order of declarations is no
evidence. Where names say that pairs should be exchanged, both are told and nothing is decided.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from convert.names.likeness import likeness

_FEW = 60  # layers of one kind and group whose names are compared each with each
WHOLE, BETWEEN, COMMON, BESIDE = 0.9, 0.8, 0.75, 0.6
# Of two stretches of calls that are not equal, so much must be, and so many are looked at.
_MOSTLY, _MOST = 0.8, 1000


_Gap = tuple[int, int]  # calls from .. to, that one not


@dataclass(frozen=True)
class ByOrder:
    """A pair that the calls of both sides propose."""

    source: str
    target: str
    confidence: float
    why: str


@dataclass(frozen=True)
class Calls:
    """The layers that hold tensors, each at its first call, on either side.

    `form` tells whether two layers may be one: equal forms may.
    """

    source: Sequence[str]
    target: Sequence[str]
    form: Callable[[str, bool], Hashable]

    def pairs(self, found: Mapping[str, str]) -> list[ByOrder]:
        """Return the pairs that follow from places between those `found`, {source: target}."""
        whole = self._forms(True, 0, None) == self._forms(False, 0, None)
        proposed: list[ByOrder] = []
        for ours, after, before in self._stretches(found):
            if after == before:
                proposed += self._between(*ours, *after, whole)
            else:
                proposed += self._beside(ours, after, before)
        return proposed

    def in_common(self, found: Mapping[str, str]) -> list[ByOrder]:
        """Return the pairs of stretches that mostly agree: one side calls a few layers more.

        Only what every way to pair the most of them says.
        """
        proposed: list[ByOrder] = []
        for ours, after, before in self._stretches(found):
            if after != before:
                continue
            one, other = self._forms(True, *ours), self._forms(False, *after)
            for at, there in _in_every_way(one, other):
                proposed += self._zipped(
                    ours[0] + at, after[0] + there, 1, COMMON, "called in the same order as others"
                )
        return proposed

    def _stretches(self, found: Mapping[str, str]) -> Iterator[tuple[_Gap, _Gap, _Gap]]:
        """Yield each stretch of calls between two pairs of `found`, and the other side's.

        These are what follows the first and what leads to the second: one, where nothing that is
        paired lies between.
        """
        theirs = {path: at for at, path in enumerate(self.target)}
        anchors = [
            (at, theirs[found[path]])
            for at, path in enumerate(self.source)
            if path in found and found[path] in theirs
        ]
        ends = [(-1, -1), *anchors, (len(self.source), len(self.target))]
        taken = sorted(there for _, there in ends)
        for (here, there), (until, to) in pairwise(ends):
            if until - here > 1:
                after, before = taken[taken.index(there) + 1], taken[taken.index(to) - 1]
                yield (here + 1, until), (there + 1, after), (before + 1, to)

    def _forms(self, ours: bool, start: int, end: int | None) -> list[Hashable]:
        return [self.form(path, ours) for path in (self.source if ours else self.target)[start:end]]

    def _between(self, start: int, end: int, first: int, last: int, whole: bool) -> list[ByOrder]:
        """Pair two stretches of calls between the same pairs, whole or what is unique in both."""
        ours, theirs = self._forms(True, start, end), self._forms(False, first, last)
        if ours == theirs:
            confidence = WHOLE if whole else BETWEEN
            return self._zipped(start, first, len(ours), confidence, "called at the same place")
        return [
            ByOrder(
                self.source[start + at],
                self.target[first + theirs.index(form)],
                BETWEEN - 0.05,
                "the only one of its shapes that is called there",
            )
            for at, form in enumerate(ours)
            if ours.count(form) == theirs.count(form) == 1
        ]

    def _beside(self, gap: _Gap, after: _Gap, before: _Gap) -> list[ByOrder]:
        """Pair what follows the same pair on both sides and what leads to the same one.

        What both would claim is nobody's.
        """
        ours = self._forms(True, *gap)
        following, leading = self._forms(False, *after), self._forms(False, *before)
        ahead = _common(ours, following)
        behind = _common(ours[::-1], leading[::-1])
        first = min(ahead, len(ours) - behind)
        last = min(behind, len(ours) - ahead)
        why = "called beside the same layer, in another order elsewhere"
        return [
            *self._zipped(gap[0], after[0], max(first, 0), BESIDE, why),
            *self._zipped(
                gap[1] - max(last, 0), before[1] - max(last, 0), max(last, 0), BESIDE, why
            ),
        ]

    def _zipped(
        self, at: int, there: int, count: int, confidence: float, why: str
    ) -> list[ByOrder]:
        sides = zip(self.source[at : at + count], self.target[there : there + count], strict=True)
        return [
            ByOrder(source, target, confidence, f"{why} ({at + 1 + index} of {len(self.source)})")
            for index, (source, target) in enumerate(sides)
        ]


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return how many entries at the beginnings of both are equal."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


def _in_every_way(one: Sequence[Hashable], other: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Yield the places of the entries that every longest common subsequence pairs.

    Nothing where the two are not mostly one.
    """
    size = max(len(one), len(other), 1)
    if size > _MOST:
        return
    ahead = _common_lengths(one, other)
    behind = [row[::-1] for row in _common_lengths(one[::-1], other[::-1])[::-1]]
    longest = behind[0][0]
    if longest < _MOSTLY * size:
        return
    ways: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, entry in enumerate(one):
        for j, also in enumerate(other):
            if entry == also and ahead[i][j] + 1 + behind[i + 1][j + 1] == longest:
                ways[ahead[i][j]].append((i, j))
    yield from (pairs[0] for pairs in ways.values() if len(pairs) == 1)


def _common_lengths(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[list[int]]:
    """Return by (i, j) the length of the longest common subsequence of the first i and j."""
    table = [[0] * (len(other) + 1)]
    for entry in one:
        above, row = table[-1], [0]
        for j, also in enumerate(other):
            row.append(above[j] + 1 if entry == also else max(above[j + 1], row[j]))
        table.append(row)
    return table


def names_against(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return {source: target} that names give to layers of one form instead, where they do.

    That is a circle of pairs, in one container, whose names would all be more alike if they were
    exchanged: query, key and value called as key, query and value. Numbers that shift make none.
    """
    against: dict[str, str] = {}
    seen: set[tuple[tuple[str, str], ...]] = set()
    depth = max((source.count(".") + 1 for source, _ in pairs), default=0)
    for level in reversed(range(depth)):
        groups: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
        for source, target in pairs:
            groups[tuple(source.split(".")[:level])].append((source, target))
        for members in map(tuple, groups.values()):
            if 1 < len(members) <= _FEW and members not in seen:
                seen.add(members)
                for source, target in _circles(members):
                    against.setdefault(source, target)
    return against


def _circles(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of each circle that `names_against` means, exchanged."""
    better: dict[int, int] = {}
    for index, (source, target) in enumerate(pairs):
        rated = [likeness(source, other) for _, other in pairs]
        best = max(rated)
        if rated.count(best) == 1 and best > likeness(source, target):
            better[index] = rated.index(best)
    found: list[tuple[str, str]] = []
    for start in better:
        way, at = [start], better[start]
        while at in better and at not in way:
            way.append(at)
            at = better[at]
        if at == start:
            found.append((pairs[start][0], pairs[better[start]][1]))
    return found
