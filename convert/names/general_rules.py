"""Few renames that say what many pairs of layers have in common.

A rename is learned from what one pair's paths differ in, with more or less of the path around it
and numbers as groups. It is taken only if it brings the names of several layers nearer to where
they belong, takes none further away, keeps all names apart and can be turned round. What is left
gets a rename for each layer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from common.errors import ConfigError
from convert.names.likeness import MARK, aligned
from convert.names.pair_search import LayerPair
from convert.names.rules import Rename
from convert.names.rules_backwards import turned_round
from convert.names.spec import COUNTER

_TRIED = 400  # candidates that are looked at in a round, those of most layers first
_WORTH_A_MARK = 2  # layers that two rules may serve
_GROUPS = 9
_ASKED = 80  # layers, of many, whose candidates are looked at first
_ANYWHERE = r"(^|\.)"


@dataclass(frozen=True)
class ProposedRename:
    """A rename, the pairs that it serves, and how sure the least sure of them is (0 to 1)."""

    match: str
    to: str
    pairs: tuple[LayerPair, ...]

    @property
    def confidence(self) -> float:
        """Return the confidence of the least sure of its pairs."""
        return min(pair.confidence for pair in self.pairs)


def renames_of(
    pairs: Sequence[LayerPair],
    still: Iterable[str],
    taken: Collection[str],
    accepts: Callable[[Iterable[Rename]], bool],
) -> list[ProposedRename]:
    """Return the renames, in the order in which they apply.

    Args:
        pairs: every pair, those of one name on both sides included.
        still: layers of the file without a partner; they may be renamed on the way.
        taken: layers of the net; none of `still` gets the name of one.
        accepts: tells whether renames lead every tensor to its place; where the few do not, each
            layer gets its own.
    """
    if all(pair.is_plain for pair in pairs):
        return []
    leaves, roles = _leaf_renames(pairs)
    ways = []
    for whole in (False, True):
        dotted = {_dotted(path) for path in taken}
        search = _Learning({p.source: p for p in pairs}, list(still), dotted, whole)
        general = search.learned()
        ways += [
            [*general, *_one_each(pairs, search.now, roles, exact), *leaves]
            for exact in (False, True)
        ]
    own = {path: _dotted(path) for path in search.now}
    for found in (*sorted(ways, key=len), [*_one_each(pairs, own, roles, True), *leaves]):
        if accepts(Rename(match=one.match, to=one.to) for one in found):
            return found
    return _one_each(pairs, own, {}, True)


@dataclass
class _Learning:
    """Learns renames of paths; a path is written with a dot at its end, as in a tensor's name.

    whole: what differs between two equal segments is mended at once, else also piece by piece.
    """

    pairs: Mapping[str, LayerPair]
    still: Sequence[str]
    taken: Collection[str]
    whole: bool
    now: dict[str, str] = field(default_factory=dict)
    unmarking: list[tuple[str, str]] = field(default_factory=list)

    def learned(self) -> list[ProposedRename]:
        """Return the renames that serve more than one layer."""
        self.now = {path: _dotted(path) for path in (*self.pairs, *self.still)}
        found: list[ProposedRename] = []
        while rename := self._next():
            found.append(rename)
            self.now = _renamed(self.now, rename.match, rename.to)
        for match, to in self.unmarking:
            found += self._as_proposed(match, to, _renamed(self.now, match, to))
            self.now = _renamed(self.now, match, to)
        return found

    def _next(self) -> ProposedRename | None:
        """Return the rename that brings most names nearer, None where none serves two layers.

        Of many layers some are asked first, all where these have no rename in common.
        """
        left = [path for path, p in self.pairs.items() if self.now[path] != _dotted(p.target)]
        for every in sorted({max(1, len(left) // _ASKED), 1}, reverse=True):
            if found := self._best(left[::every]):
                return found
        return None

    def _best(self, paths: Sequence[str]) -> ProposedRename | None:
        votes: Counter[tuple[str, str]] = Counter()
        gains: dict[tuple[str, str], float] = defaultdict(float)
        for path in paths:
            target = _dotted(self.pairs[path].target)
            for candidate, gain in _candidates(self.now[path], target, self.whole):
                votes[candidate] += 1
                gains[candidate] += gain
        several = [candidate for candidate, count in votes.items() if count > 1]
        several.sort(key=lambda c: (-gains[c], -votes[c], len(c[0]) + len(c[1]), c))
        for match, to in several[:_TRIED]:
            if found := self._as_proposed(match, to, self._after(match, to)):
                return found[0]
            marked = _marked(match, to) if votes[match, to] > _WORTH_A_MARK else None
            if marked and (found := self._as_proposed(match, marked, self._after(match, marked))):
                self.unmarking.append((f"^{_escaped(marked)}", to))
                return found[0]
        return None

    def _after(self, match: str, to: str) -> dict[str, str] | None:
        """Return the names after a rename, None where it may not be taken."""
        after = _renamed(self.now, match, to)
        if len(set(after.values())) < len(after):
            return None
        for path, now in self.now.items():
            if (new := after[path]) == now:
                continue
            target = self.pairs[path].target if path in self.pairs else None
            if target is None and new in self.taken:
                return None
            if target is not None and _distance(new, target) > _distance(now, target):
                return None
        return after if _is_reversible(match, to, self.now, after) else None

    def _as_proposed(
        self, match: str, to: str, after: Mapping[str, str] | None
    ) -> list[ProposedRename]:
        if after is None:
            return []
        served = tuple(p for path, p in self.pairs.items() if after[path] != self.now[path])
        return [ProposedRename(match, to, served)] if served else []


def _renamed(names: Mapping[str, str], match: str, to: str) -> dict[str, str]:
    pattern = re.compile(match)
    return {path: pattern.sub(to, name) for path, name in names.items()}


def _is_reversible(
    match: str, to: str, before: Mapping[str, str], after: Mapping[str, str]
) -> bool:
    try:
        back = turned_round(Rename(match=match, to=to))
    except ConfigError:
        return False
    return _renamed(after, *back) == before


@lru_cache(maxsize=1 << 15)
def _distance(now: str, target: str) -> float:
    return aligned(_segments(now), _segments(_dotted(target)))[0]


@lru_cache(maxsize=1 << 12)
def _candidates(now: str, target: str, whole: bool) -> tuple[tuple[tuple[str, str], float], ...]:
    """Return ((match, to), what it brings nearer) of renames that mend a part of a path.

    whole: a part is all that differs between two segments that are equal.
    """
    ours, theirs = _segments(now), _segments(target)
    _, steps = aligned(ours, theirs)
    equal = [i is not None and j is not None and ours[i] == theirs[j] for i, j in steps]
    found: dict[tuple[str, str], float] = {}
    for start in range(len(steps)):
        for end in range(start + 1, len(steps) + 1):
            if equal[start] or equal[end - 1]:
                continue
            around = equal[start - 1 : start] + equal[end : end + 1]
            if not whole or (all(around) and not any(equal[start:end])):
                for candidate, gain in _of_part(ours, theirs, steps, start, end):
                    found.setdefault(candidate, gain)
    return tuple(found.items())


def _of_part(
    ours: tuple[str, ...],
    theirs: tuple[str, ...],
    steps: Sequence[tuple[int | None, int | None]],
    start: int,
    end: int,
) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield what makes steps `start` to `end` of the way from `ours` to `theirs`, and its gain."""
    first = sum(i is not None for i, _ in steps[:start])
    middle = [ours[i] for i, _ in steps[start:end] if i is not None]
    new = [theirs[j] for _, j in steps[start:end] if j is not None]
    rest = list(ours[first + len(middle) :])
    gain = aligned(tuple(middle), tuple(new))[0]
    for left in sorted({0, 1, first} & set(range(first + 1))):
        for right in sorted({0, 1, len(rest)} & set(range(len(rest) + 1))):
            before, after = list(ours[first - left : first]), rest[:right]
            old = [*before, *middle, *after]
            if not old or not (middle or before or after):
                continue
            for anywhere in (False, True) if left == first else (True,):
                for grouped in (True, False):
                    if made := _pattern(old, [*before, *new, *after], anywhere, grouped):
                        yield made, gain


def _pattern(
    old: Sequence[str], new: Sequence[str], anywhere: bool, grouped: bool
) -> tuple[str, str] | None:
    """Return (match, to) from some segments to others, None where that cannot be written.

    anywhere: not only at the start of a name. grouped: numbers on both sides are any numbers.
    """
    groups = _shared_numbers(old, new) if grouped else {}
    if (grouped and not groups) or len(groups) + anywhere > _GROUPS:
        return None
    pieces = [re.split(r"(\d+)", segment) for segment in old]
    order = sorted(groups)
    match = "".join(
        "".join(
            r"(\d+)" if (i, k) in groups else _escaped(piece) for k, piece in enumerate(segment)
        )
        + r"\."
        for i, segment in enumerate(pieces)
    )
    numbers = {groups[place]: index + 1 + anywhere for index, place in enumerate(order)}
    to = "".join(
        "".join(
            f"\\{numbers[i, k]}" if (i, k) in numbers else piece
            for k, piece in enumerate(re.split(r"(\d+)", segment))
        )
        + "."
        for i, segment in enumerate(new)
    )
    if not anywhere:
        return f"^{match}", to
    return None if to[:1].isdigit() else (_ANYWHERE + match, "\\1" + to)


def _shared_numbers(
    old: Sequence[str], new: Sequence[str]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return {place of a number in `old`: its place in `new`}, each at most once.

    A place is (segment, piece of it). Numbers of segments that go together come first.
    """
    theirs = list(_number_places(new))
    _, steps = aligned(tuple(old), tuple(new))
    together = {i: j for i, j in steps if i is not None and j is not None}
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for near in (True, False):
        for place, number in _number_places(old):
            for other, same in theirs:
                fits = number == same and (not near or together.get(place[0]) == other[0])
                if fits and place not in found and other not in found.values():
                    found[place] = other
    return found


def _number_places(segments: Sequence[str]) -> Iterator[tuple[tuple[int, int], str]]:
    for i, segment in enumerate(segments):
        for k, piece in enumerate(re.split(r"(\d+)", segment)):
            if piece.isdigit():
                yield (i, k), piece


def _marked(match: str, to: str) -> str | None:
    """Return `to` with a mark, for a rename of one place whose new name is still another's old."""
    if not match.startswith("^") or "(" in match or not to:
        return None
    return MARK + to


def _leaf_renames(
    pairs: Sequence[LayerPair],
) -> tuple[list[ProposedRename], dict[str, str]]:
    """Return renames of tensors' own names that hold wherever they stand, and {leaf: role}."""
    served: dict[tuple[str, str], list[LayerPair]] = {}
    for pair in pairs:
        for role, leaf in pair.leaves.items():
            if role != leaf:
                served.setdefault((leaf, role), []).append(pair)
    roles = dict(served.keys())
    made = []
    for (leaf, role), those in served.items():
        match, to = f"{_ANYWHERE}{_escaped(leaf)}$", f"\\1{role}"
        if len(those) == 1:
            around = _dotted(those[0].target)
            match, to = f"^{_escaped(around + leaf)}$", around + role
        made.append(ProposedRename(match, to, tuple(those)))
    return made, roles


def _one_each(
    pairs: Sequence[LayerPair],
    now: Mapping[str, str],
    roles: Mapping[str, str],
    exact: bool = False,
) -> list[ProposedRename]:
    """Return a rename for each layer that is not yet at its place.

    roles: {leaf: role} that other rules rename. exact: tensors are named one by one (a layer's
    counter goes with them), where layers lie within layers.
    """
    rows = [
        (now[p.source].removesuffix("."), p.target, p)
        for p in pairs
        if now[p.source] != _dotted(p.target) or set(_other_leaves(p)) - roles.keys()
    ]
    written = _tensors if exact else _layer
    found, marked = [], []
    for name, target, pair in _ordered(rows):
        found += [ProposedRename(*one, (pair,)) for one in written(name, target, pair, roles)]
        if target.startswith(MARK):
            plain = replace(pair, leaves={role: role for role in pair.leaves})
            unmarked = written(target, target.removeprefix(MARK), plain, {})
            marked += [ProposedRename(*one, (pair,)) for one in unmarked]
    return found + marked


def _other_leaves(pair: LayerPair) -> list[str]:
    return [leaf for role, leaf in pair.leaves.items() if role != leaf]


def _layer(
    name: str, target: str, pair: LayerPair, roles: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield (match, to) that rename a layer's path, and its tensors that `roles` lack."""
    if not name or not target.removeprefix(MARK):
        yield from _tensors(name, target, pair, roles)
        return
    yield f"^{_escaped(_dotted(name))}", _dotted(target)
    for role, leaf in pair.leaves.items():
        if role != leaf and leaf not in roles:
            yield f"^{_escaped(_dotted(target) + leaf)}$", f"{_dotted(target)}{role}"


def _tensors(
    name: str, target: str, pair: LayerPair, roles: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield (match, to) that rename one layer's tensors."""
    same = [leaf for role, leaf in pair.leaves.items() if role == leaf or leaf in roles]
    if "running_mean" in pair.leaves:
        same.append(COUNTER)
    if same and name != target:
        end = "|".join(map(_escaped, same))
        yield f"^{_escaped(_dotted(name))}({end})$", f"{_dotted(target)}\\1"
    for role, leaf in pair.leaves.items():
        if leaf not in same:
            yield f"^{_escaped(_dotted(name) + leaf)}$", f"{_dotted(target)}{role}"


def _ordered(rows: Sequence[tuple[str, str, LayerPair]]) -> list[tuple[str, str, LayerPair]]:
    """Order renames so that none meets the result of another; a circle gets a marked name."""
    left = {row[0]: row for row in rows}
    ordered: list[tuple[str, str, LayerPair]] = []
    while left:
        free = [row for row in left.values() if row[1] not in left or row[1] == row[0]]
        if free:
            ordered += free
            left = {name: row for name, row in left.items() if row not in free}
        else:
            name, target, pair = next(iter(left.values()))
            left[name] = (name, MARK + target, pair)
    return ordered


def _segments(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.split(".")[:-1])


def _dotted(path: str) -> str:
    return f"{path}." if path.removeprefix(MARK) else path


def _escaped(text: str) -> str:
    return re.sub(r"([^\w>-])", r"\\\1", text)
