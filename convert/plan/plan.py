"""Plans every tensor's move from a state dict into a Paddle net.

The target decides, by kind of layer and never by shape: a square Linear, an Embedding and a 1x1
convolution cannot be told apart otherwise. Every target tensor is filled from exactly one source
tensor, every source tensor is accounted for; anything else is a ConversionError.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from convert.formats.stream import same_bytes
from convert.formats.table import PDPARAMS, Format
from convert.names.rules import Names, Rules, resolve
from convert.names.spec import (
    BATCH_NORM,
    COUNTER,
    INPLACE_ABN,
    TRANSPOSED,
    Piece,
    SourcePlace,
    TensorSpec,
)
from convert.plan import layouts, problems
from convert.plan.cast import CastFrom, bits, fitted
from convert.plan.move import Move

COUNTER_REASON = "Paddle's BatchNorm keeps no batch counter"


@dataclass(frozen=True)
class Plan:
    """What becomes of every tensor of the file; keys are the file's.

    Attributes:
        moves: in the order of the target.
        aliases: second name -> name whose value it must have.
        dropped: name -> reason.
        absent: tensors of the net that the file does not have, by the rules -> reason.
    """

    moves: tuple[Move, ...]
    aliases: Mapping[str, str]
    dropped: Mapping[str, str]
    absent: Mapping[str, str] = field(default_factory=dict)

    def apply(
        self,
        arrays: Mapping[str, np.ndarray],
        keep_bits: bool = True,
        casts: dict[str, CastFrom] | None = None,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (Paddle's key, array) one at a time; views where the array allows it.

        With `keep_bits` bfloat16 comes as its uint16 bits, which is how Paddle's files hold it.
        With `casts` arrays come in the net's dtypes, and what was cast is noted there by key.
        Raises ConversionError where the net's dtype does not hold a value.
        """
        take: Callable[[str], np.ndarray] = getattr(arrays, "view", arrays.__getitem__)
        for move in self.moves:
            key, array = move.target.key, move.of(take(move.source))
            if casts is not None:
                array, before = fitted(key, array, move.target.dtype)
                if before:
                    casts[key] = before
            yield key, bits(array) if keep_bits else array


def describe_arrays(arrays: Mapping[str, np.ndarray]) -> list[TensorSpec]:
    """List the tensors of a file or a state dict of arrays; their layers are not known."""
    if hasattr(arrays, "describe"):  # a file's: without reading them
        specs: list[TensorSpec] = arrays.describe()
        return specs
    return [TensorSpec(key, tuple(a.shape), a.dtype.name) for key, a in arrays.items()]


def plan_moves(
    source: Sequence[TensorSpec],
    target: Sequence[TensorSpec],
    rules: Rules,
    prefix: str = "",
    counters_decide: bool = False,
    classes_key: str | None = None,
    same_layout: bool = False,
    output: Format = PDPARAMS,
    cast: bool = False,
) -> Plan:
    """Plan the moves of the tensors `source` into the net `target` (Paddle).

    Args:
        source: tensors of the file, kinds of layer not needed.
        target: tensors of the Paddle net.
        rules: what the source calls things.
        prefix: place of the file's net inside the target, ending in a dot.
        counters_decide: the net exists with plain and with in-place BatchNorms, told apart by the
            batch counters alone; a file without any counter is then refused.
        classes_key: torch name of the tensor whose first dimension is the number of classes.
        same_layout: the source has Paddle's names and layouts, not torch's.
        output: format that the moved tensors are to be written in.
        cast: tensors will be written in the net's dtypes.

    Raises:
        ConversionError: naming every problem (the list is capped) and the nearest candidates.
    """
    names = resolve((spec.key for spec in source), rules, prefix)
    file = {spec.key: spec for spec in source}
    search = _Search(names, file, same_layout)
    found: list[str] = list(names.clashes)
    missing, absent = [], {}
    for spec in target:
        name = spec.key.removeprefix(prefix)
        spec = as_the_rules_say(spec, rules, prefix)
        move = search.fill(spec)
        reason = None if move else rules.absence(name)
        if move:
            found += problems.of_tensor(file[move.source], move, classes_key, output, cast)
        elif reason:
            absent[spec.key] = reason
        else:
            missing.append(spec)
    dropped = dict(names.dropped) | _take_counters(search.left, target)
    if not same_layout:
        found += _norm_problems(names, target, counters_decide)
    found += search.unfinished()
    found += layouts.problems(search.moves, rules, target, prefix)
    unknown = [file[key] for key in search.left.values()]
    if found or missing or unknown:
        raise problems.misfit(found, missing, unknown, search.moves, file)
    return Plan(tuple(search.moves), {**names.aliases, **search.ties}, dropped, absent)


def pair_tensors(
    source: Sequence[TensorSpec], target: Sequence[TensorSpec], rules: Rules
) -> tuple[dict[str, Move], dict[str, str]]:
    """Pair what fits by name, whatever is left over or of another shape.

    For looking at two nets whose conversion `plan_moves` may refuse. Returns {key of the target:
    its move} and {key of the source: why the rules drop it}.
    """
    names = resolve((spec.key for spec in source), rules)
    search = _Search(names, {spec.key: spec for spec in source}, same_layout=False)
    moves = {spec.key: search.fill(as_the_rules_say(spec, rules)) for spec in target}
    return {key: move for key, move in moves.items() if move is not None}, names.dropped


def as_the_rules_say(spec: TensorSpec, rules: Rules, prefix: str = "") -> TensorSpec:
    """Return a tensor of the net with the shape and the layout that the rules give it in torch.

    Raises ConfigError where they contradict themselves.
    """
    name = spec.key.removeprefix(prefix)
    said = rules.transposed(name, spec.torch_key.removeprefix(prefix))
    shape = rules.shape(name)  # () is one
    shape = spec.torch_shape if shape is None else shape
    return replace(spec, torch_shape=shape, said=spec.said if said is None else said)


class _Search:
    """Finds the source of each tensor of the net. `left` are names that none has taken."""

    def __init__(self, names: Names, file: Mapping[str, TensorSpec], same_layout: bool) -> None:
        self.left = dict(names.sources)
        self.ties: dict[str, str] = {}
        self.moves: list[Move] = []
        self._names, self._file, self._same_layout = names, file, same_layout
        self._of_target: dict[str, Move] = {}
        self._pieces: dict[str, dict[int, int]] = {}  # file's key -> {piece: how many}

    def fill(self, spec: TensorSpec) -> Move | None:
        """Return the move that fills `spec`, None where the file has nothing for it."""
        move = self._own(spec)
        if spec.tied_to in self._of_target:
            first = self._of_target[spec.tied_to]
            if move is None:
                move = Move(
                    first.source, spec, self._change(first, spec), first.transposed, first.piece
                )
            elif move.source != first.source:
                self.ties[move.source] = first.source
        if move is not None:
            self.moves.append(move)
            self._of_target[spec.key] = move
        return move

    def _own(self, spec: TensorSpec) -> Move | None:
        if self._same_layout:
            places: tuple[SourcePlace, ...] = (SourcePlace(spec.key),)
        else:
            places = (SourcePlace(spec.torch_key), *spec.elsewhere)
        for place in places:
            found = self._take(place)
            if found:
                source, piece = found
                known = (spec.kind, spec.role) in TRANSPOSED if spec.said is None else spec.said
                transposed = not self._same_layout and known and len(spec.shape) == 2
                move = Move(source, spec, "", transposed, piece)
                return Move(source, spec, self._change(move, spec), transposed, piece)
        return None

    def _take(self, place: SourcePlace) -> tuple[str, Piece | None] | None:
        """Return (file's key, piece) of what stands at a place, and note that it is taken."""
        if place.key in self._names.pieces:
            key, piece = self._names.pieces[place.key]  # type: str, Piece | None
        elif place.key in self._names.sources:
            key, piece = self._names.sources[place.key], place.piece
        else:
            return None
        if piece is None:
            return (key, None) if self.left.pop(place.key, None) else None
        self.left.pop(place.key, None)
        taken = self._pieces.setdefault(key, dict.fromkeys(range(piece.count), 0))
        taken[piece.index] += 1
        return key, piece

    def _change(self, move: Move, spec: TensorSpec) -> str:
        if move.piece is not None:
            return "split"
        if move.transposed:
            return "transposed"
        if self._file[move.source].shape != spec.shape and spec.torch_shape is not None:
            return "reshaped"
        return "copied" if move.source == spec.key else "renamed"

    def unfinished(self) -> list[str]:
        """Word what is wrong with tensors that were taken in pieces."""
        found = []
        split = dict(self._names.pieces.values())
        for key, piece in split.items():
            self._pieces.setdefault(key, dict.fromkeys(range(piece.count), 0))
        for key, taken in self._pieces.items():
            wrong = [index for index, count in taken.items() if count != 1]
            if wrong:
                found.append(
                    f"{key}: its pieces {', '.join(str(i + 1) for i in wrong)} of {len(taken)} "
                    "fill no tensor of the net, or several"
                )
        return found


def check_aliases(plan: Plan, arrays: Mapping[str, np.ndarray]) -> None:
    """Compare every second name with the tensor that was taken, byte for byte.

    Raises ConversionError naming both keys of every pair that differs.
    """
    take: Callable[[str], np.ndarray] = getattr(arrays, "view", arrays.__getitem__)
    differing = [
        f"{alias} and {key} are two names of one tensor, but their values differ"
        for alias, key in plan.aliases.items()
        if not same_bytes(take(alias), take(key))
    ]
    if differing:
        raise problems.misfit(differing, [], [])


def _take_counters(left: dict[str, str], target: Sequence[TensorSpec]) -> dict[str, str]:
    """Move the counters of BatchNorms out of `left`: {key of the file: reason}.

    Those of an InPlaceABN too: `_norm_problems` has more to say about them.
    """
    norms = _layers_of(target, BATCH_NORM) | _layers_of(target, INPLACE_ABN)
    names = [name for name in left if name.rpartition(".")[2] == COUNTER]
    return {left.pop(name): COUNTER_REASON for name in names if name.rpartition(".")[0] in norms}


def _layers_of(target: Sequence[TensorSpec], kind: str) -> dict[str, None]:
    """Return torch's paths of the layers of `kind` that keep statistics, in order."""
    return {
        s.torch_key.rpartition(".")[0]: None
        for s in target
        if s.kind == kind and s.role == "running_mean"
    }


def _norm_problems(names: Names, target: Sequence[TensorSpec], counters_decide: bool) -> list[str]:
    """Find BatchNorms whose scale means something else in the file than in the net.

    torch's BatchNorm2d keeps a batch counter (since 0.4.1), InPlaceABN none, and the scale is
    weight in one and |weight| + eps in the other. So a counter where the net has InPlaceABN is an
    error; so is a missing one at a plain BatchNorm, if the file has counters elsewhere. A file
    without any counter comes from before 0.4.1 or was stripped: it is taken only where the net
    cannot be meant either way.
    """
    plain, in_place = _layers_of(target, BATCH_NORM), _layers_of(target, INPLACE_ABN)
    counted = {name.rpartition(".")[0] for name in names.sources if name.endswith(COUNTER)}
    held = {name.rpartition(".")[0] for name in names.sources}
    if not counted:
        decided = not (in_place or counters_decide) or not (held & {*plain, *in_place})
        return [] if decided else [problems.NO_COUNTERS]
    found = []
    if wrong := [layer for layer in in_place if layer in counted]:
        found.append(problems.counters_where_in_place(wrong))
    if wrong := [layer for layer in plain if layer in held and layer not in counted]:
        found.append(problems.no_counters_where_plain(wrong))
    return found
