"""Pairs the layers of two sides, surest first: by shapes, calls, places and names."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from convert.names.call_order import WHOLE, ByOrder, Calls, names_against
from convert.names.likeness import likeness, numbers, skeleton

# Leaves of other codebases, in torch's words.
ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "_mean": "running_mean"}
ROLES |= {"moving_variance": "running_var", "_variance": "running_var", "_weight": "weight"}
_OF_FRAMEWORKS = {"weight", "bias", "running_mean", "running_var"}  # what their layers hold
_MARGIN, _LIKE = 0.15, 0.5
SURE, LIKELY = 0.95, 0.7  # least confidence that is called so
BY_CONTAINER = 0.75


@dataclass(frozen=True)
class LayerPair:
    """A layer of the file and the net's layer that it seems to be, both by torch's path.

    `leaves` is role in the net -> leaf in the file; `confidence` is of 0 to 1.
    """

    source: str
    target: str
    leaves: Mapping[str, str]
    confidence: float
    why: str

    @property
    def is_plain(self) -> bool:
        """Whether nothing is called otherwise, so that no rule is needed."""
        same = all(role == leaf for role, leaf in self.leaves.items())
        return self.source == self.target and same


@dataclass
class ShapedLayer:
    """A layer's tensors: role -> (leaf, shape).

    firsts: leaf -> the layer that has this tensor's first name, of second names alone. kind: in
    the words of `TensorSpec`, "" where it is not known.
    """

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    firsts: dict[str, str] = field(default_factory=dict)
    kind: str = ""

    def leaves(self) -> list[tuple[str, str]]:
        """Return (role, leaf) of every tensor."""
        return [(role, leaf) for role, (leaf, _) in self.tensors.items()]

    @property
    def first(self) -> str | None:
        """The layer of which this is a second name, None where it holds a tensor of its own."""
        layers = set(self.firsts.values())
        return layers.pop() if len(self.firsts) == len(self.tensors) and len(layers) == 1 else None


@dataclass
class PairSearch:
    """Pairs layers, surest first, until nothing more follows.

    calls: the layers of both sides at their first calls, None where the nets were not run.
    """

    ours: Mapping[str, ShapedLayer]
    theirs: Mapping[str, ShapedLayer]
    calls: tuple[Sequence[str], Sequence[str]] | None = None
    found: dict[str, LayerPair] = field(default_factory=dict)
    # Layer of the file -> what it may be, and the evidence on both sides of the contradiction.
    doubts: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    _sizes: Counter[Hashable] = field(default_factory=Counter)
    _with_kinds: bool = False
    _by_role: bool = True

    def run(self) -> None:
        """Search: with the kinds of layers, where both sides tell them, then without.

        What is then left may hold parameters of its own under other names.
        """
        known = all(layer.kind for side in (self.ours, self.theirs) for layer in side.values())
        for self._with_kinds, self._by_role in ((known, True), (False, True), (False, False)):
            counts = [
                Counter(self._form(path, side is self.ours) for path in side)
                for side in (self.ours, self.theirs)
            ]
            self._sizes = counts[0] | counts[1]
            self._same_names()
            steps = (
                *(self._only_one, self._by_calls, self._same_place, self._by_names),
                *(self._by_most_calls, self._left_in_container),
            )
            while any(step() for step in steps):
                pass

    def left(self, ours: bool) -> list[str]:
        """Return the layers of one side without a partner."""
        taken = {p.source if ours else p.target for p in self.found.values()}
        return [path for path in (self.ours if ours else self.theirs) if path not in taken]

    def shapes(self, path: str, ours: bool) -> Hashable:
        """Return roles and shapes of a layer; layers of other ones are never paired."""
        layer = (self.ours if ours else self.theirs)[path]
        held = tuple(
            sorted((self._named(layer, role), layer.tensors[role][1]) for role in layer.tensors)
        )
        return held, self._ties_are_known and layer.first is not None

    def _named(self, layer: ShapedLayer, role: str) -> str:
        """Return a role, or "" for one that the layer's class may call as it likes.

        That is in the last search, where no other such tensor of the layer has its shape.
        """
        if self._by_role or role in _OF_FRAMEWORKS:
            return role
        shape = layer.tensors[role][1]
        own = [r for r, (_, s) in layer.tensors.items() if s == shape and r not in _OF_FRAMEWORKS]
        return "" if len(own) == 1 else role

    @cached_property
    def _ties_are_known(self) -> bool:
        """Whether the file's side tells second names; a file does not."""
        return any(layer.firsts for layer in self.ours.values())

    def _form(self, path: str, ours: bool) -> Hashable:
        kind = (self.ours if ours else self.theirs)[path].kind if self._with_kinds else ""
        return kind, self.shapes(path, ours)

    def _open(self, ours: bool) -> list[str]:
        """Return what is left of one side and stands in no contradiction."""
        doubted = set(self.doubts)
        if not ours:
            doubted = {path for paths, _ in self.doubts.values() for path in paths}
        return [path for path in self.left(ours) if path not in doubted]

    def _classes(self) -> dict[Hashable, tuple[list[str], list[str]]]:
        classes: dict[Hashable, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for side, ours in enumerate((True, False)):
            for path in self._open(ours):
                classes[self._form(path, ours)][side].append(path)
        return classes

    def _take(self, source: str, target: str, confidence: float, why: str) -> None:
        ours, theirs = self.ours[source].tensors, self.theirs[target].tensors
        leaves = {
            role: ours[role][0]
            if role in ours
            else next(
                leaf for other, (leaf, s) in ours.items() if other not in theirs and s == shape
            )
            for role, (_, shape) in theirs.items()
        }
        if not self._by_role and set(ours) != set(theirs):
            confidence, why = min(confidence, 0.8), f"{why}, with other names of its parameters"
        self.found[source] = LayerPair(source, target, leaves, confidence, why)

    def _same_names(self) -> None:
        """Pair layers of the same name, unless numbers of their like seem to be shifted.

        That is where both sides have names that differ from the other's in their numbers alone.
        Where both sides call the same shapes one after the other, but these at other places,
        the names and the calls contradict each other.
        """
        calls = self._known_calls()
        made = calls.pairs({}) if calls else []
        called = {p.source: p for p in made if p.confidence >= WHOLE}
        for ours, theirs in self._classes().values():
            kept = _unshifted(ours, theirs)
            for path in ours:
                if path in kept and (path not in called or called[path].target == path):
                    self._take(path, path, 1.0, "the same name and shapes")
                elif path in kept:
                    self._doubt(called[path], path)

    def _only_one(self) -> bool:
        """Pair the layers whose shapes only one layer on each side has."""
        classes = self._classes()
        whole = all(self._as_many(a, b) for a, b in classes.values()) and not self.doubts
        pairs = [(a[0], b[0]) for a, b in classes.values() if len(a) == len(b) == 1]
        taken = False
        for source, target in pairs:
            # What is left of several may be left over from a shift of numbers.
            alone = self._sizes[self._form(source, True)] == 1
            if not alone and numbers(source) != numbers(target):
                continue
            if whole or likeness(source, target) >= _LIKE:
                confidence = SURE if whole and alone else 0.8
                self._take(source, target, confidence, "the only one of its shapes")
                taken = True
        return taken

    def _as_many(self, ours: Sequence[str], theirs: Sequence[str]) -> bool:
        """Tell whether as many layers are left on both sides, second names aside."""
        firsts = [path for path in ours if self.ours[path].first is None]
        return len(ours) == len(theirs) or len(firsts) == sum(
            self.theirs[path].first is None for path in theirs
        )

    def _by_calls(self) -> bool:
        """Pair by the order of calls, where the names of no circle of pairs contradict it."""
        calls = self._known_calls()
        known = {pair.source: pair.target for pair in self.found.values()}
        return calls is not None and self._take_ordered(calls.pairs(known))

    def _by_most_calls(self) -> bool:
        """Pair likewise where one side calls a few layers that the other does not."""
        calls = self._known_calls()
        known = {pair.source: pair.target for pair in self.found.values()}
        return calls is not None and self._take_ordered(calls.in_common(known))

    def _take_ordered(self, made: Sequence[ByOrder]) -> bool:
        """Take pairs that calls propose; return whether there were any."""
        ours, theirs = set(self._open(True)), set(self._open(False))
        proposed = {p.source: p for p in made if p.source in ours and p.target in theirs}
        classes: dict[Hashable, list[tuple[str, str]]] = defaultdict(list)
        for pair in proposed.values():
            classes[self._form(pair.source, True)].append((pair.source, pair.target))
        for pairs in classes.values():
            for source, target in names_against(pairs).items():
                self._doubt(proposed.pop(source), target)
        for pair in proposed.values():
            self._take(pair.source, pair.target, pair.confidence, pair.why)
        return bool(proposed)

    def _known_calls(self) -> Calls | None:
        if self.calls is None:
            return None
        ours, theirs = (
            [path for path in paths if path in layers]
            for paths, layers in zip(self.calls, (self.ours, self.theirs), strict=True)
        )
        return Calls(ours, theirs, self._form)

    def _doubt(self, by_calls: ByOrder, by_name: str) -> None:
        why = f"{by_calls.why}: {by_calls.target}; by its name: {by_name}"
        self.doubts[by_calls.source] = ((by_calls.target, by_name), why)

    def _same_place(self) -> bool:
        """Pair the layers whose names follow from the places of pairs that are sure."""
        places = self._places()
        taken = False
        for ours, theirs in self._classes().values():
            claims: dict[str, list[str]] = defaultdict(list)
            moved = {path: name for path in ours for name in _moved(path, places)}
            kept = _unshifted(moved.values(), theirs)
            for path, name in moved.items():
                if name in kept:
                    claims[name].append(path)
            for target, sources in claims.items():
                if len(sources) == 1:
                    self._take(sources[0], target, 0.9, "its place follows from sure pairs")
                    taken = True
        return taken

    def _places(self) -> dict[str, str]:
        """Return {path in the file: path in the net} of layers around sure pairs, if they agree."""
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for pair in self.found.values():
            ours, theirs = pair.source.split("."), pair.target.split(".")
            # Only the layer itself may have the same name below: the less is shared, the surer.
            if ours[-1] == theirs[-1] and len(ours) > 1 and len(theirs) > 1:
                votes[".".join(ours[:-1])][".".join(theirs[:-1])] += 1
        for pair in self.found.values():
            if pair.source and pair.target:
                votes[pair.source][pair.target] += 1
        back: dict[str, set[str]] = defaultdict(set)
        for path, targets in votes.items():
            for target in targets:
                back[target].add(path)
        return {
            path: next(iter(targets))
            for path, targets in votes.items()
            if len(targets) == 1 and len(back[next(iter(targets))]) == 1
        }

    def _left_in_container(self) -> bool:
        """Pair what is left of one form in two containers that hold partners of each other alone.

        That finds a layer that one side holds and never calls.
        """
        targets = {pair.source: pair.target for pair in self.found.values()}
        places = containers_alike(targets)
        taken = False
        for ours, theirs in self._classes().values():
            for container, place in places.items():
                one, other = (
                    [path for path in side if path.startswith(f"{around}.")]
                    for side, around in ((ours, container), (theirs, place))
                )
                if len(one) == len(other) == 1 and one[0] not in self.found:
                    why = f"the only one of its shapes left in {container}"
                    self._take(one[0], other[0], BY_CONTAINER, why)
                    taken = True
            if taken:
                break
        return taken

    def _by_names(self) -> bool:
        """Pair a class of layers by names where that gives each exactly one partner.

        Numbers that shift ({16, 32} on one side, {8, 16} on the other) give none.
        """
        taken = False
        for ours, theirs in self._classes().values():
            if len(ours) != len(theirs) or not ours:
                continue
            pairs = _bijection(ours, theirs)
            for source, target, margin in pairs:
                why = f"names are alike ({likeness(source, target):.2f})"
                self._take(source, target, round(min(0.85, 0.5 + margin / 2), 2), why)
            taken |= bool(pairs)
        return taken


def containers_alike(targets: Mapping[str, str]) -> dict[str, str]:
    """Return {container: the other side's} of those that hold just each other's partners.

    `targets` are pairs, {source: target}. The innermost containers come first.
    """
    held: dict[str, set[str]] = defaultdict(set)
    back: dict[str, set[str]] = defaultdict(set)
    for source, target in targets.items():
        for path, sides in ((source, held), (target, back)):
            parts = path.split(".")
            for length in range(1, len(parts)):
                sides[".".join(parts[:length])].add(source)
    others: dict[frozenset[str], list[str]] = defaultdict(list)
    for place, sources in back.items():
        others[frozenset(sources)].append(place)
    found = {}
    for container in sorted(held, key=lambda path: -path.count(".")):
        places = others.get(frozenset(held[container]), [])
        if places:
            found[container] = min(places, key=len)
    return found


def _unshifted(ours: Iterable[str], theirs: Iterable[str]) -> set[str]:
    """Return the names on both sides, without those of whose like both sides have more.

    Names are alike if they differ in their numbers alone: of conv1 to conv4 beside conv0 to conv3
    none is returned.
    """
    one, other = set(ours), set(theirs)
    shifted = {skeleton(name) for name in one - other} & {skeleton(name) for name in other - one}
    return {name for name in one & other if skeleton(name) not in shifted}


def _moved(path: str, places: Mapping[str, str]) -> Iterable[str]:
    """Yield where `path` is in the net if its nearest layer around is at a known place."""
    around, _, name = path.rpartition(".")
    if around in places:
        yield f"{places[around]}.{name}"


def _bijection(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return (source, target, margin) where each is the other's clear best, for all or for none."""
    table = {(a, b): likeness(a, b) for a in ours for b in theirs}
    pairs = []
    for a in ours:
        ranked = sorted(theirs, key=lambda b: -table[a, b])
        best = ranked[0]
        others = [table[a, b] for b in ranked[1:]] + [table[c, best] for c in ours if c != a]
        margin = table[a, best] - max(others, default=0.0)
        if table[a, best] < _LIKE or margin < _MARGIN or numbers(a) != numbers(best):
            return []
        pairs.append((a, best, margin))
    return pairs if len({b for _, b, _ in pairs}) == len(ours) else []
