"""Few renames that say what many pairs of layers have in common.

A rename takes one part of a path to its last name, with more or less of the path around it and
numbers as groups; no later one touches that part, so that none leads through a name of neither
side. It is taken only if it is right wherever it matches, keeps all names apart and can be turned
round; that of most layers comes first. Then those of containers are left out where each content
has its own, and all are ordered as in the net, as far as that makes no difference. What is left
gets a rename for each layer.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from common.errors import ConfigError
from convert.names.likeness import MARK, aligned
from convert.names.pair_search import LayerPair
from convert.names.path_parts import PartedPath, parted
from convert.names.rules import Rename
from convert.names.rules_backwards import turned_round
from convert.names.spec import COUNTER

_GROUPS = 9
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
        still: layers of the file without a partner; they may be renamed on the one.
        taken: layers of the net; none of `still` gets the name of one.
        accepts: tells whether renames lead every tensor to its place; where the few do not, each
            layer gets its own.
    """
    if all(pair.is_plain for pair in pairs):
        return []
    leaves, roles = _leaf_renames(pairs)
    dotted = {_dotted(path) for path in taken}
    search = _Learning({p.source: p for p in pairs}, list(still), dotted)
    learned = search.learned()
    general = _shortened(learned, [*(p.source for p in pairs), *still], search.now)
    ways = [
        [*general, *_one_each(pairs, search.now, roles, exact), *leaves] for exact in (False, True)
    ]
    own = {p.source: _dotted(p.source) for p in pairs}
    for found in (*sorted(ways, key=len), [*_one_each(pairs, own, roles, True), *leaves]):
        if accepts(Rename(match=one.match, to=one.to) for one in found):
            return found
    return _one_each(pairs, own, {}, True)


@dataclass
class _Learning:
    """Learns renames of paths; a path is written with a dot at its end, as in a tensor's name.

    Each rename takes a part of a path to its last name, and no later one meets it again: what is
    within a container comes before the container.

    Attributes:
        pairs: layer of the file -> its pair.
        still: layers of the file without a partner.
        taken: names of the net's layers.
        parted: layer of the file -> its path as far as the renames have come.
        others: the same as a name, of layers that are not renamed by parts.
    """

    pairs: Mapping[str, LayerPair]
    still: Sequence[str]
    taken: Collection[str]
    parted: dict[str, PartedPath] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @property
    def now(self) -> dict[str, str]:
        """The names at present, by path in the file."""
        return self.others | {path: one.name for path, one in self.parted.items()}

    def learned(self) -> list[ProposedRename]:
        """Return the renames, in the order in which they apply."""
        self.parted = parted({path: pair.target for path, pair in self.pairs.items()})
        self.others = {path: _dotted(path) for path in (*self.pairs, *self.still)}
        self.others = {path: now for path, now in self.others.items() if path not in self.parted}
        found: list[ProposedRename] = []
        unmarking: list[tuple[str, str]] = []
        while rule := self._next() or self._marking(unmarking):
            found += self._take(*rule)
        for match, to in unmarking:
            before = self.now
            after = _renamed(before, match, to)
            found.append(self._made(match, to, before, after))
            self.parted = {
                path: replace(one, mark="") if after[path] != before[path] else one
                for path, one in self.parted.items()
            }
        return found

    def _next(self) -> tuple[str, str] | None:
        """Return the rename of most layers, None where there is none."""
        return next((rule for rule in _ranked(self._votes()) if self._after(*rule)), None)

    def _marking(self, unmarking: list[tuple[str, str]]) -> tuple[str, str] | None:
        """Return a rename that goes round a circle of names by a marked one, and note its end."""
        for match, to in _ranked(self._votes()):
            marked = _marked(match, to)
            if marked and self._after(match, marked):
                unmarking.append((f"^{_escaped(marked)}", to))
                return match, marked
        return None

    def _take(self, match: str, to: str) -> list[ProposedRename]:
        before, after = self.now, self._after(match, to)
        if after is None:
            return []
        self.parted, self.others = after
        return [self._made(match, to, before, self.now)]

    def _made(
        self, match: str, to: str, before: Mapping[str, str], after: Mapping[str, str]
    ) -> ProposedRename:
        served = tuple(p for path, p in self.pairs.items() if after[path] != before[path])
        return ProposedRename(match, to, served)

    def _votes(self) -> Counter[tuple[str, str]]:
        """Return {(match, to): of how many paths it renames the next part}."""
        return Counter(rule for one in self.parted.values() for rule in _candidates(one))

    def _after(self, match: str, to: str) -> tuple[dict[str, PartedPath], dict[str, str]] | None:
        """Return the paths and the other names after a rename, None where it may not be taken."""
        pattern, made = re.compile(match), dict(self.parted)
        for path, one in self.parted.items():
            new = pattern.sub(to, one.name)
            if new != one.name:
                made[path] = replace(one.following, mark=MARK if to.startswith(MARK) else one.mark)
                if made[path].name != new:
                    return None
        after = {path: pattern.sub(to, name) for path, name in self.others.items()}
        for path, name in after.items():
            if name != self.others[path] and (path in self.pairs or name in self.taken):
                return None
        names = [*(one.name for one in made.values()), *after.values()]
        before = [*(one.name for one in self.parted.values()), *self.others.values()]
        if names == before or len(set(names)) < len(names):
            return None
        return (made, after) if _is_reversible(match, to, before, names) else None


def _shortened(
    learned: list[ProposedRename], paths: Sequence[str], end: Mapping[str, str]
) -> list[ProposedRename]:
    """Return fewer renames, as in the net, that do the same and can be turned round, if there are.

    paths: every layer of the file, as in the net. end: their names after the renames.
    """
    for renames in (_merged(learned), learned):
        ordered = _as_in_the_net(renames, paths)
        names = {path: _dotted(path) for path in paths}
        for one in ordered:
            after = _renamed(names, one.match, one.to)
            if not _is_reversible(one.match, one.to, list(names.values()), list(after.values())):
                break
            names = after
        else:
            if names == {path: end[path] for path in paths}:
                return ordered
    return learned


def _merged(renames: Sequence[ProposedRename]) -> list[ProposedRename]:
    """Return the renames without those of containers of which each content has its own.

    These then lead to the container's last name at once.
    """
    left = list(renames)
    for whole in renames:
        start, at = _unchanged(whole.match), left.index(whole)
        before = {pair.source: i for i, one in enumerate(left[:at]) for pair in one.pairs}
        last = {before.get(pair.source) for pair in whole.pairs}
        inner = {i: left[i] for i in last if i is not None}
        served = [pair.source for one in inner.values() for pair in one.pairs]
        if (
            start is not None
            and None not in last
            and all(_is_within(one, whole.match, start) for one in inner.values())
            and len(served) == len(whole.pairs)
        ):
            for i, one in inner.items():
                left[i] = replace(one, to=whole.to + one.to.removeprefix(start))
            del left[at]
    return left


def _unchanged(match: str) -> str | None:
    """Return what `to` would be if a rename of a container changed nothing, None if it is none."""
    if MARK in match or not match.endswith(r"\."):
        return None
    plain, *rest = re.split(r"\([^)]*\)", match.removeprefix("^"))
    text = plain + "".join(f"\\{n}{piece}" for n, piece in enumerate(rest, 1))
    return re.sub(r"\\(\D)", r"\1", text)


def _is_within(one: ProposedRename, match: str, start: str) -> bool:
    return one.match.startswith(match) and one.to.startswith(start)


def _as_in_the_net(renames: Sequence[ProposedRename], paths: Sequence[str]) -> list[ProposedRename]:
    """Order renames by the first layer that they serve, as far as it makes no difference."""
    places = {path: i for i, path in enumerate(paths)}
    first = [min(places[pair.source] for pair in one.pairs) for one in renames]
    ordered: list[tuple[int, ProposedRename]] = []
    states = [{path: _dotted(path) for path in paths}]  # names before each rename, and at the end
    for place, one in zip(first, renames, strict=True):
        ordered.append((place, one))
        states.append(_renamed(states[-1], one.match, one.to))
        for at in range(len(ordered) - 1, 0, -1):
            before = ordered[at - 1]
            swapped = _swapped(before[1], one, states[at - 1], states[at + 1])
            if before[0] <= place or swapped is None:
                break
            ordered[at - 1 : at + 1] = [ordered[at], before]
            states[at] = swapped
    return [one for _, one in ordered]


def _swapped(
    one: ProposedRename, other: ProposedRename, start: Mapping[str, str], end: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the names between two renames in the other order, None if that is not the same."""
    between = _renamed(start, other.match, other.to)
    names = [list(state.values()) for state in (start, between, end)]
    is_same = (
        _renamed(between, one.match, one.to) == end
        and _is_reversible(other.match, other.to, names[0], names[1])
        and _is_reversible(one.match, one.to, names[1], names[2])
    )
    return between if is_same else None


def _renamed(names: Mapping[str, str], match: str, to: str) -> dict[str, str]:
    pattern = re.compile(match)
    return {path: pattern.sub(to, name) for path, name in names.items()}


def _is_reversible(match: str, to: str, before: Sequence[str], after: Sequence[str]) -> bool:
    try:
        pattern, back = turned_round(Rename(match=match, to=to))
    except ConfigError:
        return False
    return [re.sub(pattern, back, name) for name in after] == list(before)


def _ranked(votes: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Return renames, those of most layers first; of as many, those of one container."""

    def rank(rule: tuple[str, str]) -> tuple[int, bool, int, tuple[str, str]]:
        is_one_place = rule[0].startswith("^") and "(" not in rule[0]
        return -votes[rule], not is_one_place, len(rule[0]) + len(rule[1]), rule

    return sorted(votes, key=rank)


@lru_cache(maxsize=1 << 14)
def _candidates(one: PartedPath) -> frozenset[tuple[str, str]]:
    """Return (match, to) of renames of the part of a path that is next."""
    if one.turn is None or one.mark:
        return frozenset()
    part = one.parts[one.turn]
    before = [s for outer in one.parts[: one.turn] for s in outer.now]
    found = set()
    for left in sorted({0, 1, 2, len(before)} & set(range(len(before) + 1))):
        around = before[len(before) - left :]
        for anywhere in (False, True) if left == len(before) else (True,):
            for grouped in (True, False):
                found.add(_pattern([*around, *part.old], [*around, *part.new], anywhere, grouped))
    return frozenset(rule for rule in found if rule)


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


def _dotted(path: str) -> str:
    return f"{path}." if path.removeprefix(MARK) else path


def _escaped(text: str) -> str:
    return re.sub(r"([^\w>-])", r"\\\1", text)
