"""Plans every tensor's move from a torch state dict into a Paddle net.

The target decides, by kind of layer and never by shape: a square Linear, an Embedding and a 1x1
convolution cannot be told apart otherwise. Every target tensor is filled from exactly one source
tensor, every source tensor is accounted for; anything else is a ConversionError.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from common.errors import ConversionError
from convert import problems
from convert.rules import Names, Rules, resolve
from convert.spec import BATCH_NORM, COUNTER, INPLACE_ABN, TensorSpec

# (kind of layer, role) whose layout Paddle holds the other way round: torch [out, in], Paddle
# [in, out].
TRANSPOSED = {("Linear", "weight")}
COUNTER_REASON = "Paddle's BatchNorm keeps no batch counter"


@dataclass(frozen=True)
class Move:
    """`target` is filled from the file's tensor `source`.

    `change` is "copied" (same name, same layout), "renamed" (other name) or "transposed".
    """

    source: str
    target: TensorSpec
    change: str


@dataclass(frozen=True)
class Plan:
    """What becomes of every tensor of the file; keys are the file's.

    Attributes:
        moves: in the order of the target.
        aliases: second name -> name whose value it must have.
        dropped: name -> reason.
    """

    moves: tuple[Move, ...]
    aliases: Mapping[str, str]
    dropped: Mapping[str, str]

    def apply(self, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (Paddle's key, array) one at a time; views where the array allows it.

        bfloat16 comes as its uint16 bits, which is how Paddle's files hold it.
        """
        for move in self.moves:
            array = arrays[move.source]
            if move.change == "transposed":
                array = array.T
            if array.dtype == ml_dtypes.bfloat16:
                array = array.view(np.uint16)
            yield move.target.key, array


def describe_arrays(arrays: Mapping[str, np.ndarray]) -> list[TensorSpec]:
    """List the tensors of a file or a state dict of arrays; their layers are not known."""
    return [TensorSpec(key, tuple(a.shape), a.dtype.name) for key, a in arrays.items()]


def plan_moves(
    source: Sequence[TensorSpec],
    target: Sequence[TensorSpec],
    rules: Rules,
    prefix: str = "",
    counters_decide: bool = False,
    classes_key: str | None = None,
) -> Plan:
    """Plan the moves of the tensors `source` (torch) into the net `target` (Paddle).

    Args:
        source: tensors of the file, kinds of layer not needed.
        target: tensors of the Paddle net.
        rules: what the source calls things.
        prefix: place of the file's net inside the target, ending in a dot.
        counters_decide: the net exists with plain and with in-place BatchNorms, told apart by the
            batch counters alone; a file without any counter is then refused.
        classes_key: torch name of the tensor whose first dimension is the number of classes.

    Raises:
        ConversionError: naming every problem (the list is capped) and the nearest candidates.
    """
    names = resolve((spec.key for spec in source), rules, prefix)
    file = {spec.key: spec for spec in source}
    left = dict(names.sources)
    found: list[str] = list(names.clashes)
    moves, missing = [], []
    for spec in target:
        key = left.pop(spec.torch_key, None)
        if key is None:
            missing.append(spec)
            continue
        moves.append(Move(key, spec, _change(key, spec)))
        found += problems.of_tensor(file[key], spec, _change(key, spec), classes_key)
    dropped = dict(names.dropped) | _take_counters(left, target)
    found += _norm_problems(names, target, counters_decide)
    unknown = [file[key] for key in left.values()]
    if found or missing or unknown:
        raise ConversionError(problems.report(found, missing, unknown))
    return Plan(tuple(moves), names.aliases, dropped)


def check_aliases(plan: Plan, arrays: Mapping[str, np.ndarray]) -> None:
    """Compare every second name with the tensor that was taken, byte for byte.

    Raises ConversionError naming both keys of every pair that differs.
    """
    differing = [
        f"{alias} and {key} are two names of one tensor, but their values differ"
        for alias, key in plan.aliases.items()
        if not _same(arrays[alias], arrays[key])
    ]
    if differing:
        raise ConversionError(problems.report(differing, [], []))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.__array_interface__["data"] == other.__array_interface__["data"]:
        return one.strides == other.strides or np.array_equal(_bytes(one), _bytes(other))
    return np.array_equal(_bytes(one), _bytes(other))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _change(source_key: str, target: TensorSpec) -> str:
    if (target.kind, target.role) in TRANSPOSED:
        return "transposed"
    return "copied" if source_key == target.key else "renamed"


def _take_counters(left: dict[str, str], target: Sequence[TensorSpec]) -> dict[str, str]:
    """Move the counters of BatchNorms out of `left`: {key of the file: reason}.

    Those of an InPlaceABN too: `_norm_problems` has more to say about them.
    """
    norms = _layers_of(target, BATCH_NORM) | _layers_of(target, INPLACE_ABN)
    names = [name for name in left if name.rpartition(".")[2] == COUNTER]
    return {left.pop(name): COUNTER_REASON for name in names if name.rpartition(".")[0] in norms}


def _layers_of(target: Sequence[TensorSpec], kind: str) -> dict[str, None]:
    """Return the paths of the layers of `kind` that keep statistics, in order."""
    return {s.layer: None for s in target if s.kind == kind and s.role == "running_mean"}


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
