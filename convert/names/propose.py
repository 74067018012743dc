"""Proposes which layer of a file is which layer of a net, where their names differ.

By structure, shapes and names, never by order alone: declarations may stand in any order. Layers
are compared as groups of tensors (a BatchNorm is four of certain shapes). "Ambiguous" is an answer,
and nothing here is acted on: the result is a rules file for the user to read and edit.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from convert.names.proposal_yaml import rules_text
from convert.names.rules import Rules, resolve
from convert.names.spec import COUNTER, TensorSpec

# What layers are called in different codebases; each stands for the first of its row.
_SYNONYMS = {
    word: row[0]
    for row in (
        ("conv", "convs", "convolution"),
        ("bn", "batchnorm", "norm", "batch"),
        ("downsample", "shortcut", "skip", "proj"),
        ("fc", "linear", "dense", "classifier"),
        ("layer", "layers", "stage", "stages", "block", "blocks"),
    )
    for word in row
}
_ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "_mean": "running_mean"}
_ROLES |= {"moving_variance": "running_var", "_variance": "running_var", "_weight": "weight"}
_MARGIN, _LIKE = 0.15, 0.5
ShapesByLeaf = tuple[tuple[str, tuple[int, ...]], ...]
Layers = dict[str, dict[str, tuple[str, tuple[int, ...]]]]  # path -> role -> (leaf, shape)


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


@dataclass(frozen=True)
class Proposal:
    """What is proposed.

    Attributes:
        pairs: proposed pairs.
        ambiguous: layer of the file -> layers of the net that it may be, in the net's order.
        unmatched: layers of the file that look like none of the net's.
        unfilled: layers of the net that none of the file's looks like.
    """

    pairs: tuple[LayerPair, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    unmatched: tuple[str, ...]
    unfilled: tuple[str, ...]

    def to_yaml(self) -> str:
        """Return it as a rules file; what is ambiguous stands there as comments."""
        pairs = [(p.source, p.target, p.leaves, p.confidence, p.why) for p in self.pairs]
        return rules_text(pairs, self.ambiguous, self.unmatched, self.unfilled)


def propose(
    source: Sequence[TensorSpec], target: Sequence[TensorSpec], rules: Rules | None = None
) -> Proposal:
    """Propose pairs for the layers whose names differ; `rules` are applied to the file's first."""
    names = resolve((spec.key for spec in source), rules or Rules())
    file = {spec.key: spec for spec in source}
    renamed = [TensorSpec(n, file[k].shape, file[k].dtype) for n, k in names.sources.items()]
    ours = _layers((spec.key, spec.shape) for spec in renamed)
    packed = any(leaf == "in_proj_weight" for roles in ours.values() for leaf in roles)
    theirs = _layers(_wanted(target, packed))
    search = _PairSearch(ours, theirs)
    search.run()
    return search.proposal()


def _wanted(target: Sequence[TensorSpec], packed: bool) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Yield name and shape that each tensor of the net should have in torch."""
    for spec in target:
        own = spec.shape[::-1] if spec.transposed else spec.shape
        shape = own if spec.torch_shape is None else spec.torch_shape
        pieces = [place for place in spec.elsewhere if place.piece]
        if spec.tied_to is not None:
            continue
        if packed and pieces and pieces[0].piece:
            if pieces[0].piece.index == 0:
                yield pieces[0].key, (3 * shape[0], *shape[1:])
        else:
            yield spec.torch_key, shape


def _layers(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> Layers:
    layers: Layers = {}
    for name, shape in tensors:
        path, _, leaf = name.rpartition(".")
        if leaf != COUNTER:
            layers.setdefault(path, {})[_ROLES.get(leaf, leaf)] = (leaf, tuple(shape))
    return layers


@dataclass
class _PairSearch:
    """Pairs layers, surest first, until nothing more follows."""

    ours: Layers
    theirs: Layers
    found: dict[str, LayerPair] = field(default_factory=dict)
    _sizes: dict[ShapesByLeaf, int] = field(default_factory=dict)

    def run(self) -> None:
        self._sizes = {form: max(len(a), len(b)) for form, (a, b) in self._classes().items()}
        for path in self.ours:
            if path in self.theirs and self._signature(path, True) == self._signature(path, False):
                self._take(path, path, 1.0, "the same name and shapes")
        while any(step() for step in (self._only_one, self._same_place, self._by_names)):
            pass

    def proposal(self) -> Proposal:
        """Return what was found; layers of equal names are left out, they need no rule."""
        ambiguous, unmatched = {}, []
        classes = self._classes()
        for path in self._open(True):
            candidates = classes[self._signature(path, True)][1]
            if candidates:
                ambiguous[path] = tuple(candidates)
            else:
                unmatched.append(path)
        seen = {path for candidates in ambiguous.values() for path in candidates}
        unfilled = tuple(path for path in self._open(False) if path not in seen)
        pairs = [p for p in self.found.values() if p.source != p.target or _renames_leaf(p)]
        return Proposal(tuple(pairs), ambiguous, tuple(unmatched), unfilled)

    def _signature(self, path: str, ours: bool) -> ShapesByLeaf:
        layer = (self.ours if ours else self.theirs)[path]
        return tuple(sorted((role, shape) for role, (_, shape) in layer.items()))

    def _open(self, ours: bool) -> list[str]:
        taken = {p.source if ours else p.target for p in self.found.values()}
        return [path for path in (self.ours if ours else self.theirs) if path not in taken]

    def _classes(self) -> dict[ShapesByLeaf, tuple[list[str], list[str]]]:
        classes: dict[ShapesByLeaf, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for side, ours in enumerate((True, False)):
            for path in self._open(ours):
                classes[self._signature(path, ours)][side].append(path)
        return classes

    def _take(self, source: str, target: str, confidence: float, why: str) -> None:
        leaves = {role: leaf for role, (leaf, _) in self.ours[source].items()}
        self.found[source] = LayerPair(source, target, leaves, confidence, why)

    def _only_one(self) -> bool:
        """Pair the layers whose shapes only one layer on each side has."""
        classes = self._classes()
        whole = all(len(a) == len(b) for a, b in classes.values())
        pairs = [(a[0], b[0]) for a, b in classes.values() if len(a) == len(b) == 1]
        taken = False
        for source, target in pairs:
            # What is left of several may be left over from a shift of numbers.
            alone = self._sizes[self._signature(source, True)] == 1
            if not alone and numbers(source) != numbers(target):
                continue
            if whole or likeness(source, target) >= _LIKE:
                confidence = 0.95 if whole and alone else 0.8
                self._take(source, target, confidence, "the only one of its shapes")
                taken = True
        return taken

    def _same_place(self) -> bool:
        """Pair the layers whose names follow from the places of pairs that are sure."""
        places = self._places()
        taken = False
        for ours, theirs in self._classes().values():
            claims: dict[str, list[str]] = defaultdict(list)
            for path in ours:
                targets = {t for t in _moved(path, places) if t in theirs}
                if len(targets) == 1:
                    claims[targets.pop()].append(path)
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
        back: dict[str, set[str]] = defaultdict(set)
        for path, targets in votes.items():
            for target in targets:
                back[target].add(path)
        return {
            path: next(iter(targets))
            for path, targets in votes.items()
            if len(targets) == 1 and len(back[next(iter(targets))]) == 1
        }

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


def _renames_leaf(pair: LayerPair) -> bool:
    return any(role != leaf for role, leaf in pair.leaves.items())


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


def likeness(one: str, other: str) -> float:
    """Return how alike two paths are, 0 to 1: the longest common subsequence of their words."""
    a, b = words(one), words(other)
    row = [0] * (len(b) + 1)
    for x in a:
        before = row[:]
        for j, y in enumerate(b):
            row[j + 1] = before[j] + 1 if x == y else max(row[j], before[j + 1])
    return 2 * row[-1] / (len(a) + len(b)) if a or b else 1.0


def words(path: str) -> list[str]:
    """Split a path into words and numbers; synonyms become one word."""
    found = re.findall(r"[a-z]+|\d+", path.lower())
    return [_SYNONYMS.get(word, word) for word in found]


def numbers(path: str) -> list[str]:
    """Return the numbers in a path, in order."""
    return re.findall(r"\d+", path)
