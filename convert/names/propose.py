"""Proposes which layer of a file is which layer of a net, where their names differ.

By structure, shapes, names and, where both nets were run, the order of their calls; never by the
order of declarations. Layers are compared as groups of tensors (a BatchNorm is four of certain
shapes). "Ambiguous" is an answer, and nothing here is acted on: the result is a rules file for the
user to read and edit.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from convert.names.pair_search import ROLES, PairSearch, ShapedLayer
from convert.names.proposal import Proposal
from convert.names.rules import Rules, resolve
from convert.names.spec import COUNTER, TensorSpec

# Paths of both nets' layers at their first calls, as they are called: (the file's, the net's).
CallOrder = tuple[Sequence[str], Sequence[str]]


def propose(
    source: Sequence[TensorSpec],
    target: Sequence[TensorSpec],
    rules: Rules | None = None,
    order: CallOrder | None = None,
) -> Proposal:
    """Propose pairs for the layers whose names differ; `rules` are applied to the file's first."""
    given = rules or Rules()
    names = resolve((spec.key for spec in source), given)
    file = {spec.key: spec for spec in source}
    moved = {key: name for name, key in names.sources.items()}
    renamed = [
        replace(file[key], key=name, tied_to=moved.get(file[key].tied_to or ""))
        for name, key in names.sources.items()
    ]
    ours = _layers((spec, spec.key, spec.shape) for spec in renamed)
    packed = any(leaf == "in_proj_weight" for one in ours.values() for _, leaf in one.leaves())
    wanted = list(_wanted(target, packed))
    places = {spec.key: key for spec, key, _ in wanted}
    theirs = _layers(
        (replace(spec, tied_to=places.get(spec.tied_to or "")), key, shape)
        for spec, key, shape in wanted
    )
    calls = None
    if order is not None:
        calls = _first_calls(order[0], moved), _first_calls(order[1], places)
    search = PairSearch(ours, theirs, calls)
    search.run()
    return _proposal(search, given, tuple(file))


def _proposal(search: PairSearch, given: Rules, keys: tuple[str, ...]) -> Proposal:
    ambiguous, unmatched, aliases = {}, [], []
    partner = {pair.source: pair.target for pair in search.found.values()}
    open_targets = search.left(False)
    calls = search.calls or ((), ())
    candidates: dict[object, list[str]] = defaultdict(list)
    for path in open_targets:
        candidates[search.shapes(path, False)].append(path)
    for path in search.left(True):
        first = search.ours[path].first
        if path in search.doubts:
            ambiguous[path] = search.doubts[path][0]
        elif found := candidates[search.shapes(path, True)]:
            ambiguous[path] = tuple(found)
        elif first is not None and first in partner:
            aliases.append((path, partner[first]))
        else:
            unmatched.append(path)
    seen = {path for every in ambiguous.values() for path in every}
    unfilled = tuple(p for p in open_targets if p not in seen and search.theirs[p].first is None)
    pairs = tuple(search.found.values())
    return Proposal(
        tuple(p for p in pairs if not p.is_plain),
        ambiguous,
        tuple(unmatched),
        unfilled,
        tuple(p for p in pairs if p.is_plain),
        {path: why for path, (_, why) in search.doubts.items() if path in ambiguous},
        tuple(aliases),
        given,
        keys,
        (frozenset(calls[0]), frozenset(calls[1])),
        _but_for_bias(search, unmatched, unfilled),
    )


def _but_for_bias(
    search: PairSearch, unmatched: Sequence[str], unfilled: Sequence[str]
) -> dict[str, str]:
    """Return {layer of the file: the net's} of what is left and alike but for the bias of one."""
    alike = [
        (source, target)
        for source in unmatched
        for target in unfilled
        if _lacks_bias(search.ours[source], search.theirs[target])
    ]
    sources, targets = Counter(s for s, _ in alike), Counter(t for _, t in alike)
    return {s: t for s, t in alike if sources[s] == targets[t] == 1}


def _lacks_bias(one: ShapedLayer, other: ShapedLayer) -> bool:
    shapes = [{r: s for r, (_, s) in layer.tensors.items()} for layer in (one, other)]
    biases = [side.pop("bias", None) for side in shapes]
    return biases.count(None) == 1 and bool(shapes[0]) and shapes[0] == shapes[1]


def _wanted(
    target: Sequence[TensorSpec], packed: bool
) -> Iterable[tuple[TensorSpec, str, tuple[int, ...]]]:
    """Yield spec, name and shape that each tensor of the net should have in torch."""
    for spec in target:
        own = spec.shape[::-1] if spec.transposed else spec.shape
        shape = own if spec.torch_shape is None else spec.torch_shape
        pieces = [place for place in spec.elsewhere if place.piece]
        if packed and pieces and pieces[0].piece:
            if pieces[0].piece.index == 0:
                yield spec, pieces[0].key, (3 * shape[0], *shape[1:])
        else:
            yield spec, spec.torch_key, shape


def _layers(tensors: Iterable[tuple[TensorSpec, str, tuple[int, ...]]]) -> dict[str, ShapedLayer]:
    """Return {path: layer} of (spec, name in torch, shape there) of every tensor."""
    layers: dict[str, ShapedLayer] = {}
    for spec, name, shape in tensors:
        path, _, leaf = name.rpartition(".")
        if leaf != COUNTER:
            layer = layers.setdefault(path, ShapedLayer({}, kind=spec.kind))
            layer.tensors[ROLES.get(leaf, leaf)] = (leaf, tuple(shape))
            if spec.tied_to is not None:
                layer.firsts[leaf] = spec.tied_to.rpartition(".")[0]
    return layers


def _first_calls(paths: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Return where the called layers that hold tensors stand in torch, each once."""
    held: dict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        held[key.rpartition(".")[0]].append(name.rpartition(".")[0])
    return list(dict.fromkeys(name for path in paths for name in held[path]))
